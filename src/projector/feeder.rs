//! Feeds a generation that readers do not see: one that is being built, until it can take the live one's place;
//! or a retired one, so that one can go back to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sqlx::types::Json;
use tokio::task::JoinSet;
use tracing::{Instrument, info, warn};

use super::apply::{Applier, Step};
use super::record::Aside;
use super::{Bell, FIRST_WAIT, Failure, LONGEST_WAIT, Pace};
use crate::backoff::Backoff;
use crate::event::Position;
use crate::fault;
use crate::postgres::{Class, bounded, classify, describe, interval, sqlstate, why};
use crate::shutdown::{Shutdown, Trigger};

/// How often progress is written down.
const REPORT: Duration = Duration::from_secs(1);

/// Works on one generation beside the live one.
#[derive(Debug)]
pub(super) struct Feeder {
    pub(super) applier: Applier,
    pub(super) aside: Aside,
    /// Whether it had caught up once, and PostgreSQL's planner was told what is in its tables.
    pub(super) analyzed: bool,
    /// The generation whose place it may take.
    pub(super) live: i64,
    /// How long the one that it replaces can be gone back to.
    pub(super) keep_old: Duration,
    pub(super) pace: Pace,
    pub(super) log_bell: Bell,
    pub(super) control_bell: Bell,
    pub(super) shutdown: Shutdown,
}

/// A share of a build, at the end of its worker.
enum Share {
    /// It has come to where all shares meet.
    Done,
    /// Told to stop, or somebody else works on it.
    Left,
    /// An event cannot be applied.
    Failed(Failure),
}

