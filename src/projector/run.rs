//! The loop.

use std::time::{Duration, Instant};

use sqlx::{ConnectOptions, PgPool};
use tokio::sync::watch;
use tracing::{Instrument, error, info, info_span, warn};

use super::batch::BatchSize;
use super::failure::FailedEvent;
use super::generation::{GenerationError, rebuild_in_place};
use super::parked::Fence;
use super::rate::Rate;
use super::record::{Record, Wanted, write_state};
use super::{Bell, Config, Failure, OnChange, Progress, State};
use crate::backoff::Backoff;
use crate::event::Position;
use crate::fault;
use crate::lease::{Lease, note_refused};
use crate::postgres::{Class, bounded, classify, describe, why};
use crate::projection::{Compiled, OnError, Projection, compile};
use crate::sabotage::{Bug, has};
use crate::shutdown::Shutdown;

/// How often a batch is tried again after a deadlock or the like before that counts as an error.
const MOST_AGAIN: u32 = 20;
/// The longest wait before that.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// How long a batch may be without an answer before it is looked for.
const LOOK_FOR_BATCH: Duration = Duration::from_secs(4);

/// Keeps one read model at the log's head, until it is told to stop.
#[derive(Debug)]
pub struct Projector {
    projection: Projection,
    lease: Lease,
    compiled: Compiled,
    config: Config,
    on_change: OnChange,
    pool: PgPool,
    log_bell: Bell,
    control_bell: Bell,
    /// None until it has read what is wanted.
    state: Option<State>,
    /// What the rows that we go on with were made from, once that is decided.
    settled: Option<String>,
    /// Why it is halted, where it is.
    failure: Option<Failure>,
    batch: BatchSize,
    rate: Rate,
    shutdown: Shutdown,
    progress: watch::Sender<Progress>,
}

/// Why the loop went back to read what is wanted.
enum Turn {
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

    /// One batch, in one statement. The rows and the checkpoint are committed together or not at all.
    async fn apply(&self, generation: i64, after: Position) -> Result<(Position, Position), sqlx::Error> {
        let mut connection = self.pool.acquire().await?;
        let limit = i64::try_from(self.batch.get()).unwrap_or(i64::MAX);
        let apply = if has(Bug::CheckpointAfter) || has(Bug::CheckpointBefore) {
            "call projectord.torn_apply($1, $2, $3, $4, $5, $6, null, null)"
        } else {
            "select new_checkpoint, head from projectord.apply($1, $2, $3, $4, $5, $6)"
        };
        let query = sqlx::query_as(apply)
            .bind(&self.projection.name)
            .bind(generation)
            .bind(after.to_sql())
            .bind(limit)
            .bind(self.lease.owner)
            .bind(self.lease.epoch)
            .fetch_one(&mut *connection);
        // The server cancels a batch that takes too long; this is for a server that does not answer.
        let patience = self.config.batch_timeout + Duration::from_secs(10);
        fault::point("batch-before");
        let answered = tokio::select! {
            done = query => Some(done),
            () = self.batch_is_lost(generation, after) => None,
            () = tokio::time::sleep(patience) => None,
        };
        match answered {
            Some(done) => {
                if done.as_ref().is_err_and(|error| classify(error) == Class::Away) {
                    connection.close_on_drop();
                }
                fault::point("batch-after");
                let (reached, head): (i64, i64) = done?;
                Ok((Position::from_sql(reached), Position::from_sql(head)))
            }
            None => {
                drop(connection.detach());
                Err(sqlx::Error::Protocol("no answer from PostgreSQL, and no batch under way there".into()))
            }
        }
    }

    /// Ends when a batch that has been sent is not under way: its answer, or the batch itself, was lost with
    /// the connection. A batch under way has its generation's row locked; asked for by a session of its own.
    async fn batch_is_lost(&self, generation: i64, after: Position) {
        loop {
            tokio::time::sleep(LOOK_FOR_BATCH).await;
            let look = async {
                let mut session = self.pool.connect_options().connect().await?;
                sqlx::query_as::<_, (i64,)>(
                    "select checkpoint from projectord.generations
                      where projection = $1 and generation = $2 for update skip locked",
                )
                .bind(&self.projection.name)
                .bind(generation)
                .fetch_optional(&mut session)
                .await
            };
            // Where nobody answers a new session either, the wait for the old one has a bound.
            if let Ok(Ok(Some(_))) = tokio::time::timeout(LOOK_FOR_BATCH, look).await {
                warn!(%after, "the answer to a batch is lost; connecting anew");
                return;
            }
        }
    }

