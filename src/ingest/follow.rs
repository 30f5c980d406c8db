//! From a stream's place in the log to its head, commit by commit.

use std::collections::HashMap;

use tracing::warn;

use super::error::IngestError;
use super::run::Ingest;
use crate::event::{Event, StreamId, Version};
use crate::store::rethinkdb::{Head, StoreId, StoredCommit};

/// Streams that are looked up at once.
const STREAMS: usize = 1_000;
/// A stream that is further behind is read by range.
const FAR: u64 = 16;
/// How many versions a range spans.
const SPAN: u64 = 2_000;

impl Ingest {
    /// Brings each stream up to its head. A commit beyond the head that was announced is left for its
    /// own announcement: it may not be durable yet.
    pub(super) async fn follow(&self, store: StoreId, heads: &[Head]) -> Result<(), IngestError> {
        // A head may be announced twice; the further one counts.
        let mut furthest: HashMap<StreamId, Version> = HashMap::with_capacity(heads.len());
        for head in heads {
            let version = furthest.entry(head.stream).or_default();
            *version = head.version.max(*version);
        }
        let mut behind: Vec<(StreamId, Version)> = furthest.into_iter().collect();
        while !behind.is_empty() {
            let rest = behind.split_off(behind.len().min(STREAMS));
            self.follow_some(store, behind).await?;
            behind = rest;
        }
        Ok(())
    }

    async fn follow_some(&self, store: StoreId, heads: Vec<(StreamId, Version)>) -> Result<(), IngestError> {
        let mut behind = heads;
        loop {
            let streams: Vec<StreamId> = behind.iter().map(|(stream, _)| *stream).collect();
            let versions = self.log.versions(&streams).await?;
            let missing: Vec<(StreamId, Version, Version)> = behind
                .iter()
                .zip(versions)
                .filter(|((_, head), version)| version < head)
                .map(|((stream, head), version)| (*stream, version.next(), *head))
                .collect();
            if missing.is_empty() {
                return Ok(());
            }
            let commits = self.fetch(&missing).await?;
            if self.add(store, commits).await? == 0 {
                for (stream, version, head) in &missing {
                    warn!(%stream, %version, %head, "announced, and not found; it is looked for again by the sweep");
                }
                return Ok(());
            }
            behind = missing.into_iter().map(|(stream, _, head)| (stream, head)).collect();
        }
    }

    /// The commits that come next in each stream, up to its head.
    async fn fetch(&self, missing: &[(StreamId, Version, Version)]) -> Result<Vec<StoredCommit>, IngestError> {
        let is_far = |from: Version, head: Version| head.0 - from.0 >= FAR;
        let near: Vec<(StreamId, Version)> =
            missing.iter().filter(|(_, from, head)| !is_far(*from, *head)).map(|(stream, from, _)| (*stream, *from)).collect();
        let mut commits = match near.is_empty() {
            true => Vec::new(),
            false => self.history.beginning_at(&near, false).await?,
        };
        // One stream that is far behind at a time: its range alone may fill a batch.
        if let Some((stream, from, head)) = missing.iter().find(|(_, from, head)| is_far(*from, *head)) {
            let to = Version(head.0.min(from.0 + SPAN)).next();
            commits.extend(self.history.of_stream(*stream, *from, to).await?);
        }
        let heads: HashMap<StreamId, Version> = missing.iter().map(|(stream, _, head)| (*stream, *head)).collect();
        commits.retain(|commit| heads.get(&commit.stream_id).is_some_and(|head| commit.last() <= *head));
        Ok(commits)
    }

    /// Adds commits to the log, in pieces of a batch; how many events were new.
    pub(super) async fn add(&self, store: StoreId, mut commits: Vec<StoredCommit>) -> Result<u64, IngestError> {
        commits.sort_by_key(|commit| (commit.recorded_at, commit.first()));
        let events: Vec<Event> = commits.into_iter().flat_map(StoredCommit::into_events).collect();
        let mut added = 0;
        for batch in events.chunks(self.config.batch_events) {
            added += self.log.add(store.0, batch).await?.events;
        }
        Ok(added)
    }
}