impl Feeder {
    /// Runs until the generation is swapped in, dropped, or cannot go on, or it is told to stop.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        let mut away = String::new();
        while !self.shutdown.is_requested() {
            match self.feed(&mut backoff).await {
                Ok(()) => return,
                Err(error) => {
                    let error = why(&self.applier.pool, error).await;
                    let reason = describe(&error);
                    if away != reason {
                        warn!(error = %reason, "PostgreSQL does not do its part; trying again until it does");
                        away = reason;
                    }
                    self.shutdown.within(backoff.next_wait()).await;
                }
            }
        }
    }

    async fn feed(&mut self, backoff: &mut Backoff) -> Result<(), sqlx::Error> {
        let mut checkpoint = match self.applier.claim().await {
            Ok(checkpoint) => checkpoint,
            Err(error) => match classify(&error) {
                Class::Away | Class::Again => return Err(error),
                Class::Fenced => return Ok(()),
                Class::Statement => return self.fail(&Failure::of(&error, &self.applier.compiled)).await,
            },
        };
        if self.aside.shares > 0 {
            match self.share_out().await? {
                Some(merged) => checkpoint = merged,
                None => return Ok(()),
            }
        }
        let (mut since, mut events) = (Instant::now(), 0);
        let mut looked: Option<Instant> = None;
        while !self.shutdown.is_requested() {
            let begun = Instant::now();
            match self.applier.step(checkpoint, None, &mut self.shutdown).await? {
                Step::Moved { to, head } => {
                    backoff.reset();
                    events += to.0 - checkpoint.0;
                    checkpoint = to;
                    if checkpoint < head {
                        self.pace.rest(begun.elapsed(), &mut self.shutdown).await;
                    } else if self.is_building() && !std::mem::replace(&mut self.analyzed, true) {
                        self.note_caught_up().await?;
                        self.applier.analyze(&mut self.shutdown).await;
                    } else {
                        let rang = self.control_bell.rang();
                        let due =
                            rang || looked.is_none_or(|at| at.elapsed() >= self.applier.config.poll_interval);
                        if self.is_building() && due && self.caught_up(checkpoint).await? {
                            return Ok(());
                        }
                        if due {
                            looked = Some(Instant::now());
                        }
                        self.wait_for_events().await;
                    }
                }
                Step::Again => {}
                // Swapped in, dropped, or another owner's.
                Step::Fenced => return Ok(()),
                Step::Failed(failure) => return self.fail(&failure).await,
            }
            if since.elapsed() >= REPORT {
                self.report(rate(events, since)).await?;
                (since, events) = (Instant::now(), 0);
            }
        }
        Ok(())
    }

    fn is_building(&self) -> bool {
        self.aside.state == "building"
    }

    /// When it first had everything that was in the log; whether it is held. None where it is not being built any more.
    async fn note_caught_up(&self) -> Result<Option<bool>, sqlx::Error> {
        let noted: Option<(bool,)> = bounded(
            sqlx::query_as(
                "update projectord.generations
                    set caught_up_at = coalesce(caught_up_at, clock_timestamp())
                  where projection = $1 and generation = $2 and state = 'building'
                returning held",
            )
            .bind(&self.applier.projection)
            .bind(self.applier.generation)
            .fetch_optional(&self.applier.pool),
        )
        .await?;
        Ok(noted.map(|(held,)| held))
    }

    /// It has everything that is in the log: takes the live one's place, unless it is held. Whether it did, or is
    /// none of our business any more.
    async fn caught_up(&mut self, checkpoint: Position) -> Result<bool, sqlx::Error> {
        let Some(held) = self.note_caught_up().await? else { return Ok(true) };
        if held {
            if !std::mem::replace(&mut self.aside.held, true) {
                info!(%checkpoint, "caught up, and held until somebody has looked");
            }
            return Ok(false);
        }
        fault::point("swap-before");
        let Applier { projection, generation, .. } = &self.applier;
        // What is still to be caught up with holds up the live rows: in a session that has run these handlers.
        let mut session = self.applier.sessions.take((projection, *generation)).await?;
        let swap = sqlx::query_as("select projectord.swap($1, $2, $3, $4)")
            .bind(projection)
            .bind(self.live)
            .bind(generation)
            .bind(interval(self.keep_old))
            .fetch_one(&mut *session);
        let swapped: Result<(i64,), sqlx::Error> = swap.await;
        fault::point("swap-after");
        if swapped.is_ok() {
            self.applier.sessions.keep(session, (projection, *generation));
        }
        let error = match swapped {
            Ok((checkpoint,)) => {
                info!(checkpoint, replaced = self.live, "swapped in: readers see these rows now");
                return Ok(true);
            }
            Err(error) => error,
        };
        match sqlstate(&error).as_deref() {
            // The live one is ahead: a moment later it is not.
            Some("PJ012") => Ok(false),
            Some("PJ011") => Ok(true),
            _ => match classify(&error) {
                Class::Away | Class::Again => Err(error),
                Class::Fenced => Ok(true),
                Class::Statement => {
                    let failure = Failure::of(&error, &self.applier.compiled);
                    warn!(reason = %failure.for_log(), "cannot be swapped in yet");
                    self.write_error(&failure).await?;
                    Ok(false)
                }
            },
        }
    }

    /// Several workers, each with the streams of its share, up to where the log's head was; then one checkpoint
    /// for all. None where it is not done.
    async fn share_out(&mut self) -> Result<Option<Position>, sqlx::Error> {
        let places: Vec<(i32, i64)> = bounded(
            sqlx::query_as(
                "select share, checkpoint from projectord.shares where projection = $1 and generation = $2",
            )
            .bind(&self.applier.projection)
            .bind(self.applier.generation)
            .fetch_all(&self.applier.pool),
        )
        .await?;
        let (applied, stop) = (Arc::new(AtomicU64::new(0)), Trigger::new());
        let mut workers = JoinSet::new();
        for (share, checkpoint) in places {
            let worker = Worker {
                applier: Applier { share: Some(share), ..self.applier.clone() },
                target: Position::from_sql(self.aside.built_to),
                applied: Arc::clone(&applied),
                pace: self.pace.clone(),
                shutdown: stop.subscribe(),
            };
            workers.spawn(worker.run(Position::from_sql(checkpoint)).in_current_span());
        }
        let shares = workers.len() as u64;
        let (mut outcome, mut told) = (Ok(Share::Done), false);
        let mut report = tokio::time::interval(REPORT);
        let (mut since, mut shutdown) = (Instant::now(), self.shutdown.clone());
        loop {
            tokio::select! {
                ended = workers.join_next() => match ended {
                    None => break,
                    Some(Ok(Ok(Share::Done))) => {}
                    Some(ended) => {
                        stop.request();
                        outcome = ended.unwrap_or_else(|_| Err(sqlx::Error::WorkerCrashed));
                    }
                },
                _ = report.tick() => {
                    // The log is read by each of them.
                    self.report(rate(applied.swap(0, Ordering::Relaxed) / shares.max(1), since)).await?;
                    since = Instant::now();
                }
                () = shutdown.requested(), if !told => {
                    stop.request();
                    (outcome, told) = (Ok(Share::Left), true);
                }
            }
        }
        match outcome? {
            Share::Done => {}
            Share::Left => return Ok(None),
            Share::Failed(failure) => return self.fail(&failure).await.map(|()| None),
        }
        fault::point("merge-before");
        let merge = sqlx::query_as("select projectord.merge_shares($1, $2, $3, $4)")
            .bind(&self.applier.projection)
            .bind(self.applier.generation)
            .bind(self.applier.lease.owner)
            .bind(self.applier.lease.epoch)
            .fetch_one(&self.applier.pool);
        let (checkpoint,): (i64,) = bounded(merge).await?;
        self.aside.shares = 0;
        Ok(Some(Position::from_sql(checkpoint)))
    }

    /// It is not fed any more, with the reason on record.
    async fn fail(&self, failure: &Failure) -> Result<(), sqlx::Error> {
        match self.is_building() {
            true => tracing::error!(reason = %failure.for_log(), "the build has failed; the live rows go on"),
            false => warn!(reason = %failure.for_log(), "the retired rows are not fed any more"),
        }
        self.write_error(failure).await
    }

    async fn write_error(&self, failure: &Failure) -> Result<(), sqlx::Error> {
        bounded(
            sqlx::query(
                "with failed as (
                     update projectord.generations set error = $3, events_per_second = 0
                      where projection = $1 and generation = $2 and state <> 'live' returning 1)
                 select pg_notify('projectord_control', '') from failed",
            )
            .bind(&self.applier.projection)
            .bind(self.applier.generation)
            .bind(Json(failure))
            .execute(&self.applier.pool),
        )
        .await
        .map(drop)
    }

    async fn report(&self, events_per_second: f64) -> Result<(), sqlx::Error> {
        bounded(
            sqlx::query(
                "update projectord.generations set events_per_second = $3 where projection = $1 and generation = $2",
            )
            .bind(&self.applier.projection)
            .bind(self.applier.generation)
            .bind(events_per_second)
            .execute(&self.applier.pool),
        )
        .await
        .map(drop)
    }

    async fn wait_for_events(&mut self) {
        let patience = self.applier.config.poll_interval;
        let (mut control, mut shutdown) = (self.control_bell.clone(), self.shutdown.clone());
        tokio::select! {
            () = self.log_bell.heard(patience) => {}
            () = control.heard(patience) => {}
            () = shutdown.requested() => {}
        }
    }
}

/// One share of a build.
struct Worker {
    applier: Applier,
    target: Position,
    applied: Arc<AtomicU64>,
    pace: Pace,
    shutdown: Shutdown,
}

impl Worker {
    async fn run(mut self, mut checkpoint: Position) -> Result<Share, sqlx::Error> {
        while checkpoint < self.target {
            if self.shutdown.is_requested() {
                return Ok(Share::Left);
            }
            let begun = Instant::now();
            match self.applier.step(checkpoint, Some(self.target), &mut self.shutdown).await? {
                Step::Moved { to, .. } => {
                    self.applied.fetch_add(to.0 - checkpoint.0, Ordering::Relaxed);
                    checkpoint = to;
                    self.pace.rest(begun.elapsed(), &mut self.shutdown).await;
                }
                Step::Again => {}
                Step::Fenced => return Ok(Share::Left),
                Step::Failed(failure) => return Ok(Share::Failed(failure)),
            }
        }
        Ok(Share::Done)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate")]
fn rate(events: u64, since: Instant) -> f64 {
    events as f64 / since.elapsed().as_secs_f64().max(0.001)
}