    /// Makes the batch smaller, until the event that fails stands alone: then that is the failure.
    async fn isolate(
        &mut self,
        checkpoint: Position,
        error: &sqlx::Error,
    ) -> Result<Option<Failure>, sqlx::Error> {
        let mut failure = Failure::of(error, &self.compiled);
        if failure.sqlstate.as_deref() == Some("PJ002") {
            return Ok(Some(failure));
        }
        let (head,): (i64,) =
            bounded(sqlx::query_as("select position from projectord.log_head").fetch_one(&self.pool)).await?;
        let in_batch = self.batch.get().min(Position::from_sql(head).0.saturating_sub(checkpoint.0));
        if !self.batch.failed(in_batch) {
            return Ok(None);
        }
        let event: Option<(i64, String, uuid::Uuid, i64)> = sqlx::query_as(
            "select position, type, stream_id, version from projectord.events where position = $1",
        )
        .bind(checkpoint.next().to_sql())
        .fetch_optional(&self.pool)
        .await?;
        failure.event = event.map(|(position, event_type, stream_id, version)| FailedEvent {
            position: Position::from_sql(position),
            event_type,
            stream_id,
            version,
        });
        let name = &self.projection.name;
        failure.hint.get_or_insert(format!(
            "correct the handler and reload, or repair the cause and: projectord resume {name}"
        ));
        Ok(Some(failure))
    }

    /// Whether parking can help. A table that is missing, or a right, fails for every event alike.
    fn may_park(&self, failure: &Failure) -> bool {
        let code = failure.sqlstate.as_deref().unwrap_or("");
        self.projection.on_error == OnError::Park
            && failure.event.is_some()
            && ["21", "22", "23", "P0", "57014"].iter().any(|class| code.starts_with(class))
    }

    fn fence(&self, generation: i64, checkpoint: Position) -> Fence<'_> {
        let projection = self.projection.name.as_str();
        Fence { pool: &self.pool, projection, generation, checkpoint, lease: self.lease }
    }

    /// Applies parked events that somebody asked for, each in a transaction of its own, until one fails.
    async fn retry_parked(
        &mut self,
        generation: i64,
        checkpoint: Position,
    ) -> Result<Option<Turn>, sqlx::Error> {
        loop {
            let fence = self.fence(generation, checkpoint);
            let Some((position, stream)) = bounded(fence.next_to_retry()).await? else {
                return Ok(None);
            };
            if self.shutdown.is_requested() {
                return Ok(Some(Turn::Stop));
            }
            match fence.retry(position, stream).await {
                Ok(()) => info!(%position, %stream, "parked event applied"),
                Err(error) => match classify(&error) {
                    Class::Away | Class::Again => return Err(error),
                    Class::Fenced => return Ok(Some(Turn::Reread)),
                    Class::Statement => {
                        let failure = Failure::of(&error, &self.compiled);
                        warn!(%position, %stream, reason = %failure, "parked event failed again");
                        fence.retry_failed(position, stream, &failure).await?;
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

    async fn halt(&mut self, failure: Failure) -> Result<Turn, sqlx::Error> {
        self.enter(State::Halted, Some(failure)).await?;
        Ok(Turn::Wait)
    }

    async fn back_off(&mut self, away: &sqlx::Error, backoff: &mut Backoff) {
        let wait = backoff.next_wait();
        if self.state != Some(State::Backoff) {
            warn!(error = %describe(away), "PostgreSQL does not do its part; trying again until it does");
            self.state = Some(State::Backoff);
        }
        // Where PostgreSQL is away altogether, this cannot be written down either.
        let failure = Failure { message: describe(away), ..Failure::default() };
        let written =
            write_state(&self.pool, &self.projection.name, self.lease, State::Backoff, Some(&failure), 0.0);
        drop(tokio::time::timeout(wait, written).await);
        self.shutdown.within(wait).await;
    }

    /// One row for each transition.
    async fn enter(&mut self, state: State, failure: Option<Failure>) -> Result<(), sqlx::Error> {
        match &failure {
            // Said once: what is tried again may fail again.
            Some(failure) if self.failure.as_ref() != Some(failure) => error!(reason = %failure, "halted"),
            Some(_) => {}
            None => self.say(state),
        }
        self.state = Some(state);
        self.failure.clone_from(&failure);
        self.progress.send_modify(|progress| progress.state = Some(state));
        self.rate = Rate::default();
        bounded(write_state(&self.pool, &self.projection.name, self.lease, state, failure.as_ref(), 0.0))
            .await
    }

    /// One line for each transition.
    fn say(&self, to: State) {
        if Some(to) != self.state {
            info!(from = self.state.map_or("starting", State::as_str), %to, "state");
        }
    }

    /// Writes down a change of state at once, and the rate now and then.
    async fn report(&mut self, state: State, events: u64) -> Result<(), sqlx::Error> {
        self.rate.add(events);
        if Some(state) != self.state {
            self.say(state);
            self.state = Some(state);
        } else if !self.rate.due() {
            return Ok(());
        }
        let rate = self.rate.take();
        bounded(write_state(&self.pool, &self.projection.name, self.lease, state, None, rate)).await
    }
}
