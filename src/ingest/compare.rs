//! Comparing the store with the log: lately recorded commits every few seconds, and all of them, range
//! by range of their keys, at start and then rarely. The second makes completeness exact without any
//! assumption about clocks.

use chrono::TimeDelta;
use tracing::{info, warn};
use uuid::Uuid;

use super::error::IngestError;
use super::follow::Durable;
use super::run::Ingest;
use super::status::Status;
use super::window::Walk;
use crate::store::rethinkdb::{CommitKey, Head, StoreId, StoredCommit};

/// Younger commits are left to the feed.
const YOUNG: TimeDelta = TimeDelta::seconds(2);
/// About how many commits a step of the full pass compares.
const STEP: usize = 5_000;
/// Keys begin with the stream's UUID; the full pass walks along all but its last two bits.
const KEYS: i128 = 1 << 126;

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
            Status::new(self.pool.clone()).full_pass_done().await?;
            return Ok(true);
        };
        // The last key sorts after every UUID.
        let to = if step.to == KEYS { "g".into() } else { key_at(step.to) };
        let limit = if step.is_least() { usize::MAX } else { STEP * 4 };
        let Some(keys) = self.history.keys_of_streams(&key_at(step.from), &to, limit).await? else {
            pass.walk.too_much(step);
            return Ok(false);
        };
        self.compare(store, &keys, Found::Anywhere).await?;
        pass.walk.took(step, keys.len());
        pass.compared += keys.len();
        Ok(false)
    }

    /// Adds what the log lacks of `keys`, and moves heads that lag behind.
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
        let mut missing = missing.as_slice();
        while !missing.is_empty() {
            let (asked, mut commits) = self.read_some(missing, Durable::Unknown).await?;
            let now = self.history.now().await?;
            commits.retain(|commit| (commit.recorded_at - now).abs() > YOUNG);
            self.repair(store, &commits, found).await?;
            missing = &missing[asked..];
        }
        Ok(())
    }

    /// Adds durable commits that nobody announced.
    async fn repair(
        &self,
        store: StoreId,
        commits: &[StoredCommit],
        found: Found,
    ) -> Result<(), IngestError> {
        let mut heads = Vec::with_capacity(commits.len());
        let mut missed = None;
        for commit in commits {
            let head = Head { stream: commit.stream_id, version: commit.last() };
            heads.push(head);
            if !self.history.repair_head(head, &commit.stream_type).await? {
                missed = Some(head);
            }
        }
        self.follow(store, &heads).await?;
        Status::new(self.pool.clone()).repaired(commits.len()).await?;
        match missed {
            // A head that lagged was never announced: its writer died. One that did not, was.
            Some(head) if found == Found::Lately => Err(IngestError::FeedLost(format!(
                "the feed did not announce version {} of stream {}; opening another",
                head.version, head.stream
            ))),
            _ => {
                if !commits.is_empty() {
                    warn!(commits = commits.len(), "added commits that the feed did not announce");
                }
                Ok(())
            }
        }
    }
}

/// The UUID at this place of the walk, as keys begin with.
fn key_at(place: i128) -> String {
    Uuid::from_u128(place.unsigned_abs() << 2).to_string()
}
