//! Comparing commits of the store with the log, and adding what it lacks; and all of them, range by range of their
//! keys, which makes completeness exact without any assumption about clocks.

use std::collections::HashMap;

use chrono::TimeDelta;
use tracing::{info, warn};
use uuid::Uuid;

use super::error::IngestError;
use super::run::Ingest;
use super::status::Status;
use super::walk::Walk;
use crate::event::{StreamId, Version};
use crate::store::rethinkdb::{CommitKey, Head, StoreId, StoredCommit};

/// Younger commits are left to the feed.
pub(super) const YOUNG: TimeDelta = TimeDelta::seconds(2);
/// About how many commits a step of the full pass compares.
pub(super) const STEP: usize = 5_000;
/// Keys begin with the stream's UUID; the full pass walks along all but its last two bits.
pub(super) const KEYS: i128 = 1 << 126;

/// Where a commit was found that the log lacks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Found {
    /// Among those that an open feed must have announced.
    Lately,
    /// Anywhere in the store.
    #[default]
    Anywhere,
}

/// Commits of the store that the log lacked when they were compared.
#[derive(Debug, Default)]
pub(super) struct Missing {
    keys: Vec<CommitKey>,
    found: Found,
}

impl Missing {
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
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
    /// Takes one step of the full pass; what the log lacks there. None at its end.
    pub(super) async fn full_pass_step(&self, pass: &mut FullPass) -> Result<Option<Missing>, IngestError> {
        let Some(step) = pass.walk.step() else {
            info!(commits = pass.compared, "the log has every commit of the store");
            Status::new(self.pool.clone(), self.lease).full_pass_done().await?;
            return Ok(None);
        };
        // The last key sorts after every UUID.
        let to = if step.to == KEYS { "g".into() } else { key_at(step.to) };
        let limit = if step.is_least() { usize::MAX } else { STEP * 4 };
        let from = key_at(step.from);
        let Some(keys) = self.history.keys_of_streams(&from, &to, limit).await? else {
            pass.walk.too_much(step);
            return Ok(Some(Missing::default()));
        };
        let heads = self.history.heads_between(&from, &to).await?;
        let missing = self.missing(&keys, Found::Anywhere).await?;
        self.repair_heads(&keys, &heads).await?;
        pass.walk.took(step, keys.len());
        pass.compared += keys.len();
        Ok(Some(missing))
    }

    /// What the log lacks of `keys`.
    pub(super) async fn missing(&self, keys: &[CommitKey], found: Found) -> Result<Missing, IngestError> {
        let mut missing = Missing { keys: Vec::new(), found };
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
                    None => missing.keys.push(*key),
                }
            }
        }
        Ok(missing)
    }

    /// Adds what is still missing.
    ///
    /// # Errors
    /// Also when an open feed must have announced it: then that is not to be relied on any more.
    pub(super) async fn repair(&self, store: StoreId, missing: Missing) -> Result<(), IngestError> {
        let Missing { keys, found } = self.missing(&missing.keys, missing.found).await?;
        let places: Vec<_> = keys.iter().map(|key| (key.stream, key.first)).collect();
        let mut repaired = 0;
        let mut rest = places.as_slice();
        while !rest.is_empty() {
            let (asked, mut commits) = self.read_some(rest).await?;
            let now = self.history.now().await?;
            commits.retain(|commit| (commit.recorded_at - now).abs() > YOUNG);
            let keys: Vec<CommitKey> = commits.iter().map(StoredCommit::key).collect();
            self.catch_up(store, &keys).await?;
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
