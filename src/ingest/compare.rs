//! Comparing the store with the log: lately recorded commits every few seconds, and all of them, range
//! by range of their keys, at start and then rarely. The second makes completeness exact without any
//! assumption about clocks.

use std::collections::HashMap;

use chrono::TimeDelta;
use tracing::{info, warn};
use uuid::Uuid;

use super::error::IngestError;
use super::run::Ingest;
use super::status::Status;
use super::window::Walk;
use crate::event::{StreamId, Version};
use crate::store::rethinkdb::{CommitKey, Head, StoreId, StoredCommit};

/// Younger commits are left to the feed.
const YOUNG: TimeDelta = TimeDelta::seconds(2);
/// About how many commits a step of the full pass compares.
pub(super) const STEP: usize = 5_000;
/// Keys begin with the stream's UUID; the full pass walks along all but its last two bits.
pub(super) const KEYS: i128 = 1 << 126;

/// Where a commit was found that the log lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// Among those that an open feed must have announced.
    Lately,
    /// Anywhere in the store.
    Anywhere,
}

/// A walk over all keys of the store.
#[derive(Debug)]
pub(super) struct FullPass {
    walk: Walk,
    compared: usize,
}

impl FullPass {
    pub(super) fn begin() -> Self {
        Self { walk: Walk::new(0, KEYS, KEYS >> 8, STEP), compared: 0 }
    }
}

impl Ingest {
    /// Compares what was recorded lately.
    pub(super) async fn sweep(&self, store: StoreId) -> Result<(), IngestError> {
        let now = self.history.now().await?;
        let window = TimeDelta::from_std(self.config.sweep_window).unwrap_or(TimeDelta::MAX);
        let from = now - window;
        let keys = self.history.keys_recorded_between(from, now - YOUNG).await?;
        self.compare(store, &keys, Found::Lately).await
    }

    /// Takes one step of the full pass; whether that was the last.
    pub(super) async fn full_pass_step(
        &self,
        store: StoreId,
        pass: &mut FullPass,
    ) -> Result<bool, IngestError> {
        let Some(step) = pass.walk.step() else {
            info!(commits = pass.compared, "the log has every commit of the store");
            Status::new(self.pool.clone(), self.lease).full_pass_done().await?;
            return Ok(true);
        };
        // The last key sorts after every UUID.
        let to = if step.to == KEYS { "g".into() } else { key_at(step.to) };
        let limit = if step.is_least() { usize::MAX } else { STEP * 4 };
        let from = key_at(step.from);
        let Some(keys) = self.history.keys_of_streams(&from, &to, limit).await? else {
            pass.walk.too_much(step);
            return Ok(false);
        };
        let heads = self.history.heads_between(&from, &to).await?;
        self.compare(store, &keys, Found::Anywhere).await?;
        self.repair_heads(&keys, &heads).await?;
        pass.walk.took(step, keys.len());
        pass.compared += keys.len();
        Ok(false)
    }

    /// Adds what the log lacks of `keys`.
    async fn compare(&self, store: StoreId, keys: &[CommitKey], found: Found) -> Result<(), IngestError> {
        let mut missing = Vec::new();
        for keys in keys.chunks(STEP) {
            let places: Vec<_> = keys.iter().map(|key| (key.stream, key.last)).collect();
            for (key, in_log) in keys.iter().zip(self.log.commits_at(&places).await?) {
                match in_log {
                    Some(commit) if commit == key.commit_id => {}
                    Some(other) => {
                        return Err(IngestError::Refused(format!(
                            "version {} of stream {} is commit {other} in the log and {} in the store",
                            key.last, key.stream, key.commit_id
                        )));
                    }
                    None => missing.push((key.stream, key.first)),
                }
            }
        }
        let mut repaired = 0;
        let mut rest = missing.as_slice();
        while !rest.is_empty() {
            let (asked, mut commits) = self.read_some(rest).await?;
            let now = self.history.now().await?;
            commits.retain(|commit| (commit.recorded_at - now).abs() > YOUNG);
            let keys: Vec<CommitKey> = commits.iter().map(StoredCommit::key).collect();
            self.follow(store, &keys).await?;
            repaired += keys.len();
            rest = &rest[asked..];
        }
        if repaired == 0 {
            return Ok(());
        }
        Status::new(self.pool.clone(), self.lease).repaired(repaired).await?;
        if found == Found::Lately {
            return Err(IngestError::FeedLost(format!(
                "the feed did not announce {repaired} commits; opening another"
            )));
        }
        warn!(commits = repaired, "added commits that the feed did not announce");
        Ok(())
    }

    /// Moves on the heads that lag behind what the log has of their streams, which is durable.
    async fn repair_heads(
        &self,
        keys: &[CommitKey],
        heads: &HashMap<StreamId, Version>,
    ) -> Result<(), IngestError> {
        let mut last: HashMap<StreamId, &CommitKey> = HashMap::new();
        for key in keys {
            let end = last.entry(key.stream).or_insert(key);
            *end = if key.last > end.last { key } else { end };
        }
        last.retain(|stream, key| heads.get(stream).is_none_or(|head| *head < key.last));
        let lagging: Vec<StreamId> = last.into_keys().collect();
        for streams in lagging.chunks(STEP) {
            let heads = self.log.heads(streams).await?;
            let heads: Vec<Head> = heads
                .into_iter()
                .map(|(stream, stream_type, version)| Head { stream, stream_type, version })
                .collect();
            self.history.move_heads(&heads).await?;
        }
        Ok(())
    }
}

/// The UUID at this place of the walk, as keys begin with.
pub(super) fn key_at(place: i128) -> String {
    Uuid::from_u128(place.unsigned_abs() << 2).to_string()
}
