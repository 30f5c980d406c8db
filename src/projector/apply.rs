//! A batch: sent, looked for where its answer is lost, made smaller where an event in it fails.

use std::time::Duration;

use sqlx::ConnectOptions;
use tracing::{info, warn};

use super::Failure;
use super::failure::FailedEvent;
use super::parked::Fence;
use super::run::{Projector, Turn};
use crate::event::Position;
use crate::fault;
use crate::postgres::{Class, bounded, classify};
use crate::projection::OnError;
use crate::sabotage::{Bug, has};

/// How long a batch may be without an answer before it is looked for.
const LOOK_FOR_BATCH: Duration = Duration::from_secs(4);

impl Projector {
    /// One batch, in one statement. The rows and the checkpoint are committed together or not at all.
    pub(super) async fn apply(
        &self,
        generation: i64,
        after: Position,
    ) -> Result<(Position, Position), sqlx::Error> {
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
    pub(super) async fn isolate(
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
    pub(super) fn may_park(&self, failure: &Failure) -> bool {
        let code = failure.sqlstate.as_deref().unwrap_or("");
        self.projection.on_error == OnError::Park
            && failure.event.is_some()
            && ["21", "22", "23", "P0", "57014"].iter().any(|class| code.starts_with(class))
    }

    pub(super) fn fence(&self, generation: i64, checkpoint: Position) -> Fence<'_> {
        let projection = self.projection.name.as_str();
        Fence { pool: &self.pool, projection, generation, checkpoint, lease: self.lease }
    }

    /// Applies parked events that somebody asked for, each in a transaction of its own, until one fails.
    pub(super) async fn retry_parked(
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
}
