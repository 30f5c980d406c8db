//! Commits on their way to the log: in the order in which they are added, and written out.

use crate::event::Event;
use crate::fault;
use crate::log::Batch;
use crate::sabotage::{Bug, has};
use crate::store::rethinkdb::{CommitKey, StoreId, StoredCommit};

/// What was recorded in some time.
pub(super) struct Window {
    pub(super) keys: Vec<CommitKey>,
    pub(super) events: u64,
    pub(super) batches: Vec<Batch>,
}

impl Window {
    /// Takes some milliseconds where there are many.
    pub(super) fn new(store: StoreId, commits: Vec<StoredCommit>, batch_events: usize) -> Self {
        let keys = commits.iter().map(StoredCommit::key).collect();
        let events = commits.iter().map(|commit| commit.events.len() as u64).sum();
        Self { keys, events, batches: batches(store, commits, batch_events) }
    }
}

/// Commits in batches of about so many events, each commit whole.
pub(super) fn batches(store: StoreId, mut commits: Vec<StoredCommit>, batch_events: usize) -> Vec<Batch> {
    fault::point("ingest-fetched");
    commits.sort_by_key(|commit| (commit.recorded_at, commit.first()));
    let mut batches: Vec<Vec<Event>> = Vec::new();
    for commit in commits {
        // A commit split over two transactions would be half there for a moment, or for ever.
        match batches.last_mut() {
            Some(batch) if batch.len() + commit.events.len() <= batch_events => {
                batch.extend(commit.into_events());
            }
            Some(_) | None => batches.push(commit.into_events().collect()),
        }
    }
    if has(Bug::CommitSplit) {
        let halves =
            |batch: &Vec<Event>| batch.chunks(batch.len().div_ceil(2)).map(<[_]>::to_vec).collect::<Vec<_>>();
        batches = batches.iter().flat_map(halves).collect();
    }
    batches.iter().map(|events| Batch::new(store.0, events)).collect()
}
