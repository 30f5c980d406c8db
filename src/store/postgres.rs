//! The store where no RethinkDB is configured: writers append to the PostgreSQL log itself.
//!
//! An append is one call of `projectord.append_to_stream`, which holds the log head's row lock until
//! its commit is flushed. That makes positions dense and in commit order, and there is one flush at a time:
//! those that wait for it share the next.

use std::num::NonZeroU32;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::types::Json;
use sqlx::{FromRow, PgExecutor, PgPool};
use uuid::Uuid;

use super::append::{Backend, Failure, Outcome};
use super::group::{Append, Group};
use super::{EventStream, LoadError, Settings};
use crate::event::{Commit, Event, StreamId, Version, canonical};
use crate::postgres::{Class, MigrateError, Options, bounded, classify, describe, migrate, why};

/// The event store on the PostgreSQL log.
#[derive(Debug, Clone)]
pub struct PostgresStore {
    pool: PgPool,
    settings: Settings,
    group: Arc<Group>,
}

impl PostgresStore {
    /// A store that connects when it is first used.
    pub fn new(options: &Options, settings: Settings) -> Self {
        let connections = u32::try_from(settings.connections).unwrap_or(u32::MAX);
        Self { pool: options.pool(connections), settings, group: Arc::new(Group::of(1)) }
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

    /// Appends each in one transaction, and answers each. Where they fail together, one by one, so that what is wrong
    /// with one is said of that one only.
    async fn append_each(&self, appends: Vec<Append>) {
        let failed = match bounded(call_many(&self.pool, &appends)).await {
            Ok(outcomes) if outcomes.len() == appends.len() => {
                appends.into_iter().zip(outcomes).for_each(|(append, outcome)| append.answer(Ok(outcome)));
                return;
            }
            Ok(outcomes) => {
                let reason = format!("{} answers to {} appends", outcomes.len(), appends.len());
                Failure { reason, retry: true }
            }
            Err(error) => self.failed(error).await,
        };
        if failed.retry || appends.len() == 1 {
            appends.into_iter().for_each(|append| append.answer(Err(failed.clone())));
            return;
        }
        for append in appends {
            let found = match bounded(call(&self.pool, append.stream, append.at, &append.commit)).await {
                Ok(outcome) => Ok(outcome),
                Err(error) => Err(self.failed(error).await),
            };
            append.answer(found);
        }
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
        let store = self.clone();
        let together = move |appends| {
            let store = store.clone();
            async move { store.append_each(appends).await }
        };
        self.group.append(stream, at, commit.clone(), together).await
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

/// Several appends in one statement; what came of each, in this order.
async fn call_many(pool: &PgPool, appends: &[Append]) -> Result<Vec<Outcome>, sqlx::Error> {
    if let [append] = appends {
        return Ok(vec![call(pool, append.stream, append.at, &append.commit).await?]);
    }
    let events = || appends.iter().flat_map(|append| &append.commit.events);
    let ends = appends.iter().scan(0_i32, |end, append| {
        *end = end.saturating_add(i32::try_from(append.commit.events.len()).unwrap_or(i32::MAX));
        Some(*end)
    });
    let found: Vec<Found> =
        sqlx::query_as("select * from projectord.append_to_streams($1, $2, $3, $4, $5, $6, $7, $8)")
            .bind(appends.iter().map(|append| append.stream.0).collect::<Vec<_>>())
            .bind(appends.iter().map(|append| append.commit.stream_type.as_str()).collect::<Vec<_>>())
            .bind(appends.iter().map(|append| append.at.to_sql()).collect::<Vec<_>>())
            .bind(appends.iter().map(|append| append.commit.id.0).collect::<Vec<_>>())
            .bind(ends.collect::<Vec<_>>())
            .bind(events().map(|event| event.event_type.as_str()).collect::<Vec<_>>())
            .bind(events().map(|event| Json(&event.data)).collect::<Vec<_>>())
            .bind(events().map(|event| Json(&event.metadata)).collect::<Vec<_>>())
            .fetch_all(pool)
            .await?;
    Ok(found.into_iter().map(outcome).collect())
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
    let found: Found =
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
    Ok(outcome(found))
}

/// What `append_to_stream` gives: the outcome, the stream's version before, its type.
type Found = (String, i64, Option<String>);

fn outcome((outcome, actual, actual_type): Found) -> Outcome {
    match outcome.as_str() {
        "appended" => Outcome::Appended,
        "repeated" => Outcome::Repeated,
        "other_type" => Outcome::OtherType { actual: actual_type.unwrap_or_default() },
        _ => Outcome::Occupied { actual: Version::from_sql(actual) },
    }
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
