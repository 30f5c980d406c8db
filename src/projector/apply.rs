//! The log applied to one generation of a read model, a batch at a time: sent, looked for where its answer is
//! lost, made smaller where an event in it fails.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::{ConnectOptions, PgPool};
use tracing::{Instrument, warn};

use super::batch::BatchSize;
use super::failure::FailedEvent;
use super::parked::Fence;
use super::pass::Worth;
use super::sessions::Sessions;
use super::upkeep::Upkeep;
use super::{Config, Failure};
use crate::event::Position;
use crate::fault;
use crate::lease::Lease;
use crate::measure::ProjectionMeasure;
use crate::postgres::{Class, bounded, classify, describe};
use crate::projection::{Code, Compiled, HandlerError, OnError};
use crate::sabotage::{Bug, has};
use crate::shutdown::Shutdown;
use crate::spans;

/// How long a batch may be without an answer before it is looked for.
const LOOK_FOR_BATCH: Duration = Duration::from_secs(4);
/// How often a batch is tried again after a deadlock or the like before that counts as an error.
const MOST_AGAIN: u32 = 20;
/// Where so many events are left, nobody waits for the next one.
const MANY: u64 = 1000;
/// Of rows that were made by Rust that has changed.
const GONE: &str = "these rows were made by another revision of its code, which is not in this program";
/// The longest wait before that.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Applies events to one generation, or to one share of its streams.
#[derive(Debug, Clone)]
pub(super) struct Applier {
    pub(super) pool: PgPool,
    pub(super) sessions: Sessions,
    pub(super) projection: String,
    pub(super) generation: i64,
    /// Of a build that several workers share.
    pub(super) share: Option<i32>,
    pub(super) lease: Lease,
    pub(super) handlers: Handlers,
    /// Where the handlers' lines are; for what failed.
    pub(super) compiled: Compiled,
    pub(super) on_error: OnError,
    pub(super) config: Config,
    pub(super) batch: BatchSize,
    pub(super) upkeep: Upkeep,
    pub(super) worth_asking: Worth,
    /// How often this batch was tried again.
    pub(super) again: u32,
    pub(super) measure: Arc<ProjectionMeasure>,
}

/// Where a generation's handlers are.
#[derive(Debug, Clone)]
pub(super) enum Handlers {
    /// In the read model's schema, as a function.
    Sql,
    /// In this program.
    Code(Code),
    /// In a program of another revision.
    Gone,
}

/// What came of a batch.
#[derive(Debug)]
pub(super) enum Step {
    /// The checkpoint is there now, and the log's head was here.
    Moved { to: Position, head: Position },
    /// Nothing was applied: the next one may be, or is smaller.
    Again,
    /// Somebody else moves the checkpoint.
    Fenced,
    /// The event after the checkpoint cannot be applied.
    Failed(Failure),
}

impl Applier {
    /// One batch after the checkpoint, up to `last` at the most.
    ///
    /// # Errors
    /// When PostgreSQL does not do its part: then what was committed must be read again.
    pub(super) async fn step(
        &mut self,
        checkpoint: Position,
        last: Option<Position>,
        shutdown: &mut Shutdown,
    ) -> Result<Step, sqlx::Error> {
        let step = match self.pass_over(checkpoint).await? {
            Some(head) => Ok(Step::Moved { to: head, head }),
            None => self.try_step(checkpoint, last, shutdown).await,
        };
        match &step {
            Ok(Step::Moved { to, head }) => {
                self.measure.events.add(to.0.saturating_sub(checkpoint.0));
                self.worth_asking.caught_up = to == head;
                if head.0.saturating_sub(to.0) > MANY {
                    self.vacuum_where_due(shutdown).await;
                }
            }
            Ok(Step::Again) => self.measure.retries.one(),
            Ok(Step::Fenced | Step::Failed(_)) | Err(_) => {}
        }
        step
    }

