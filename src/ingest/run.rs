//! The loop.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::info;

use super::checks::Checks;
use super::error::IngestError;
use super::heads::Heads;
use super::status::{Progress, State, Status};
use super::{Config, guard};
use crate::backoff::Backoff;
use crate::lease::Lease;
use crate::log::Log;
use crate::measure::IngestMeasure;
use crate::sabotage::{Bug, has};
use crate::shutdown::Shutdown;
use crate::store::RethinkStore;
use crate::store::rethinkdb::History;

/// How often a refused store is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// Copies the store into the log, until it is told to stop.
#[derive(Debug)]
pub struct Ingest {
    store: RethinkStore,
    pub(super) history: History,
    pub(super) log: Log,
    pub(super) config: Config,
    pub(super) shutdown: Shutdown,
    pub(super) pool: PgPool,
    pub(super) lease: Lease,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) heads: Heads,
    pub(super) measure: Arc<IngestMeasure>,
}

impl Ingest {
    /// Copies from `store` to the log that `pool` reaches, as `lease` allows. `progress` tells when everything that
    /// was in the store at the start is in the log.
    pub fn new(
        store: RethinkStore,
        pool: PgPool,
        lease: Lease,
        config: Config,
        progress: watch::Sender<Progress>,
        shutdown: Shutdown,
    ) -> Self {
        let log = Log::new(pool.clone());
        let history = store.history();
        Self {
            store,
            history,
            log,
            config,
            shutdown,
            pool,
            lease,
            progress,
            heads: Heads::default(),
            measure: Arc::default(),
        }
    }

    /// Counts what it does there.
    pub(crate) fn measured(mut self, measure: Arc<IngestMeasure>) -> Self {
        self.measure = measure;
        self
    }

    /// Runs until it is told to stop.
    pub async fn run(self) {
        let mut status = Status::new(self.pool.clone(), self.lease);
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        let mut shutdown = self.shutdown.clone();
        while !self.shutdown.is_requested() {
            let ended = tokio::select! {
                biased;
                never = self.heads.keep_moving(&self.history) => never,
                ended = self.session(&mut status, &mut backoff) => ended,
            };
            let wait = match &ended {
                Ok(()) => break,
                Err(IngestError::FeedLost(reason)) => {
                    self.measure.feed_losses.one();
                    info!(reason, "reading again");
                    backoff.next_wait() / 4
                }
                Err(IngestError::Away(reason)) => {
                    self.measure.away.one();
                    status.enter(State::Backoff, Some(reason)).await;
                    backoff.next_wait()
                }
                Err(IngestError::Refused(reason)) => {
                    self.measure.refused.one();
                    status.enter(State::Halted, Some(reason)).await;
                    self.progress.send_replace(Progress::Refused(reason.clone()));
                    LOOK_AGAIN
                }
            };
            shutdown.within(wait).await;
        }
        status.enter(State::Stopped, None).await;
    }

    /// From connecting to the first error: check, read history, follow.
    async fn session(&self, status: &mut Status, backoff: &mut Backoff) -> Result<(), IngestError> {
        let store = guard::check(&self.store, &self.history, &self.log).await?;
        status.enter(State::CatchingUp, None).await;
        let blind = has(Bug::NoReread) && *self.progress.borrow() == Progress::Complete;
        // The long part first, while no feed fills its queue; then again from where that ended.
        let read_to = if blind { self.history.now().await? } else { self.replay(store, None).await? };
        let mut feed = self.history.feed().await?;
        self.measure.feeds.one();
        if !blind {
            self.replay(store, Some(read_to)).await?;
        }
        status.enter(State::Live, None).await;
        backoff.reset();

        let mut first_pass = Instant::now();
        if blind {
            first_pass += self.config.full_pass_interval;
        }
        let (found, mut missing) = mpsc::channel(1);
        // Beside each other: neither waits while the other reads.
        tokio::select! {
            ended = self.hear(store, &mut feed, &mut missing) => ended,
            error = Checks::begin(self, first_pass).keep_comparing(found) => Err(error),
        }
    }
}
