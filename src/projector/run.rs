//! The loop.

use std::time::{Duration, Instant};

use sqlx::PgPool;
use tokio::sync::watch;
use tracing::{Instrument, info, info_span, warn};

use super::batch::BatchSize;
use super::generation::{GenerationError, rebuild_in_place};
use super::rate::Rate;
use super::record::{Record, Wanted};
use super::{Bell, Config, Failure, OnChange, Progress, State};
use crate::backoff::Backoff;
use crate::event::Position;
use crate::fault;
use crate::lease::{Lease, note_refused};
use crate::postgres::{Class, bounded, classify, describe, why};
use crate::projection::{Compiled, Projection, compile};
use crate::sabotage::{Bug, has};
use crate::shutdown::Shutdown;

/// How often a batch is tried again after a deadlock or the like before that counts as an error.
const MOST_AGAIN: u32 = 20;
/// The longest wait before that.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Keeps one read model at the log's head, until it is told to stop.
#[derive(Debug)]
pub struct Projector {
    pub(super) projection: Projection,
    pub(super) lease: Lease,
    pub(super) compiled: Compiled,
    pub(super) config: Config,
    pub(super) on_change: OnChange,
    pub(super) pool: PgPool,
    pub(super) log_bell: Bell,
    pub(super) control_bell: Bell,
    /// None until it has read what is wanted.
    pub(super) state: Option<State>,
    /// What the rows that we go on with were made from, once that is decided.
    pub(super) settled: Option<String>,
    /// Why it is halted, where it is.
    pub(super) failure: Option<Failure>,
    pub(super) batch: BatchSize,
    pub(super) rate: Rate,
    pub(super) shutdown: Shutdown,
    pub(super) progress: watch::Sender<Progress>,
}

/// Why the loop went back to read what is wanted.
pub(super) enum Turn {
    /// Something may be wanted, or the checkpoint was moved by somebody else.
    Reread,
    /// Nothing to do until the control bell rings.
    Wait,
    /// The daemon stops.
    Stop,
}

impl Projector {
    /// A projector for `projection`, whose owner `lease` says; `control_bell` rings when somebody wants
    /// something of it, and `shutdown` is requested when the daemon ends or the lease is lost.
    #[expect(clippy::too_many_arguments, reason = "each is one thing that it works with")]
    pub fn new(
        projection: Projection,
        lease: Lease,
        config: Config,
        on_change: OnChange,
        pool: PgPool,
        log_bell: Bell,
        control_bell: Bell,
        progress: watch::Sender<Progress>,
        shutdown: Shutdown,
    ) -> Self {
        let batch = BatchSize::new(config.max_batch, config.batch_time);
        let compiled = compile(&projection);
        let rate = Rate::default();
        Self {
            projection,
            lease,
            compiled,
            config,
            on_change,
            pool,
            log_bell,
            control_bell,
            state: None,
            settled: None,
            failure: None,
            batch,
            rate,
            shutdown,
            progress,
        }
    }

    /// Runs until it is told to stop. A batch in hand is finished first.
    pub async fn run(mut self) {
        let span = info_span!("projector", projection = self.projection.name);
        async {
            let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
            loop {
                match self.turn(&mut backoff).await {
                    Ok(Turn::Reread) => backoff.reset(),
                    Ok(Turn::Wait) => {
                        let (mut bell, mut shutdown) = (self.control_bell.clone(), self.shutdown.clone());
                        tokio::select! {
                            () = bell.heard(self.config.poll_interval) => {}
                            () = shutdown.requested() => {}
                        }
                    }
                    Ok(Turn::Stop) => return,
                    Err(away) => self.back_off(&why(&self.pool, away).await, &mut backoff).await,
                }
            }
        }
        .instrument(span)
        .await;
    }

    /// Reads what is wanted and does it, until something else may be.
    async fn turn(&mut self, backoff: &mut Backoff) -> Result<Turn, sqlx::Error> {
        if self.shutdown.is_requested() {
            return Ok(Turn::Stop);
        }
        self.control_bell.rang();
        let mut record = bounded(Record::read_or_create(&self.pool, &self.projection.name)).await?;
        if record.wanted() == Wanted::Paused && !record.rebuild_wanted {
            self.enter(State::Paused, None).await?;
            return Ok(Turn::Wait);
        }
        if self.state == Some(State::Halted) && record.error.is_some() && !record.rebuild_wanted {
            return Ok(Turn::Wait);
        }
        if let Some(reason) = self.must_build(&record) {
            info!(reason, "building the read model");
            match rebuild_in_place(&self.pool, &self.projection, self.lease, record.generation).await {
                Ok(_) => {}
                Err(GenerationError::Refused(failure)) => return self.halt(failure).await,
                Err(GenerationError::Postgres(error)) if classify(&error) == Class::Statement => {
                    return self.halt(Failure::of(&error, &self.compiled)).await;
                }
                Err(GenerationError::Postgres(error)) => return Err(error),
            }
            record = bounded(Record::read_or_create(&self.pool, &self.projection.name)).await?;
        } else if !self.is_ours(&record) {
            if self.settled.is_some() {
                warn!("another daemon has rebuilt it from other files; leaving it to that one");
                self.state = None;
                return Ok(Turn::Wait);
            }
            match self.on_change {
                OnChange::Ignore => {
                    warn!("the files have changed; going on with the handlers that made the rows");
                }
                OnChange::Rebuild | OnChange::Refuse => {
                    let name = &self.projection.name;
                    let hint = format!("projectord rebuild {name}, or put the old files back");
                    return self
                        .halt(Failure::saying("the files have changed since the rows were made", hint))
                        .await;
                }
            }
        }
        self.settled.clone_from(&record.fingerprint);
        if record.wanted() == Wanted::Paused {
            return Ok(Turn::Reread);
        }
        match self.claim(record.generation).await {
            Ok(checkpoint) => self.follow(&record, checkpoint, backoff).await,
            Err(error) => match classify(&error) {
                Class::Away | Class::Again => Err(error),
                Class::Fenced => self.step_down(&error).await,
                Class::Statement => self.halt(Failure::of(&error, &self.compiled)).await,
            },
        }
    }