    async fn try_step(
        &mut self,
        checkpoint: Position,
        last: Option<Position>,
        shutdown: &mut Shutdown,
    ) -> Result<Step, sqlx::Error> {
        self.batch.halve_jointly(self.sessions.joint().halvings());
        let begun = Instant::now();
        let span = spans::batch(&self.projection, self.generation, checkpoint);
        let applied = self.apply(checkpoint, last).instrument(span.clone()).await;
        if applied.is_err() {
            span.record("otel.status_code", "ERROR");
        }
        let (class, error) = match applied {
            Ok((to, head)) => {
                span.record("to", to.0);
                self.again = 0;
                if to > checkpoint {
                    let events = to.0 - checkpoint.0;
                    if self.batch.took(events, begun.elapsed()) {
                        self.sessions.joint().full((&self.projection, self.generation), events);
                    }
                    self.measure.batches.one();
                    self.measure.apply.took(begun.elapsed());
                }
                return Ok(Step::Moved { to, head });
            }
            Err(HandlerError::Postgres(error)) => (classify(&error), error),
            Err(HandlerError::Refused(reason)) => {
                self.measure.errors.handler.one();
                let failure = Failure { message: reason, ..Failure::default() };
                return match self.isolate(checkpoint, failure).await? {
                    None => Ok(Step::Again),
                    Some(failure) if self.on_error == OnError::Park => self.park(checkpoint, &failure).await,
                    Some(failure) => Ok(Step::Failed(failure)),
                };
            }
        };
        let errors = &self.measure.errors;
        match class {
            Class::Away => errors.away.one(),
            Class::Fenced => errors.fenced.one(),
            Class::Again => errors.again.one(),
            Class::Statement => errors.handler.one(),
        }
        match class {
            Class::Away => Err(error),
            Class::Fenced => Ok(Step::Fenced),
            Class::Again if self.again < MOST_AGAIN => {
                self.again += 1;
                warn!(%checkpoint, error = %describe(&error), "batch rolled back; trying it again");
                shutdown.within(AGAIN_AFTER.mul_f64(fastrand::f64())).await;
                Ok(Step::Again)
            }
            Class::Again | Class::Statement => {
                match self.isolate(checkpoint, Failure::of(&error, &self.compiled)).await? {
                    None => Ok(Step::Again),
                    Some(failure) if class == Class::Statement && self.may_park(&failure) => {
                        self.park(checkpoint, &failure).await
                    }
                    Some(failure) if has(Bug::ErrorSkipped) => {
                        let to = self.fence(checkpoint).park(&failure).await?;
                        sqlx::query("delete from projectord.parked").execute(&self.pool).await?;
                        Ok(Step::Moved { to, head: to.next() })
                    }
                    Some(failure) => Ok(Step::Failed(failure)),
                }
            }
        }
    }

    async fn park(&self, checkpoint: Position, failure: &Failure) -> Result<Step, sqlx::Error> {
        warn!(reason = %failure.for_log(), "parked the event, and what follows in its stream");
        fault::point("park-before");
        let to = self.fence(checkpoint).park(failure).await?;
        fault::point("park-after");
        Ok(Step::Moved { to, head: to.next() })
    }

    /// Applies an event that was parked.
    pub(super) async fn retry(
        &self,
        checkpoint: Position,
        position: Position,
        stream: uuid::Uuid,
    ) -> Result<(), HandlerError> {
        match &self.handlers {
            Handlers::Sql => Ok(self.fence(checkpoint).retry(position, stream).await?),
            Handlers::Code(code) => self.retry_code(code, checkpoint, position, stream).await,
            Handlers::Gone => Err(HandlerError::Refused(GONE.into())),
        }
    }

    /// From here on only this owner, in this epoch, moves the checkpoint; where it stands.
    pub(super) async fn claim(&self) -> Result<Position, sqlx::Error> {
        let claim = sqlx::query_as("select projectord.claim($1, $2, $3, $4)")
            .bind(&self.projection)
            .bind(self.generation)
            .bind(self.lease.owner)
            .bind(self.lease.epoch)
            .fetch_one(&self.pool);
        let (checkpoint,): (i64,) = bounded(claim).await?;
        Ok(Position::from_sql(checkpoint))
    }

