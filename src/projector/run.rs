//! The loop.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::PgPool;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{Instrument, info, info_span, warn};

use super::apply::{Applier, Handlers, Step};
use super::batch::BatchSize;
use super::feeders::Feeders;
use super::pass::Worth;
use super::rate::Rate;
use super::record::{Rebuild, Record, Wanted};
use super::sessions::Sessions;
use super::upkeep::Upkeep;
use super::{Bell, FIRST_WAIT, Failure, LONGEST_WAIT, OnChange, Pace, Progress, Settings, State};
use crate::backoff::Backoff;
use crate::event::Position;
use crate::lease::{Lease, note_refused};
use crate::measure::ProjectionMeasure;
use crate::postgres::{Class, bounded, classify, describe, why};
use crate::projection::{Compiled, Definition, HandlerError, compile};
use crate::shutdown::Shutdown;

/// A batch that took longer than this to follow the log live was late.
const LATE: Duration = Duration::from_millis(50);

/// Keeps one read model at the log's head, until it is told to stop.
#[derive(Debug)]
pub struct Projector {
    pub(super) projection: Definition,
    pub(super) lease: Lease,
    pub(super) compiled: Compiled,
    pub(super) settings: Settings,
    pub(super) pool: PgPool,
    pub(super) sessions: Sessions,
    pub(super) log_bell: Bell,
    pub(super) control_bell: Bell,
    pub(super) pace: Pace,
    /// None until it has read what is wanted.
    pub(super) state: Option<State>,
    /// What the rows that we go on with were made from, once that is decided.
    pub(super) settled: Option<String>,
    /// Why it is halted, where it is.
    pub(super) failure: Option<Failure>,
    /// What PostgreSQL was last waited for.
    pub(super) away: String,
    /// What works on the live generation.
    applier: Option<Applier>,
    /// What works on the others.
    pub(super) feeders: Feeders,
    /// What begins another one while the live rows are fed; at most one task.
    pub(super) beginning: JoinSet<()>,
    pub(super) rate: Rate,
    pub(super) shutdown: Shutdown,
    pub(super) progress: watch::Sender<Progress>,
    measure: Arc<ProjectionMeasure>,
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
        projection: Definition,
        lease: Lease,
        settings: Settings,
        sessions: Sessions,
        log_bell: Bell,
        control_bell: Bell,
        pace: Pace,
        progress: watch::Sender<Progress>,
        shutdown: Shutdown,
    ) -> Self {
        let compiled = compile(&projection);
        Self {
            projection,
            lease,
            compiled,
            settings,
            pool: sessions.pool().clone(),
            sessions,
            log_bell,
            control_bell,
            pace,
            state: None,
            settled: None,
            failure: None,
            away: String::new(),
            applier: None,
            feeders: Feeders::default(),
            beginning: JoinSet::new(),
            rate: Rate::default(),
            shutdown,
            progress,
            measure: Arc::default(),
        }
    }

    /// Counts what it does there.
    pub(crate) fn measured(mut self, measure: Arc<ProjectionMeasure>) -> Self {
        self.measure = measure;
        self
    }

    /// Runs until it is told to stop. A batch in hand is finished first.
    pub async fn run(mut self) {
        let span = info_span!("projector", projection = self.projection.name);
        async {
            let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
            loop {
                match self.turn(&mut backoff).await {
                    Ok(Turn::Reread) => backoff.reset(),
                    Ok(Turn::Wait) => {
                        let (mut bell, mut shutdown) = (self.control_bell.clone(), self.shutdown.clone());
                        tokio::select! {
                            () = bell.heard(self.settings.config.poll_interval) => {}
                            () = shutdown.requested() => {}
                        }
                    }
                    Ok(Turn::Stop) => break,
                    Err(away) => self.back_off(&why(&self.pool, away).await, &mut backoff).await,
                }
            }
            self.feeders.stop().await;
            self.sessions.give_back(&self.projection.name);
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
        self.sessions.tidy();
        let record = bounded(Record::read_or_create(&self.pool, &self.projection.name)).await?;
        let in_place = record.generation == 0 || record.rebuild_wanted() == Some(Rebuild::InPlace);
        if record.wanted() == Wanted::Paused && !in_place {
            self.feeders.stop().await;
            self.enter(State::Paused, None).await?;
            return Ok(Turn::Wait);
        }
        let Some(record) = self.build(record, in_place).await? else { return Ok(Turn::Wait) };
        self.feed_others(&record).await?;
        // What was written down may be of a generation that has been replaced meanwhile.
        let replaced = self.applier.as_ref().is_some_and(|it| it.generation != record.generation);
        if self.state == Some(State::Halted) && record.error.is_some() && !replaced {
            return Ok(Turn::Wait);
        }
        if !self.is_ours(&record) {
            match self.settings.on_change {
                OnChange::Refuse => {
                    let name = &self.projection.name;
                    let hint = format!("projectord rebuild {name}, or put the old files back");
                    let what = "the files have changed since the rows were made";
                    return self.halt(Failure::saying(what, hint)).await;
                }
                OnChange::Ignore => {
                    warn!("the files have changed; going on with the handlers that made the rows");
                }
                OnChange::Rebuild => {}
            }
        }
        self.settled.clone_from(&record.fingerprint);
        if record.wanted() == Wanted::Paused {
            return Ok(Turn::Reread);
        }
        let mut applier = match self.applier.take().filter(|it| it.generation == record.generation) {
            Some(applier) => applier,
            None => self.applier(record.generation, record.fingerprint.as_deref()),
        };
        let turn = match applier.claim().await {
            Ok(checkpoint) => self.follow(&mut applier, &record, checkpoint, backoff).await,
            Err(error) => match classify(&error) {
                Class::Away | Class::Again => Err(error),
                Class::Fenced => self.step_down(&error).await,
                Class::Statement => self.halt(Failure::of(&error, &self.compiled)).await,
            },
        };
        self.applier = Some(applier);
        turn
    }

    /// What works on a generation that was made of files of this fingerprint.
    pub(super) fn applier(&self, generation: i64, fingerprint: Option<&str>) -> Applier {
        let is_ours = fingerprint == Some(self.projection.fingerprint().as_str());
        let config = self.settings.config.clone();
        Applier {
            pool: self.pool.clone(),
            sessions: self.sessions.clone(),
            projection: self.projection.name.clone(),
            generation,
            share: None,
            lease: self.lease,
            handlers: match &self.projection.code {
                None => Handlers::Sql,
                Some(code) if is_ours => Handlers::Code(code.clone()),
                Some(_) => Handlers::Gone,
            },
            compiled: if is_ours { self.compiled.clone() } else { Compiled::default() },
            on_error: self.projection.on_error,
            batch: BatchSize::new(config.max_batch, config.batch_time),
            upkeep: Upkeep::default(),
            worth_asking: Worth::default(),
            config,
            again: 0,
            measure: Arc::clone(&self.measure),
        }
    }

    /// Somebody else owns it: nothing is done until the lease says otherwise.
    async fn step_down(&mut self, error: &sqlx::Error) -> Result<Turn, sqlx::Error> {
        if self.state.take().is_some() {
            warn!(error = %describe(error), "another daemon owns it; stepping down");
            bounded(note_refused(&self.pool, &self.projection.name, self.lease)).await?;
        }
        Ok(Turn::Wait)
    }

    /// Whether the rows are of these files, or of those that it was decided to go on with.
    pub(super) fn is_ours(&self, record: &Record) -> bool {
        let ours = self.projection.fingerprint();
        // Without a fingerprint there is no checkpoint either, which is for `claim` to say.
        record.fingerprint.is_none()
            || self.settled.is_some()
            || record.fingerprint.as_ref() == Some(&ours)
            || record.declined.as_ref() == Some(&ours)
    }

    /// Applies batch after batch, until something else may be wanted.
    async fn follow(
        &mut self,
        applier: &mut Applier,
        record: &Record,
        mut checkpoint: Position,
        backoff: &mut Backoff,
    ) -> Result<Turn, sqlx::Error> {
        if let Some(turn) = self.retry_parked(applier, checkpoint).await? {
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
        let read = Instant::now();
        loop {
            // The control bell may be lost like any other.
            let poll = self.settings.config.poll_interval;
            let due = self.state == Some(State::Live) && read.elapsed() >= poll;
            if self.control_bell.rang() || self.shutdown.is_requested() || due {
                return Ok(Turn::Reread);
            }
            let begun = Instant::now();
            match applier.step(checkpoint, None, &mut self.shutdown).await? {
                Step::Moved { to, head } => {
                    let events = to.0 - checkpoint.0;
                    checkpoint = to;
                    backoff.reset();
                    if self.state == Some(State::Live) && (begun.elapsed() > LATE || checkpoint < head) {
                        self.pace.late();
                    }
                    let state = if checkpoint == head { State::Live } else { behind(checkpoint) };
                    self.progress.send_modify(|progress| {
                        progress.state = Some(state);
                        progress.checkpoint = checkpoint;
                    });
                    self.report(state, events).await?;
                    if state == State::Live {
                        self.wait_for_events().await;
                    }
                }
                Step::Again => {}
                Step::Fenced => {
                    warn!(%checkpoint, "somebody else moved the checkpoint; reading it again");
                    bounded(note_refused(&self.pool, &self.projection.name, self.lease)).await?;
                    return Ok(Turn::Reread);
                }
                Step::Failed(failure) => return self.halt(failure).await,
            }
        }
    }

    /// Applies parked events that somebody asked for, each in a transaction of its own, until one fails.
    async fn retry_parked(
        &mut self,
        applier: &Applier,
        checkpoint: Position,
    ) -> Result<Option<Turn>, sqlx::Error> {
        loop {
            let fence = applier.fence(checkpoint);
            let Some((position, stream)) = bounded(fence.next_to_retry()).await? else {
                return Ok(None);
            };
            if self.shutdown.is_requested() {
                return Ok(Some(Turn::Stop));
            }
            let failure = match applier.retry(checkpoint, position, stream).await {
                Ok(()) => {
                    info!(%position, %stream, "parked event applied");
                    continue;
                }
                Err(HandlerError::Refused(message)) => Failure { message, ..Failure::default() },
                Err(HandlerError::Postgres(error)) => match classify(&error) {
                    Class::Away | Class::Again => return Err(error),
                    Class::Fenced => return Ok(Some(Turn::Reread)),
                    Class::Statement => Failure::of(&error, &self.compiled),
                },
            };
            let sqlstate = failure.sqlstate.as_deref();
            warn!(%position, %stream, sqlstate, "parked event failed again; `projectord parked` shows why");
            fence.retry_failed(position, stream, &failure).await?;
        }
    }

    async fn wait_for_events(&mut self) {
        let patience = self.settings.config.poll_interval;
        // A clone, so that the ring is still there for whoever looks next.
        let (mut control, mut shutdown) = (self.control_bell.clone(), self.shutdown.clone());
        tokio::select! {
            () = self.log_bell.heard(patience) => {}
            () = control.heard(patience) => {}
            () = shutdown.requested() => {}
        }
    }
}
