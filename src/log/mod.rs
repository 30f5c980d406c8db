//! The log: the PostgreSQL table `projectord.events`, every event in one order.

mod add;
mod batch;
mod browse;
mod lookup;
mod page;

use sqlx::PgPool;
use uuid::Uuid;

pub use add::{Added, ForeignStore, Session};
pub use batch::Batch;
pub use browse::{Found, From};
pub use page::{Filter, LogEvent};

use crate::event::Position;
use crate::postgres::bounded;

/// The channel on which a longer log is announced. The payload is the new head; it is a bell, not work.
pub const BELL: &str = "projectord_log";

/// The log in one database.
#[derive(Debug, Clone)]
pub struct Log {
    pool: PgPool,
}

impl Log {
    /// The log that `pool` reaches.
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// The last position; zero in an empty log.
    ///
    /// # Errors
    /// When PostgreSQL cannot be reached or refuses. So for every other method here.
    pub async fn head(&self) -> Result<Position, sqlx::Error> {
        let (head,): (i64,) =
            bounded(sqlx::query_as("select position from projectord.log_head").fetch_one(&self.pool)).await?;
        Ok(Position::from_sql(head))
    }

    /// The RethinkDB store that this log copies; none where the log is the store, or is new.
    ///
    /// # Errors
    /// See [`head`](Self::head).
    pub async fn store(&self) -> Result<Option<Uuid>, sqlx::Error> {
        let (store,): (Option<Uuid>,) =
            bounded(sqlx::query_as("select store_id from projectord.log_head").fetch_one(&self.pool)).await?;
        Ok(store)
    }
}
