//! The store where no RethinkDB is configured: writers append to the PostgreSQL log itself.
//!
//! An append is one call of `projectord.append_to_stream`, which holds the log head's row lock until
//! its commit is flushed. That makes positions dense and in commit order, and limits the rate to one
//! flush at a time; for more, put the events on RethinkDB.

use std::num::NonZeroU32;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::types::Json;
use sqlx::{FromRow, PgExecutor, PgPool};
use uuid::Uuid;

use super::append::{Backend, Failure, Outcome};
use super::{EventStream, LoadError, Settings};
use crate::event::{Commit, Event, StreamId, Version, canonical};
use crate::postgres::{Class, MigrateError, Options, classify, describe, migrate, why};

/// The event store on the PostgreSQL log.
#[derive(Debug, Clone)]
pub struct PostgresStore {
    pool: PgPool,
    settings: Settings,
}

impl PostgresStore {
    /// A store that connects when it is first used.
    pub fn new(options: &Options, settings: Settings) -> Self {
        let connections = u32::try_from(settings.connections).unwrap_or(u32::MAX);
        Self { pool: options.pool(connections), settings }
    }

    /// Creates or updates the tables. Safe to repeat.
    ///
    /// # Errors
    /// When PostgreSQL cannot be reached or refuses.
    pub async fn setup(&self) -> Result<(), MigrateError> {
        migrate(&self.pool).await
    }

    pub(super) fn pool(&self) -> &PgPool {
        &self.pool
    }

    async fn failed(&self, error: sqlx::Error) -> Failure {
        let error = why(&self.pool, error).await;
        let retry = matches!(classify(&error), Class::Away | Class::Again);
        Failure { reason: describe(&error), retry }
    }

    /// Appends commits, in this order, in one transaction: all of them, or nothing where one of them
    /// finds something else at its place.
    #[cfg(feature = "daemon")]
    pub(crate) async fn append_together(
        &self,
        appends: &[(StreamId, Version, &Commit)],
    ) -> Result<bool, sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        for (stream, at, commit) in appends {
            match call(&mut *tx, *stream, *at, commit).await {
                Ok(Outcome::Appended) => {}
                // Also where it was there or failed: one by one, it is seen which.
                Ok(_) | Err(_) => return Ok(false),
            }
        }
        tx.commit().await?;
        Ok(true)
    }
}

#[async_trait]
impl Backend for PostgresStore {
    fn settings(&self) -> &Settings {
        &self.settings
    }

    async fn try_append(&self, stream: StreamId, at: Version, commit: &Commit) -> Result<Outcome, Failure> {
        match call(&self.pool, stream, at, commit).await {
            Ok(outcome) => Ok(outcome),
            Err(error) => Err(self.failed(error).await),
        }
    }

    async fn head(&self, stream: StreamId) -> Result<Version, Failure> {
        let asked: Result<(Option<i64>,), _> =
            sqlx::query_as("select max(version) from projectord.events where stream_id = $1")
                .bind(stream.0)
                .fetch_one(&self.pool)
                .await;
        match asked {
            Ok((version,)) => Ok(Version::from_sql(version.unwrap_or(0))),
            Err(error) => Err(self.failed(error).await),
        }
    }

    async fn try_load(
        &self,
        stream: StreamId,
        from: Version,
        most: Option<NonZeroU32>,
    ) -> Result<Result<EventStream, LoadError>, Failure> {
        let asked: Result<Vec<Row>, _> = sqlx::query_as(
            "select stream_id, stream_type, version, type, data, metadata, commit_id, recorded_at
               from projectord.events where stream_id = $1 and version >= $2 order by version limit $3",
        )
        .bind(stream.0)
        .bind(from.to_sql())
        .bind(most.map(|most| i64::from(most.get())))
        .fetch_all(&self.pool)
        .await;
        let rows = match asked {
            Ok(rows) => rows,
            Err(error) => return Err(self.failed(error).await),
        };
        let events: Vec<Event> = rows.into_iter().map(Event::from).collect();
        let is_full = most.is_some_and(|most| events.len() == most.get() as usize);
        let version = match events.last() {
            Some(last) if !is_full => last.version,
            _ => self.head(stream).await?,
        };
        if version == Version::ZERO {
            return Ok(Err(LoadError::NotFound(stream)));
        }
        Ok(Ok(EventStream { events, version }))
    }
}

/// One append, wherever it runs: by itself, or in a transaction.
async fn call(
    executor: impl PgExecutor<'_>,
    stream: StreamId,
    at: Version,
    commit: &Commit,
) -> Result<Outcome, sqlx::Error> {
    let types: Vec<&str> = commit.events.iter().map(|event| event.event_type.as_str()).collect();
    let data: Vec<Json<&Value>> = commit.events.iter().map(|event| Json(&event.data)).collect();
    let metadata: Vec<Json<&Value>> = commit.events.iter().map(|event| Json(&event.metadata)).collect();
    let (outcome, actual, actual_type): (String, i64, Option<String>) =
        sqlx::query_as("select * from projectord.append_to_stream($1, $2, $3, $4, $5, $6, $7)")
            .bind(stream.0)
            .bind(&commit.stream_type)
            .bind(at.to_sql())
            .bind(commit.id.0)
            .bind(types)
            .bind(data)
            .bind(metadata)
            .fetch_one(executor)
            .await?;
    Ok(match outcome.as_str() {
        "appended" => Outcome::Appended,
        "repeated" => Outcome::Repeated,
        "other_type" => Outcome::OtherType { actual: actual_type.unwrap_or_default() },
        _ => Outcome::Occupied { actual: Version::from_sql(actual) },
    })
}

#[derive(FromRow)]
struct Row {
    stream_id: Uuid,
    stream_type: String,
    version: i64,
    #[sqlx(rename = "type")]
    event_type: String,
    data: Value,
    metadata: Value,
    commit_id: Uuid,
    recorded_at: DateTime<Utc>,
}

impl From<Row> for Event {
    fn from(mut row: Row) -> Self {
        canonical(&mut row.data);
        canonical(&mut row.metadata);
        Self {
            stream_id: row.stream_id.into(),
            stream_type: row.stream_type,
            version: Version::from_sql(row.version),
            event_type: row.event_type,
            data: row.data,
            metadata: row.metadata,
            commit_id: row.commit_id.into(),
            recorded_at: row.recorded_at,
        }
    }
}
