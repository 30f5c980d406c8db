//! Adding batches to the log: only ingest does, and only here.

use sqlx::Postgres;
use sqlx::pool::PoolConnection;
use thiserror::Error;
use tracing::Instrument;

use super::{Batch, Log};
use crate::event::Position;
use crate::postgres::{bounded, describe};
use crate::spans;

/// From how many events on a batch takes some megabytes of PostgreSQL's memory.
const LARGE: usize = 1_000;
/// How much room is made for such, in pages of 4 KiB.
const ROOM: i32 = 4_096;

/// What adding a batch did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Added {
    /// The log's head afterwards.
    pub head: Position,
    /// How many of the batch's events are new. Fewer than given: some were there, or wait for an
    /// earlier version of their stream.
    pub events: u64,
}

/// Why a batch was not added.
#[derive(Debug, Error)]
pub enum ForeignStore {
    /// The log copies another store, or the store has lost what the log has. Somebody must decide.
    #[error("{0}")]
    Refused(String),
    /// PostgreSQL could not be reached or refused.
    #[error("{}", describe(.0))]
    Postgres(sqlx::Error),
}

impl From<sqlx::Error> for ForeignStore {
    fn from(error: sqlx::Error) -> Self {
        match error.as_database_error().map(|error| (error.code(), error.message())) {
            Some((Some(code), message)) if code == "PJ005" || code == "PJ006" => {
                Self::Refused(message.to_owned())
            }
            _ => Self::Postgres(error),
        }
    }
}

/// A session of PostgreSQL in which batch after batch is added; one of the pool's, until it is dropped.
#[derive(Debug)]
pub struct Session {
    of_pool: PoolConnection<Postgres>,
    has_room: bool,
}

impl Log {
    /// A session to add batches in.
    ///
    /// # Errors
    /// See [`head`](Self::head).
    pub async fn session(&self) -> Result<Session, sqlx::Error> {
        Ok(Session { of_pool: self.pool.acquire().await?, has_room: false })
    }
}

impl Session {
    /// Copies events of the store into the log, in the given order, as far as each continues its stream.
    /// Safe to repeat with any of them.
    ///
    /// # Errors
    /// [`ForeignStore::Refused`] when they are not of the store that this log copies.
    pub async fn add(&mut self, batch: Batch) -> Result<Added, ForeignStore> {
        if batch.events >= LARGE && !self.has_room {
            self.make_room().await?;
        }
        let span = spans::ingest_batch(batch.events);
        let arguments = batch.arguments.map_err(sqlx::Error::Encode)?;
        let sql = "select head, added from projectord.ingest($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        let (head, added): (i64, i64) =
            bounded(sqlx::query_as_with(sql, arguments).fetch_one(&mut *self.of_pool))
                .instrument(span.clone())
                .await?;
        span.record("head", head);
        span.record("added", added);
        Ok(Added { head: Position::from_sql(head), events: added.unsigned_abs() })
    }

    /// Makes ready for one large batch after another. The memory that a batch takes goes back to the system when it
    /// ends, and is taken and cleared anew for the next one, which is a fifth of PostgreSQL's time. The GNU C library
    /// keeps what it is given back, up to twice the largest piece that it ever gave back to the system
    /// (`M_MMAP_THRESHOLD` in mallopt(3)): so a large one is taken and given back here, in some milliseconds.
    async fn make_room(&mut self) -> Result<(), sqlx::Error> {
        let large = sqlx::query("select octet_length(repeat(repeat(' ', 4096), $1))").bind(ROOM);
        bounded(large.execute(&mut *self.of_pool)).await?;
        self.has_room = true;
        Ok(())
    }
}
