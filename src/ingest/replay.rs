//! Reading history by windows of time, so that the order across streams follows the clock as closely as
//! RethinkDB's clocks allow. An unordered read of a window, sorted here, is twice as fast as an ordered
//! scan.

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{debug, info};

use super::error::IngestError;
use super::run::Ingest;
use super::walk::{Step, Walk};
use super::window::Window;
use crate::log::Session;
use crate::store::rethinkdb::{StoreId, Text};

/// How far back a reading begins, so that clocks that disagree a little cost nothing. What they hide
/// beyond that, the full pass finds.
const OVERLAP: TimeDelta = TimeDelta::seconds(5);
/// How wide the first window is, in milliseconds; those after it are as wide as they are found to be full.
const FIRST_WINDOW: i128 = 8_000;
/// How many windows are read at once: the store makes one up while another is taken apart here.
const READERS: usize = 2;

impl Ingest {
    /// Reads everything recorded since shortly before `since`, or, without it, the log's newest event;
    /// up to when it has read. Reading the next window and adding the last one overlap.
    pub(super) async fn replay(
        &self,
        store: StoreId,
        since: Option<DateTime<Utc>>,
    ) -> Result<DateTime<Utc>, IngestError> {
        let now = self.history.now().await?;
        let end = i128::from(now.timestamp_millis()) + 1;
        let since = match since {
            Some(since) => Some(since),
            None => self.log.newest_recorded_at().await?,
        };
        let start = match since {
            // A clock that was set back has recorded what is new before what is old.
            Some(since) => i128::from((since.min(now) - OVERLAP).timestamp_millis()),
            None => self.first_recorded(end).await?,
        };
        let mut walk = Walk::new(start, end, FIRST_WINDOW, self.config.batch_events);
        // Some windows are read while another waits and one more is added.
        let (sender, mut windows) = mpsc::channel(1);
        let read = async move {
            let mut reading = FuturesOrdered::new();
            while !self.shutdown.is_requested() {
                while reading.len() < READERS
                    && let Some(step) = walk.step()
                {
                    reading.push_back(async move { (step, self.read_window(store, step).await) });
                }
                let Some((step, read)) = reading.next().await else { break };
                match read? {
                    Some((weight, window)) => {
                        walk.took(step, weight);
                        if window.events > 0 && sender.send(window).await.is_err() {
                            break;
                        }
                    }
                    None => {
                        reading.clear();
                        walk.too_much(step);
                    }
                }
            }
            Ok::<(), IngestError>(())
        };
        let add = async {
            let mut session = self.log.session().await?;
            let mut total = 0;
            while let Some(window) = windows.recv().await {
                total += self.add_window(store, &mut session, window).await?;
            }
            Ok(total)
        };
        let ((), total) = tokio::try_join!(read, add)?;
        if total > 0 {
            info!(events = total, "history read");
        }
        Ok(now)
    }

    async fn add_window(
        &self,
        store: StoreId,
        session: &mut Session,
        window: Window,
    ) -> Result<u64, IngestError> {
        let begun = Instant::now();
        let added = self.add_batches(session, window.batches).await?;
        debug!(events = window.events, added, took = ?begun.elapsed(), "window added");
        if added < window.events {
            // Some were there already; or a clock ran back and a predecessor is in a later window.
            self.catch_up(store, &window.keys).await?;
        }
        Ok(added)
    }

    /// Less than a second before the store's first commit, or before `end` where there is none.
    async fn first_recorded(&self, end: i128) -> Result<i128, IngestError> {
        let (mut from, mut to) = (0, end);
        while to - from > 1000 {
            let middle = (from + to) / 2;
            match self.history.count_between(time(from), time(middle), Some(1)).await? {
                0 => from = middle,
                _ => to = middle,
            }
        }
        Ok(from)
    }

    /// The commits of a window, and how much they are, as a number of commits: more than there are where they are
    /// large. None of them where they are too much.
    async fn read_window(&self, store: StoreId, step: Step) -> Result<Option<(usize, Window)>, IngestError> {
        let (limit, budget) = (self.config.batch_events, self.config.batch_bytes);
        let (from, to) = (time(step.from), time(step.to));
        // Counting is cheaper than reading what turns out to be too much.
        let wide = step.to - step.from > 60_000;
        if wide && self.history.count_between(from, to, Some(limit + 1)).await? > limit {
            return Ok(None);
        }
        let begun = Instant::now();
        let Some(Text { commits, bytes }) = self.history.recorded_between(from, to, limit, budget).await?
        else {
            if !step.is_least() {
                return Ok(None);
            }
            info!(at = %from, "a millisecond holds more than a batch; left to the full pass");
            return Ok(Some((limit, Window::new(store, Vec::new(), limit))));
        };
        debug!(%from, %to, commits = commits.len(), took = ?begun.elapsed(), "window read");
        let weight = commits.len().max(bytes.saturating_mul(limit) / budget);
        Ok(Some((weight, Window::new(store, commits, limit))))
    }
}

fn time(millis: i128) -> DateTime<Utc> {
    i64::try_from(millis)
        .ok()
        .and_then(DateTime::from_timestamp_millis)
        .unwrap_or(DateTime::<Utc>::UNIX_EPOCH)
}
