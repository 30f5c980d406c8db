//! Read your own writes: waiting until a read model has what was appended.

use std::time::Duration;

use sqlx::PgPool;
use thiserror::Error;

use super::PostgresStore;
use crate::event::{StreamId, Version};
use crate::postgres::{Options, describe, interval, sqlstate, why};

/// How long the database may take to say that the time is over.
const GRACE: Duration = Duration::from_secs(5);

/// The read models, for a writer that wants to see in them what it has appended; wherever its events are.
#[derive(Debug, Clone)]
pub struct ReadModels {
    pool: PgPool,
}

/// Why a read model does not have it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WaitError {
    /// Not within the time, with where it is.
    #[error("{0}")]
    NotYet(String),
    /// The event, or an earlier one of its stream, was set aside because its handler failed.
    #[error("{0}")]
    Parked(String),
    /// PostgreSQL did not answer as it should.
    #[error("cannot ask: {0}")]
    Unavailable(String),
}

impl ReadModels {
    /// Those of a database. It connects when it is first used.
    pub fn new(options: &Options, connections: u32) -> Self {
        Self { pool: options.pool(connections) }
    }

    /// Waits until `projection` has applied this version of this stream. Each waiting call has a connection of its
    /// own; `projectord.wait_for` does the same in SQL.
    ///
    /// # Errors
    /// When it has not within `timeout`, or has set it aside.
    pub async fn wait_for(
        &self,
        projection: &str,
        stream: StreamId,
        version: Version,
        timeout: Duration,
    ) -> Result<(), WaitError> {
        wait_for(&self.pool, projection, stream, version, timeout).await
    }
}

impl PostgresStore {
    /// See [`ReadModels::wait_for`].
    ///
    /// # Errors
    /// When it has not within `timeout`, or has set it aside.
    pub async fn wait_for(
        &self,
        projection: &str,
        stream: StreamId,
        version: Version,
        timeout: Duration,
    ) -> Result<(), WaitError> {
        wait_for(self.pool(), projection, stream, version, timeout).await
    }
}

async fn wait_for(
    pool: &PgPool,
    projection: &str,
    stream: StreamId,
    version: Version,
    timeout: Duration,
) -> Result<(), WaitError> {
    let asked = sqlx::query("select projectord.wait_for($1, $2, $3, $4)")
        .bind(projection)
        .bind(stream.0)
        .bind(version.to_sql())
        .bind(interval(timeout))
        .execute(pool);
    let error = match tokio::time::timeout(timeout.saturating_add(GRACE), asked).await {
        Ok(Ok(_)) => return Ok(()),
        Ok(Err(error)) => error,
        Err(_) => return Err(WaitError::Unavailable("no answer from PostgreSQL".into())),
    };
    let message = error.as_database_error().map(|it| it.message().to_owned());
    Err(match (sqlstate(&error).as_deref(), message) {
        (Some("PJ010"), Some(message)) => WaitError::NotYet(message),
        (Some("PJ013"), Some(message)) => WaitError::Parked(message),
        _ => WaitError::Unavailable(describe(&why(pool, error).await)),
    })
}
