//! Catching up: commits that are durable, and whatever the log lacks before them.

use std::collections::HashMap;
use std::time::Instant;

use tracing::warn;

use super::error::IngestError;
use super::run::Ingest;
use super::window::batches;
use crate::event::{StreamId, Version};
use crate::fault;
use crate::log::{Batch, Session};
use crate::store::rethinkdb::{CommitKey, Head, StoreId, StoredCommit};

/// Places that are looked up at once.
const PLACES: usize = 1_000;
/// A stream that is further behind is read by range.
const FAR: u64 = 16;
/// How many versions a range spans.
const SPAN: u64 = 2_000;

impl Ingest {
    /// Adds commits, of which some may be in the log and others may not go on where it has their streams, and those
    /// before them that it lacks.
    pub(super) async fn catch_up(&self, store: StoreId, announced: &[CommitKey]) -> Result<(), IngestError> {
        for announced in announced.chunks(PLACES) {
            self.catch_up_some(store, announced).await?;
        }
        Ok(())
    }

    async fn catch_up_some(&self, store: StoreId, announced: &[CommitKey]) -> Result<(), IngestError> {
        let mut streams: Vec<StreamId> = announced.iter().map(|key| key.stream).collect();
        streams.sort_unstable();
        streams.dedup();
        loop {
            let versions = self.log.versions(&streams).await?;
            let in_log: HashMap<StreamId, Version> = streams.iter().copied().zip(versions).collect();
            let behind: Vec<&CommitKey> =
                announced.iter().filter(|key| key.last > in_log[&key.stream]).collect();
            if behind.is_empty() {
                return Ok(());
            }
            if self.fetch(store, &behind, &in_log).await? == 0 {
                for key in behind {
                    let (stream, version) = (key.stream, key.first);
                    warn!(%stream, %version, "announced, and not found; it is looked for again by the sweep");
                }
                return Ok(());
            }
        }
    }

    /// Adds what was announced and what comes next in its streams; how many events were new.
    async fn fetch(
        &self,
        store: StoreId,
        behind: &[&CommitKey],
        in_log: &HashMap<StreamId, Version>,
    ) -> Result<u64, IngestError> {
        // The next place of each stream, since what lies between may not have been announced.
        let next = |key: &&CommitKey| (key.stream, in_log[&key.stream].next());
        let is_far = |key: &&&CommitKey| key.first.0 - in_log[&key.stream].0 > FAR;
        let mut places: Vec<(StreamId, Version)> = behind.iter().map(next).collect();
        places.extend(behind.iter().filter(|key| !is_far(key)).map(|key| (key.stream, key.first)));
        places.sort_unstable();
        places.dedup();
        let mut added = self.fetch_places(store, &places).await?;
        // One stream that is far behind at a time: its range alone may fill a batch.
        if let Some(key) = behind.iter().find(is_far) {
            let (stream, from) = next(key);
            let commits = self.read_range(stream, from, key.last).await?;
            added += self.add_durable(store, commits).await?;
        }
        Ok(added)
    }

    /// Adds the commits that begin at these places, as far as they are there and continue their streams; how many
    /// events were new.
    async fn fetch_places(
        &self,
        store: StoreId,
        mut places: &[(StreamId, Version)],
    ) -> Result<u64, IngestError> {
        let mut added = 0;
        while !places.is_empty() {
            let (asked, commits) = self.read_some(places).await?;
            added += self.add_durable(store, commits).await?;
            places = &places[asked..];
        }
        Ok(added)
    }

    /// Adds commits that a majority read has seen, about a batch at a time and each whole, and has their streams' heads
    /// moved on; how many events were new.
    pub(super) async fn add_durable(
        &self,
        store: StoreId,
        commits: Vec<StoredCommit>,
    ) -> Result<u64, IngestError> {
        let heads: Vec<Head> = commits.iter().map(StoredCommit::head).collect();
        let batches = batches(store, commits, self.config.batch_events);
        let added = self.add_batches(&mut self.log.session().await?, batches).await?;
        self.heads.note(heads);
        Ok(added)
    }

    /// The commits that begin at the first so many of these places, as many as fit a batch, and how many
    /// places that were.
    pub(super) async fn read_some(
        &self,
        places: &[(StreamId, Version)],
    ) -> Result<(usize, Vec<StoredCommit>), IngestError> {
        let mut asked = places.len().min(PLACES);
        loop {
            let budget = if asked <= 1 { usize::MAX } else { self.config.batch_bytes };
            match self.history.beginning_at(&places[..asked], budget).await? {
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
        last: Version,
    ) -> Result<Vec<StoredCommit>, IngestError> {
        let mut span = SPAN;
        loop {
            let to = Version(last.0.min(from.0 + span)).next();
            let budget = if span == 0 { usize::MAX } else { self.config.batch_bytes };
            match self.history.of_stream(stream, from, to, budget).await? {
                Some(commits) => return Ok(commits),
                None => span /= 4,
            }
        }
    }

    /// Adds batches one after the other; how many events were new.
    pub(super) async fn add_batches(
        &self,
        session: &mut Session,
        batches: Vec<Batch>,
    ) -> Result<u64, IngestError> {
        let mut all_added = 0;
        for batch in batches {
            let begun = Instant::now();
            let added = session.add(batch).await?.events;
            self.measure.add.took(begun.elapsed());
            self.measure.batches.one();
            self.measure.events.add(added);
            all_added += added;
            fault::point("ingest-added");
        }
        Ok(all_added)
    }
}
