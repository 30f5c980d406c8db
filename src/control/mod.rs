//! The control plane: what an operator wants is written into the database, with who wanted it, and whoever runs
//! there acts. Nothing here prints, asks or waits: the command line does, and whoever else comes between.

mod error;
mod open;
mod operations;
mod parked;
mod plan;
mod rebuild;
mod reflected;
mod rows;
mod status;
mod undo;
mod verify;
mod wanted;

use sqlx::PgPool;

pub use error::ControlError;
pub use open::{Store, open_pool, options};
pub use operations::{Operation, this_user};
pub use parked::{Aside, Left, Skippable};
pub use plan::Line;
pub use rebuild::Standing;
pub use reflected::Reflected;
pub use rows::{StreamRow, StreamRows};
pub use status::{
    DaemonStatus, GenerationStatus, IngestStatus, LogStatus, ProjectionStatus, Status, StoreStatus,
};
pub use undo::Retired;
pub use verify::DIFFERING_ROWS;

/// The database, in the hands of somebody.
#[derive(Debug, Clone)]
pub struct Control {
    pool: PgPool,
    who: String,
}

impl Control {
    /// What `who` does in the database that `pool` reaches is recorded under that name.
    pub fn new(pool: PgPool, who: impl Into<String>) -> Self {
        Self { pool, who: who.into() }
    }

    /// How many daemons were seen lately.
    ///
    /// # Errors
    /// When PostgreSQL cannot be reached or refuses. So for every other method here.
    pub async fn daemons(&self) -> Result<i64, ControlError> {
        let (running,): (i64,) = sqlx::query_as(
            "select count(*) from projectord.daemons where seen_at > clock_timestamp() - interval '10 seconds'",
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(running)
    }

    /// The generation that readers see.
    ///
    /// # Errors
    /// [`ControlError::NotFound`] where no projection of this name has run. So for every other method that is
    /// given a name.
    pub async fn generation(&self, name: &str) -> Result<i64, ControlError> {
        let row: Option<(i64,)> =
            sqlx::query_as("select generation from projectord.projections where name = $1")
                .bind(name)
                .fetch_optional(&self.pool)
                .await?;
        match row {
            Some((generation,)) => Ok(generation),
            None => Err(self.unknown(name).await),
        }
    }

    /// The error for a name that none has; it says which there are.
    async fn unknown(&self, name: &str) -> ControlError {
        let names: Vec<(String,)> = sqlx::query_as("select name from projectord.projections order by name")
            .fetch_all(&self.pool)
            .await
            .unwrap_or_default();
        let names: Vec<String> = names.into_iter().map(|(name,)| name).collect();
        let known = match names.as_slice() {
            [] => "none has run yet".into(),
            names => format!("known are {}", names.join(", ")),
        };
        ControlError::NotFound(format!("no projection {name:?}; {known}"))
    }
}
