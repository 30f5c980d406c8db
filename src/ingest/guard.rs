//! Whether the log may go on from this store: the same store, with everything that the log has of it.

use super::error::IngestError;
use crate::log::Log;
use crate::store::RethinkStore;
use crate::store::rethinkdb::{History, QueryErrorKind, StoreId};

/// How many of the log's newest events must be in the store. A store restored from a backup lacks its
/// newest ones.
const NEWEST: u32 = 1_000;

/// The store's identity, if the log may go on from it.
pub(super) async fn check(
    store: &RethinkStore,
    history: &History,
    log: &Log,
) -> Result<StoreId, IngestError> {
    let store = match (history.identity().await, log.store().await?) {
        (Ok(Some(store)), _) => store,
        // A new log may make the store that it copies; one that has copied a store never makes another.
        (Ok(None), None) => store.setup().await?,
        (Err(error), None) if error.kind == QueryErrorKind::Missing => store.setup().await?,
        (Ok(None), Some(known)) => {
            return Err(IngestError::Refused(format!(
                "the log copies store {known}, which is gone from [store] url"
            )));
        }
        (Err(error), Some(known)) if error.kind == QueryErrorKind::Missing => {
            return Err(IngestError::Refused(format!(
                "the log copies store {known}, which is gone: {error}"
            )));
        }
        (Err(error), _) => return Err(error.into()),
    };
    let head = log.head().await?;
    match log.store().await? {
        Some(known) if known != store.0 => {
            return Err(IngestError::Refused(format!(
                "the log copies store {known}, but [store] url leads to store {store}: set the url right, or start over \
                 with an empty PostgreSQL database"
            )));
        }
        None if head.0 > 0 => {
            return Err(IngestError::Refused(
                "the log holds events that were appended to it directly, so it cannot copy a RethinkDB store: use an \
                 empty PostgreSQL database"
                    .into(),
            ));
        }
        _ => {}
    }
    let newest = log.newest_commits(NEWEST).await?;
    let places: Vec<_> = newest.iter().map(|(stream, first, _)| (*stream, *first)).collect();
    let mut found = std::collections::HashMap::new();
    for places in places.chunks(50) {
        for commit in history.beginning_at(places, usize::MAX).await?.unwrap_or_default() {
            found.insert((commit.stream_id, commit.first()), commit.commit_id);
        }
    }
    for (stream, first, commit) in newest {
        if found.get(&(stream, first)) != Some(&commit) {
            return Err(IngestError::Refused(format!(
                "the log is ahead of the store: commit {commit} at version {first} of stream {stream} is not in the store. \
                 The store was restored from an older backup, or lost data. Restore it, or start over with an empty \
                 PostgreSQL database"
            )));
        }
    }
    Ok(store)
}
