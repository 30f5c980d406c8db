//! Reading history by windows of time, so that the order across streams follows the clock as closely as
//! RethinkDB's clocks allow. An unordered read of a window, sorted here, is twice as fast as an ordered
//! scan.

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{debug, info};

use super::error::IngestError;
use super::run::Ingest;
use super::window::Walk;
use crate::store::rethinkdb::{StoreId, StoredCommit};

/// How far back a reading begins, so that clocks that disagree a little cost nothing. What they hide
/// beyond that, the full pass finds.
const OVERLAP: TimeDelta = TimeDelta::seconds(5);

impl Ingest {
    /// Reads everything recorded since shortly before `since`, or, without it, the log's newest event;
    /// up to when it has read. Reading the next window and adding the last one overlap.
    pub(super) async fn replay(
        &self,
        store: StoreId,
        since: Option<DateTime<Utc>>,
    ) -> Result<DateTime<Utc>, IngestError> {
        let now = self.history.now().await?;
        let end = now.timestamp_millis() + 1;
        let since = match since {
            Some(since) => Some(since),
            None => self.log.newest_recorded_at().await?,
        };
        // A clock that was set back has recorded what is new before what is old.
        let start = since.map_or(0, |time| (time.min(now) - OVERLAP).timestamp_millis());
        let (start, end) = (i128::from(start), i128::from(end));
        let mut walk = Walk::new(start, end, end - start, self.config.batch_events);
        // One window is read while another waits and a third is added.
        let (sender, mut windows) = mpsc::channel(1);
        let read = async move {
            while let Some(commits) = self.next_window(&mut walk).await? {
                if self.shutdown.is_requested() || sender.send(commits).await.is_err() {
                    break;
                }
            }
            Ok::<(), IngestError>(())
        };
        let add = async {
            let mut total = 0;
            while let Some(commits) = windows.recv().await {
                total += self.add_window(store, commits).await?;
            }
            Ok(total)
        };
        let ((), total) = tokio::try_join!(read, add)?;
        if total > 0 {
            info!(events = total, "history read");
        }
        Ok(now)
    }

    async fn add_window(&self, store: StoreId, commits: Vec<StoredCommit>) -> Result<u64, IngestError> {
        let keys: Vec<_> = commits.iter().map(StoredCommit::key).collect();
        let events: u64 = commits.iter().map(|commit| commit.events.len() as u64).sum();
        let begun = Instant::now();
        let added = self.add(store, commits).await?;
        debug!(events, added, took = ?begun.elapsed(), "window added");
        if added < events {
            // Some were there already; or a clock ran back and a predecessor is in a later window.
            self.catch_up(store, &keys).await?;
        }
        Ok(added)
    }

    /// The commits of the next window that has any.
    async fn next_window(&self, walk: &mut Walk) -> Result<Option<Vec<StoredCommit>>, IngestError> {
        let (limit, budget) = (self.config.batch_events, self.config.batch_bytes);
        while let Some(step) = walk.step() {
            let (from, to) = (time(step.from), time(step.to));
            // Counting is cheaper than reading what turns out to be too much.
            let wide = step.to - step.from > 60_000;
            if wide && self.history.count_between(from, to, Some(limit + 1)).await? > limit {
                walk.too_much(step);
                continue;
            }
            let begun = Instant::now();
            match self.history.recorded_between(from, to, limit, budget).await? {
                Some(commits) => {
                    debug!(%from, %to, commits = commits.len(), took = ?begun.elapsed(), "window read");
                    walk.took(step, commits.len());
                    if !commits.is_empty() {
                        return Ok(Some(commits));
                    }
                }
                None if step.is_least() => {
                    info!(at = %from, "a millisecond holds more than a batch; left to the full pass");
                    walk.took(step, limit);
                }
                None => walk.too_much(step),
            }
        }
        Ok(None)
    }
}

fn time(millis: i128) -> DateTime<Utc> {
    i64::try_from(millis)
        .ok()
        .and_then(DateTime::from_timestamp_millis)
        .unwrap_or(DateTime::<Utc>::UNIX_EPOCH)
}
