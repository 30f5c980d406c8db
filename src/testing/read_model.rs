//! A read model of its own, made of given events, in a transaction that is rolled back.

use std::collections::BTreeMap;

use serde_json::Value;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Postgres, Transaction};
use uuid::Uuid;

use super::TestError;
use super::given::Given;
use super::table::{Table, quoted};
use crate::event::Position;
use crate::log::LogEvent;
use crate::postgres::{Class, classify};
use crate::projection::{Code, Compiled, Definition, HandlerError, OnError, compile_over};
use crate::projector::{FailedEvent, Failure, Wrong, check_sql, create_over, execute};

/// The events, in the place of the log.
const EVENTS: &str = "pg_temp.projectord_given";

/// A read model under test. Nothing of it is ever committed; dropping it is enough.
///
/// Between two batches it forgets what a projector's session would not carry over: settings, and tables that a
/// handler made in `pg_temp`. All batches share one transaction, and with it `now()` and the transaction's number.
#[derive(Debug)]
pub struct ReadModel<'c> {
    tx: Transaction<'c, Postgres>,
    schema: String,
    events: Vec<LogEvent>,
    compiled: Compiled,
    /// Of a projection in Rust: what runs, and on which types.
    code: Option<(Code, Vec<String>)>,
    on_error: OnError,
    applied: Applied,
}

/// Why a batch failed, and whether that can be one event's fault.
struct Failed {
    failure: Failure,
    is_of_the_event: bool,
}

/// How far a read model has come, and what failed on the way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// How many events, also those that no handler is for and those that were parked.
    pub events: usize,
    /// What failed, in order. With `on_error = "halt"` that is the end.
    pub failures: Vec<Failure>,
    /// Whether a failure ended it: nothing after that is applied.
    pub halted: bool,
    /// The streams that are set aside.
    pub parked: Vec<Uuid>,
}