    /// From here on only this owner, in this epoch, moves the checkpoint; where it stands.
    async fn claim(&self, generation: i64) -> Result<Position, sqlx::Error> {
        let claim = sqlx::query_as("select projectord.claim($1, $2, $3, $4)")
            .bind(&self.projection.name)
            .bind(generation)
            .bind(self.lease.owner)
            .bind(self.lease.epoch)
            .fetch_one(&self.pool);
        let (checkpoint,): (i64,) = bounded(claim).await?;
        Ok(Position::from_sql(checkpoint))
    }

    /// Somebody else owns it: nothing is done until the lease says otherwise.
    async fn step_down(&mut self, error: &sqlx::Error) -> Result<Turn, sqlx::Error> {
        if self.state.take().is_some() {
            warn!(error = %describe(error), "another daemon owns it; stepping down");
            bounded(note_refused(&self.pool, &self.projection.name, self.lease)).await?;
        }
        Ok(Turn::Wait)
    }

    /// Why the read model must be built anew, if it must.
    fn must_build(&self, record: &Record) -> Option<&'static str> {
        if record.generation == 0 {
            Some("it is new")
        } else if record.rebuild_wanted {
            Some("a rebuild was asked for")
        } else if self.on_change == OnChange::Rebuild && self.settled.is_none() && !self.is_ours(record) {
            Some("its files have changed")
        } else {
            None
        }
    }

    /// Whether the rows are of these files, or of those that it was decided to go on with.
    fn is_ours(&self, record: &Record) -> bool {
        // Without a fingerprint there is no checkpoint either, which is for `claim` to say.
        record.fingerprint.is_none()
            || record.fingerprint == self.settled
            || record.fingerprint.as_deref() == Some(&self.projection.fingerprint())
    }

    /// Applies batch after batch, until something else may be wanted.
    async fn follow(
        &mut self,
        record: &Record,
        mut checkpoint: Position,
        backoff: &mut Backoff,
    ) -> Result<Turn, sqlx::Error> {
        if let Some(turn) = self.retry_parked(record.generation, checkpoint).await? {
            return Ok(turn);
        }
        let rebuilt_at = record.built_to();
        let is_rebuild = record.generation > 1;
        let behind = |checkpoint| match is_rebuild && checkpoint < rebuilt_at {
            true => State::Rebuilding,
            false => State::CatchingUp,
        };
        if self.state != Some(State::Live) || is_rebuild && checkpoint < rebuilt_at {
            self.enter(behind(checkpoint), None).await?;
        }
        let mut again = 0;
        let read = Instant::now();
        loop {
            // The control bell may be lost like any other.
            let due = self.state == Some(State::Live) && read.elapsed() >= self.config.poll_interval;
            if self.control_bell.rang() || self.shutdown.is_requested() || due {
                return Ok(Turn::Reread);
            }
            let begun = Instant::now();
            match self.apply(record.generation, checkpoint).await {
                Ok((reached, head)) => {
                    let events = reached.0 - checkpoint.0;
                    (checkpoint, again) = (reached, 0);
                    backoff.reset();
                    if events > 0 {
                        self.batch.took(events, begun.elapsed());
                    }
                    let state = if checkpoint == head { State::Live } else { behind(checkpoint) };
                    self.progress.send_replace(Progress { state: Some(state), checkpoint });
                    self.report(state, events).await?;
                    if state == State::Live {
                        self.wait_for_events().await;
                    }
                }
                Err(error) => match classify(&error) {
                    Class::Away => return Err(error),
                    Class::Fenced => {
                        warn!(%checkpoint, "somebody else moved the checkpoint; reading it again");
                        bounded(note_refused(&self.pool, &self.projection.name, self.lease)).await?;
                        return Ok(Turn::Reread);
                    }
                    Class::Again if again < MOST_AGAIN => {
                        again += 1;
                        warn!(%checkpoint, error = %describe(&error), "batch rolled back; trying it again");
                        self.shutdown.within(AGAIN_AFTER.mul_f64(fastrand::f64())).await;
                    }
                    class @ (Class::Again | Class::Statement) => {
                        match self.isolate(checkpoint, &error).await? {
                            None => {}
                            Some(failure) if class == Class::Statement && self.may_park(&failure) => {
                                warn!(reason = %failure, "parked the event, and what follows in its stream");
                                fault::point("park-before");
                                checkpoint = self.fence(record.generation, checkpoint).park(&failure).await?;
                                fault::point("park-after");
                            }
                            Some(failure) if has(Bug::ErrorSkipped) => {
                                checkpoint = self.fence(record.generation, checkpoint).park(&failure).await?;
                                sqlx::query("delete from projectord.parked").execute(&self.pool).await?;
                            }
                            Some(failure) => return self.halt(failure).await,
                        }
                    }
                },
            }
        }
    }

    async fn wait_for_events(&mut self) {
        let patience = self.config.poll_interval;
        // A clone, so that the ring is still there for whoever looks next.
        let (mut control, mut shutdown) = (self.control_bell.clone(), self.shutdown.clone());
        tokio::select! {
            () = self.log_bell.heard(patience) => {}
            () = control.heard(patience) => {}
            () = shutdown.requested() => {}
        }
    }
}
