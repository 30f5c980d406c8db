//! A batch whose handlers are written in Rust: begun and ended by the database, which checks the same things as
//! for SQL handlers, and commits rows and checkpoint together.

use sqlx::{AssertSqlSafe, FromRow, PgConnection, Postgres, Transaction};
use uuid::Uuid;

use super::apply::Applier;
use super::build::{execute, handler_role, quoted};
use crate::event::Position;
use crate::fault;
use crate::log::LogEvent;
use crate::projection::{Code, HandlerError};

/// An event of a batch, with what it adds to the checkpoint's digest.
#[derive(Debug, FromRow)]
struct Digested {
    #[sqlx(flatten)]
    event: LogEvent,
    digest: i64,
}

/// A batch that the database has begun.
#[derive(Debug, FromRow)]
struct Begun {
    new_checkpoint: i64,
    head: i64,
    schema_name: String,
    transaction: String,
}

impl Applier {
    /// One batch, in one transaction.
    pub(super) async fn apply_code(
        &self,
        code: &Code,
        after: Position,
        limit: i64,
    ) -> Result<(Position, Position), HandlerError> {
        let mut tx = self.pool.begin().await?;
        let begun = self.begin(&mut tx, after, limit).await?;
        let (to, head) = (Position::from_sql(begun.new_checkpoint), Position::from_sql(begun.head));
        if to > after {
            self.run(&mut tx, code, &begun, after, (after, to)).await?;
            fault::point("batch-before");
            tx.commit().await?;
            fault::point("batch-after");
        }
        Ok((to, head))
    }

    /// One event that was parked; the request stays with what is left of its stream.
    pub(super) async fn retry_code(
        &self,
        code: &Code,
        checkpoint: Position,
        position: Position,
        stream: Uuid,
    ) -> Result<(), HandlerError> {
        let mut tx = self.pool.begin().await?;
        let begun = self.begin(&mut tx, checkpoint, 0).await?;
        let (first,): (bool,) = sqlx::query_as("select projectord.unpark($1, $2, $3)")
            .bind(&self.projection)
            .bind(self.generation)
            .bind(position.to_sql())
            .fetch_one(&mut *tx)
            .await?;
        if first {
            let only = (Position(position.0 - 1), position);
            self.run(&mut tx, code, &begun, checkpoint, only).await?;
            self.fence(checkpoint).mark(stream, true).execute(&mut *tx).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    async fn begin(
        &self,
        tx: &mut Transaction<'_, Postgres>,
        after: Position,
        limit: i64,
    ) -> Result<Begun, sqlx::Error> {
        let mut begun: Begun = sqlx::query_as(
            "select new_checkpoint, head, schema_name, transaction
               from projectord.begin_batch($1, $2, $3, $4, $5, $6)",
        )
        .bind(&self.projection)
        .bind(self.generation)
        .bind(after.to_sql())
        .bind(limit)
        .bind(self.lease.owner)
        .bind(self.lease.epoch)
        .fetch_one(&mut **tx)
        .await?;
        begun.new_checkpoint = begun.new_checkpoint.max(after.to_sql());
        Ok(begun)
    }

    /// Runs the handlers on a range, as the role that the read model belongs to, with nothing else on the path;
    /// the checkpoint is then what the batch was begun for.
    async fn run(
        &self,
        tx: &mut Transaction<'_, Postgres>,
        code: &Code,
        begun: &Begun,
        checkpoint: Position,
        (after, to): (Position, Position),
    ) -> Result<(), HandlerError> {
        let schema = quoted(&begun.schema_name);
        let (data, upcast) = self.compiled.read_by_code(&schema);
        let events = format!(
            "select e.position, e.stream_id, e.stream_type, e.version, e.type, {data}, e.commit_id, e.recorded_at, e.digest
               from projectord.batch_events($1, $2, $3, $4) e{upcast}
              order by e.position"
        );
        // Upcasters find what handlers find, and no more.
        execute(tx, format!("set local search_path = {schema}, pg_temp")).await?;
        let batch: Vec<Digested> = sqlx::query_as(AssertSqlSafe(events))
            .bind(&self.projection)
            .bind(self.generation)
            .bind(after.to_sql())
            .bind(to.to_sql())
            .fetch_all(&mut **tx)
            .await?;
        let (events, digests): (Vec<LogEvent>, Vec<i64>) =
            batch.into_iter().map(|it| (it.event, it.digest)).unzip();
        if let Some(role) = handler_role(tx, &self.projection).await? {
            execute(tx, format!("set local role {role}")).await?;
        }
        let connection: &mut PgConnection = tx;
        if !events.is_empty() {
            code.0.apply(&events, connection).await?;
        }
        execute(tx, "set local search_path = default; set local role none".into()).await?;
        // Modulo 2^62, as the database adds them up.
        let digest = digests.iter().fold(0_i64, |sum, one| (sum + one) & ((1 << 62) - 1));
        let end = "select projectord.end_batch($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        sqlx::query(AssertSqlSafe(end))
            .bind(&self.projection)
            .bind(self.generation)
            .bind(checkpoint.to_sql())
            .bind(begun.new_checkpoint)
            .bind(self.lease.owner)
            .bind(self.lease.epoch)
            .bind(i64::try_from(events.len()).unwrap_or(i64::MAX))
            .bind(digest)
            .bind(&begun.transaction)
            .execute(&mut **tx)
            .await?;
        Ok(())
    }
}