impl<'c> ReadModel<'c> {
    /// Makes it, without a row of an event's.
    ///
    /// # Errors
    /// When PostgreSQL refuses the projection's SQL, or cannot be reached.
    pub async fn new(
        connection: &'c mut PgConnection,
        projection: &Definition,
        given: &Given,
    ) -> Result<ReadModel<'c>, TestError> {
        let mut tx = connection.begin().await?;
        execute(&mut tx, "savepoint projectord_begun".into()).await?;
        let schema = match create(&mut tx, projection, given).await {
            Ok(schema) => schema,
            Err(wrong) => return Err(refused(&mut tx, projection, wrong).await?),
        };
        let mut model = Self {
            tx,
            schema,
            events: given.events().to_vec(),
            compiled: compile_over(projection, EVENTS),
            code: projection.code.clone().map(|code| (code, projection.handles())),
            on_error: projection.on_error,
            applied: Applied::default(),
        };
        execute(&mut model.tx, "savepoint projectord_made".into()).await?;
        model.end_batch().await?;
        Ok(model)
    }

    /// How far it has come.
    pub fn applied(&self) -> &Applied {
        &self.applied
    }

    /// Applies all events, as one batch where that succeeds.
    ///
    /// # Errors
    /// When PostgreSQL cannot be reached. A handler that fails is no error: see [`applied`](Self::applied).
    pub async fn apply_all(&mut self) -> Result<(), TestError> {
        self.apply(self.events.len(), usize::MAX).await
    }

    /// Applies the events up to the `to`th, in batches of `batch`. Where a batch would not begin there if it had
    /// been that size from the start, it starts over.
    ///
    /// # Errors
    /// When PostgreSQL cannot be reached. A handler that fails is no error: see [`applied`](Self::applied).
    pub async fn apply(&mut self, to: usize, batch: usize) -> Result<(), TestError> {
        let (to, batch) = (to.min(self.events.len()), batch.max(1));
        if to < self.applied.events || (!self.applied.halted && !self.applied.events.is_multiple_of(batch)) {
            execute(&mut self.tx, "rollback to savepoint projectord_made".into()).await?;
            self.applied = Applied::default();
            self.end_batch().await?;
        }
        while self.applied.events < to && !self.applied.halted {
            let end = self.applied.events.saturating_add(batch).min(to);
            if let Some(error) = self.batch(end).await? {
                self.find_failing(end, error).await?;
            }
        }
        Ok(())
    }

    /// The rows that a query gives, as JSON objects. Names are looked for in the read model.
    ///
    /// # Errors
    /// When PostgreSQL refuses the query, or cannot be reached.
    pub async fn rows(&mut self, query: &str) -> Result<Vec<Value>, TestError> {
        let query = query.trim().trim_end_matches(';');
        let sql = AssertSqlSafe(format!("select to_jsonb(q) from (\n{query}\n) q"));
        let mut inner = self.tx.begin().await?;
        let rows: Vec<(Value,)> = sqlx::query_as(sql).persistent(false).fetch_all(&mut *inner).await?;
        inner.rollback().await?;
        Ok(rows.into_iter().map(|(row,)| row).collect())
    }

    /// Removes it, as dropping it does in the end.
    ///
    /// # Errors
    /// When PostgreSQL cannot be reached any more; then it is gone as well.
    pub async fn remove(self) -> Result<(), TestError> {
        Ok(self.tx.rollback().await?)
    }

    /// All rows of all tables, in an order of their own.
    pub(super) async fn tables(&mut self) -> Result<BTreeMap<String, Table>, sqlx::Error> {
        Table::all(&mut self.tx, &self.schema).await
    }

    pub(super) fn transaction(&mut self) -> &mut Transaction<'c, Postgres> {
        &mut self.tx
    }

    pub(super) fn schema(&self) -> &str {
        &self.schema
    }

    /// One batch, up to the `end`th event. Where it fails nothing of it stays.
    async fn batch(&mut self, end: usize) -> Result<Option<Failed>, sqlx::Error> {
        let done = match self.code.clone() {
            None => self.batch_of_sql(end).await,
            Some((code, handles)) => self.batch_of_code(&code, &handles, end).await,
        };
        let failed = match done {
            Ok(()) => {
                self.applied.events = end;
                self.end_batch().await?;
                return Ok(None);
            }
            Err(HandlerError::Postgres(error)) if classify(&error) == Class::Away => return Err(error),
            Err(HandlerError::Postgres(error)) => {
                let failure = Failure::of(&error, &self.compiled);
                Failed { is_of_the_event: failure.is_of_the_event(), failure }
            }
            Err(HandlerError::Refused(message)) => {
                Failed { is_of_the_event: true, failure: Failure { message, ..Failure::default() } }
            }
        };
        execute(&mut self.tx, "rollback to savepoint projectord_batch".into()).await?;
        Ok(Some(failed))
    }

    async fn batch_of_sql(&mut self, end: usize) -> Result<(), HandlerError> {
        let apply = format!("select {}.projectord_apply($1, $2, $3, null, null, null)", quoted(&self.schema));
        sqlx::query(AssertSqlSafe(apply))
            .persistent(false)
            .bind(i64::try_from(self.applied.events).unwrap_or(i64::MAX))
            .bind(i64::try_from(end).unwrap_or(i64::MAX))
            .bind(&self.applied.parked)
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    async fn batch_of_code(
        &mut self,
        code: &Code,
        handles: &[String],
        end: usize,
    ) -> Result<(), HandlerError> {
        let (data, upcast) = self.compiled.read_by_code(&quoted(&self.schema));
        let sql = format!(
            "select e.position, e.stream_id, e.stream_type, e.version, e.type, {data}, e.commit_id, e.recorded_at
               from {EVENTS} e{upcast}
              where e.position > $1 and e.position <= $2 and e.type like any($3) and e.stream_id <> all($4)
              order by e.position"
        );
        let events: Vec<LogEvent> = sqlx::query_as(AssertSqlSafe(sql))
            .persistent(false)
            .bind(i64::try_from(self.applied.events).unwrap_or(i64::MAX))
            .bind(i64::try_from(end).unwrap_or(i64::MAX))
            .bind(handles)
            .bind(&self.applied.parked)
            .fetch_all(&mut *self.tx)
            .await?;
        if events.is_empty() {
            return Ok(());
        }
        code.0.apply(&events, &mut self.tx).await
    }

    /// A batch up to `end` failed: applies what comes before the event that fails, and halts or parks there.
    async fn find_failing(&mut self, end: usize, mut failed: Failed) -> Result<(), sqlx::Error> {
        let first = self.applied.events + 1;
        while self.applied.events < end {
            let next = self.applied.events + 1;
            if end > first {
                match self.batch(next).await? {
                    None => continue,
                    Some(alone) => failed = alone,
                }
            }
            self.fail_at(next, failed);
            return Ok(());
        }
        let mut failure = failed.failure;
        failure.message =
            format!("events {first} to {end} fail in one batch, and not one at a time: {}", failure.message);
        self.applied.failures.push(failure);
        self.applied.halted = true;
        Ok(())
    }

    /// The `nth` event cannot be applied.
    fn fail_at(&mut self, nth: usize, failed: Failed) {
        let event = &self.events[nth - 1];
        let Failed { mut failure, is_of_the_event } = failed;
        failure.event = Some(FailedEvent {
            position: Position(nth as u64),
            event_type: event.event_type.clone(),
            stream_id: event.stream_id,
            version: event.version,
        });
        if self.on_error == OnError::Park && is_of_the_event {
            self.applied.parked.push(event.stream_id);
            self.applied.events = nth;
        } else {
            self.applied.halted = true;
        }
        self.applied.failures.push(failure);
    }

    /// Puts the session back to what a batch begins with.
    async fn end_batch(&mut self) -> Result<(), sqlx::Error> {
        let sql = format!(
            "reset all; discard sequences;
             set local search_path = {}, pg_temp;
             do $$ declare it record; begin
                 for it in select c.relname, case c.relkind when 'v' then 'view' when 'S' then 'sequence' else 'table' end kind
                             from pg_catalog.pg_class c
                            where c.relnamespace = pg_my_temp_schema() and c.relkind in ('r', 'p', 'v', 'S')
                              and c.relname <> 'projectord_given'
                 loop
                     execute format('drop %s if exists pg_temp.%I cascade', it.kind, it.relname);
                 end loop;
             end $$;
             savepoint projectord_batch",
            quoted(&self.schema)
        );
        execute(&mut self.tx, sql).await
    }
}