    pub(super) fn fence(&self, checkpoint: Position) -> Fence<'_> {
        Fence {
            pool: &self.pool,
            projection: &self.projection,
            generation: self.generation,
            share: self.share,
            checkpoint,
            lease: self.lease,
        }
    }

    /// One batch. The rows and the checkpoint are committed together or not at all.
    async fn apply(
        &self,
        after: Position,
        last: Option<Position>,
    ) -> Result<(Position, Position), HandlerError> {
        let room = last.map_or(u64::MAX, |last| last.0.saturating_sub(after.0));
        let limit = i64::try_from(self.batch.get().min(room)).unwrap_or(i64::MAX);
        match &self.handlers {
            Handlers::Sql => Ok(self.apply_sql(after, limit).await?),
            Handlers::Gone => Err(HandlerError::Refused(GONE.into())),
            Handlers::Code(code) => {
                let patience = self.config.batch_timeout + Duration::from_secs(10);
                match tokio::time::timeout(patience, self.apply_code(code, after, limit)).await {
                    Ok(done) => done,
                    Err(_) => {
                        Err(sqlx::Error::Protocol(format!("a batch has not ended within {patience:?}"))
                            .into())
                    }
                }
            }
        }
    }

    /// By handlers in the database: one statement.
    async fn apply_sql(&self, after: Position, limit: i64) -> Result<(Position, Position), sqlx::Error> {
        let mut session = self.sessions.take((&self.projection, self.generation)).await?;
        let apply = if has(Bug::CheckpointAfter) || has(Bug::CheckpointBefore) {
            "call projectord.torn_apply($1, $2, $3, $4, $5, $6, null, null)"
        } else {
            "select new_checkpoint, head from projectord.apply($1, $2, $3, $4, $5, $6, $7)"
        };
        let mut query = sqlx::query_as(apply)
            .bind(&self.projection)
            .bind(self.generation)
            .bind(after.to_sql())
            .bind(limit)
            .bind(self.lease.owner)
            .bind(self.lease.epoch);
        if apply.contains("$7") {
            query = query.bind(self.share);
        }
        let query = query.fetch_one(&mut *session);
        // The server cancels a batch that takes too long; this is for a server that does not answer.
        let patience = self.config.batch_timeout + Duration::from_secs(10);
        fault::point("batch-before");
        let answered = tokio::select! {
            done = query => Some(done),
            () = self.batch_is_lost(after) => None,
            () = tokio::time::sleep(patience) => None,
        };
        match answered {
            Some(done) => {
                match &done {
                    Ok(_) => self.sessions.keep(session, (&self.projection, self.generation)),
                    Err(error) if classify(error) == Class::Away => session.close_on_drop(),
                    Err(_) => {}
                }
                fault::point("batch-after");
                let (reached, head): (i64, i64) = done?;
                Ok((Position::from_sql(reached), Position::from_sql(head)))
            }
            None => {
                drop(session.detach());
                Err(sqlx::Error::Protocol("no answer from PostgreSQL, and no batch under way there".into()))
            }
        }
    }

    /// Ends when a batch that has been sent is not under way: its answer, or the batch itself, was lost with
    /// the connection. A batch under way has its checkpoint's row locked; asked for by a session of its own.
    async fn batch_is_lost(&self, after: Position) {
        loop {
            tokio::time::sleep(LOOK_FOR_BATCH).await;
            let look = async {
                let mut session = self.pool.connect_options().connect().await?;
                let sql = match self.share {
                    None => {
                        "select checkpoint from projectord.generations
                          where projection = $1 and generation = $2 and $3::integer is null for update skip locked"
                    }
                    Some(_) => {
                        "select checkpoint from projectord.shares
                          where projection = $1 and generation = $2 and share = $3 for update skip locked"
                    }
                };
                sqlx::query_as::<_, (i64,)>(sql)
                    .bind(&self.projection)
                    .bind(self.generation)
                    .bind(self.share)
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
        mut failure: Failure,
    ) -> Result<Option<Failure>, sqlx::Error> {
        // Of the checkpoint, or of the handlers as a whole, and not of one event.
        let whole = matches!(failure.sqlstate.as_deref(), Some("PJ002" | "PJ007"));
        if whole || matches!(self.handlers, Handlers::Gone) {
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
        let (name, position) = (&self.projection, checkpoint.next());
        let again = if self.may_park(&failure) { "retry" } else { "resume" };
        failure.hint.get_or_insert(format!(
            "correct the handler and reload it (SIGHUP); or repair the cause and: projectord {again} {name}; \
             or leave the event out: projectord skip {name} {position}"
        ));
        Ok(Some(failure))
    }

    /// Whether parking can help.
    fn may_park(&self, failure: &Failure) -> bool {
        self.on_error == OnError::Park && failure.event.is_some() && failure.is_of_the_event()
    }
}
