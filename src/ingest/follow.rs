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

/// Whether commits are known to be on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durable {
    /// A head has moved past them, which it does only then.
    Announced,
    /// They were merely seen; reading them makes sure.
    Unknown,
}

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

    /// Some of the commits that come next, up to each stream's head.
    async fn fetch(
        &self,
        missing: &[(StreamId, Version, Version)],
    ) -> Result<Vec<StoredCommit>, IngestError> {
        let is_far = |from: Version, head: Version| head.0 - from.0 >= FAR;
        let near: Vec<(StreamId, Version)> = missing
            .iter()
            .filter(|(_, from, head)| !is_far(*from, *head))
            .map(|(stream, from, _)| (*stream, *from))
            .collect();
        let mut commits = match near.is_empty() {
            true => Vec::new(),
            false => self.read_some(&near, Durable::Announced).await?.1,
        };
        // One stream that is far behind at a time: its range alone may fill a batch.
        if let Some((stream, from, head)) = missing.iter().find(|(_, from, head)| is_far(*from, *head)) {
            commits.extend(self.read_range(*stream, *from, *head).await?);
        }
        let heads: HashMap<StreamId, Version> =
            missing.iter().map(|(stream, _, head)| (*stream, *head)).collect();
        commits.retain(|commit| heads.get(&commit.stream_id).is_some_and(|head| commit.last() <= *head));
        Ok(commits)
    }

    /// The commits that begin at the first so many of these places, as many as fit a batch, and how many
    /// places that were.
    pub(super) async fn read_some(
        &self,
        places: &[(StreamId, Version)],
        durable: Durable,
    ) -> Result<(usize, Vec<StoredCommit>), IngestError> {
        let mut asked = places.len().min(STREAMS);
        loop {
            let budget = if asked <= 1 { usize::MAX } else { self.config.batch_bytes };
            let read =
                self.history.beginning_at(&places[..asked], durable == Durable::Unknown, budget).await?;
            match read {
                Some(commits) => return Ok((asked, commits)),
                None => asked = (asked / 4).max(1),
            }
        }
    }

    /// Commits of one stream from `from` on, as many as fit a batch.
    async fn read_range(
        &self,
        stream: StreamId,
        from: Version,
        head: Version,
    ) -> Result<Vec<StoredCommit>, IngestError> {
        let mut span = SPAN;
        loop {
            let to = Version(head.0.min(from.0 + span)).next();
            let budget = if span == 0 { usize::MAX } else { self.config.batch_bytes };
            match self.history.of_stream(stream, from, to, budget).await? {
                Some(commits) => return Ok(commits),
                None => span /= 4,
            }
        }
    }

    /// Adds commits to the log, about a batch at a time and each whole; how many events were new.
    pub(super) async fn add(
        &self,
        store: StoreId,
        mut commits: Vec<StoredCommit>,
    ) -> Result<u64, IngestError> {
        commits.sort_by_key(|commit| (commit.recorded_at, commit.first()));
        let mut batch: Vec<Event> = Vec::new();
        let mut added = 0;
        for commit in commits {
            // A commit split over two transactions would be half there for a moment, or for ever.
            if !batch.is_empty() && batch.len() + commit.events.len() > self.config.batch_events {
                added += self.log.add(store.0, &batch).await?.events;
                batch.clear();
            }
            batch.extend(commit.into_events());
        }
        if !batch.is_empty() {
            added += self.log.add(store.0, &batch).await?.events;
        }
        Ok(added)
    }
}
