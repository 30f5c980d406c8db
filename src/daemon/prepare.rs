//! The beginning: PostgreSQL is there, and has the daemon's own schema.

use std::time::Duration;

use sqlx::PgPool;
use tracing::warn;

use crate::backoff::Backoff;
use crate::fault;
use crate::postgres::{Class, MigrateError, classify, describe, migrate, why};

/// Waits for PostgreSQL, and brings the daemon's own schema up to date.
pub(super) async fn prepare(pool: &PgPool) -> Result<(), MigrateError> {
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));
    let mut said = false;
    loop {
        fault::point("migrate");
        match migrate(pool).await {
            Err(MigrateError::Postgres(error)) if classify(&error) == Class::Away => {
                if !said {
                    let error = why(pool, error).await;
                    warn!(error = %describe(&error), "PostgreSQL is not ready; trying again until it is");
                    said = true;
                }
                tokio::time::sleep(backoff.next_wait()).await;
            }
            done => return done,
        }
    }
}