/// Why the read model could not be made: where PostgreSQL refuses the files, what it refuses of them.
async fn refused(
    tx: &mut Transaction<'_, Postgres>,
    projection: &Definition,
    wrong: Wrong,
) -> Result<TestError, sqlx::Error> {
    let error = match wrong {
        Wrong::Other(error) => return Err(error),
        Wrong::Schema(error) | Wrong::Handler(error, ..) | Wrong::Handlers(error) => error,
    };
    if classify(&error) == Class::Away {
        return Err(error);
    }
    execute(tx, "rollback to savepoint projectord_begun".into()).await?;
    let problems = check_sql(&mut *tx, projection, None).await?.problems;
    if problems.is_empty() { Err(error) } else { Ok(TestError::Projection(problems)) }
}

/// Makes events, schema, tables and function; the schema's name.
async fn create(
    tx: &mut Transaction<'_, Postgres>,
    projection: &Definition,
    given: &Given,
) -> Result<String, Wrong> {
    let events = format!(
        "create temporary table projectord_given (
             position     bigint primary key,
             stream_id    uuid not null,
             stream_type  text not null,
             version      bigint not null,
             type         text not null,
             data         jsonb not null,
             metadata     jsonb not null,
             commit_id    uuid not null,
             recorded_at  timestamptz not null,
             digest       bigint not null default 0
         ) on commit drop;
         grant select on {EVENTS} to public"
    );
    execute(tx, events).await.map_err(Wrong::Other)?;
    sqlx::query(AssertSqlSafe(format!(
        "insert into {EVENTS}
         select position, stream_id, stream_type, version, type, coalesce(data, 'null'), coalesce(metadata, 'null'),
                commit_id, recorded_at
           from jsonb_to_recordset($1) as (position bigint, stream_id uuid, stream_type text, version bigint,
                type text, data jsonb, metadata jsonb, commit_id uuid, recorded_at timestamptz)"
    )))
    .persistent(false)
    .bind(Json(given.events()))
    .execute(&mut **tx)
    .await
    .map_err(Wrong::Other)?;
    let (pid,): (i32,) =
        sqlx::query_as("select pg_backend_pid()").fetch_one(&mut **tx).await.map_err(Wrong::Other)?;
    let schema = format!("{}@test{pid}", projection.name);
    create_over(tx, projection, &schema, compile_over(projection, EVENTS)).await?;
    Ok(schema)
}
