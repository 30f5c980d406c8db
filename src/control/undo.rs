//! Going back: readers see the rows again that were there before the last swap.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::FromRow;
use sqlx::error::DatabaseError;
use sqlx::types::Json;

use super::{Control, ControlError};
use crate::postgres::{Class, classify, describe, interval, sqlstate};
use crate::projector::Failure;

/// How long to go on trying while the retired rows are a little behind.
const PATIENCE: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(100);

/// A generation that one can go back to.
#[derive(Debug, FromRow)]
pub struct Retired {
    /// Which.
    pub generation: i64,
    /// Until when.
    pub keep_until: DateTime<Utc>,
    error: Option<Json<Failure>>,
}

impl Control {
    /// What `undo` would go back to. `kept` is how long rows are kept after a swap.
    ///
    /// # Errors
    /// [`ControlError::NotFound`] also where there is nothing; [`ControlError::Halted`] where it is not fed any more.
    pub async fn retired(&self, name: &str, kept: Duration) -> Result<Retired, ControlError> {
        self.generation(name).await?;
        let retired: Option<Retired> = sqlx::query_as(
            "select generation, keep_until, error from projectord.generations
              where projection = $1 and state = 'retired' and keep_until > clock_timestamp()
              order by generation desc limit 1",
        )
        .bind(name)
        .fetch_optional(&self.pool)
        .await?;
        let Some(retired) = retired else {
            let message =
                format!("there is nothing to go back to: rows of {name} are kept for {kept:?} after a swap");
            return Err(ControlError::NotFound(message));
        };
        if let Some(Json(error)) = &retired.error {
            let message = format!(
                "generation {} of {name} cannot be gone back to: {}",
                retired.generation,
                error.without_hint()
            );
            return Err(ControlError::Halted(message));
        }
        Ok(retired)
    }

    /// Swaps the generation `old` in again, in the place of `live`, which is kept for `keep`.
    ///
    /// # Errors
    /// See [`daemons`](Self::daemons).
    pub async fn undo(
        &self,
        name: &str,
        live: i64,
        old: i64,
        keep: Duration,
    ) -> Result<String, ControlError> {
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = self.swap_back(name, live, old, keep).await {
            match postgres(&error).and_then(sqlstate).as_deref() {
                // The rows to go back to have not caught up with those that are live.
                Some("PJ012") if Instant::now() < deadline => tokio::time::sleep(AGAIN).await,
                Some("PJ014") => return Err(depended_on(name, &error)),
                Some(code) if !code.starts_with("PJ") => return Err(refused(name, old, error)),
                _ => return Err(error),
            }
        }
        Ok(format!(
            "readers of {name} see generation {old} again; its files are built anew when they change, or when asked for"
        ))
    }

    async fn swap_back(&self, name: &str, live: i64, old: i64, keep: Duration) -> Result<(), ControlError> {
        let mut tx = self.pool.begin().await?;
        sqlx::query("select projectord.swap($1, $2, $3, $4)")
            .bind(name)
            .bind(live)
            .bind(old)
            .bind(interval(keep))
            .execute(&mut *tx)
            .await?;
        // Or the files, which are those of the generation that was live, would be built again at once.
        sqlx::query(
            "update projectord.projections p set declined = g.fingerprint
               from projectord.generations g where p.name = $1 and g.projection = $1 and g.generation = $2",
        )
        .bind(name)
        .bind(live)
        .execute(&mut *tx)
        .await?;
        self.done(tx, "undo", name, json!({"from": live, "to": old})).await
    }
}

/// What its handlers refuse when they are to catch up, they would refuse whoever feeds it too.
fn refused(name: &str, old: i64, error: ControlError) -> ControlError {
    match error {
        ControlError::Postgres(error) if classify(&error) == Class::Statement => ControlError::Halted(
            format!("generation {old} of {name} cannot be gone back to: {}", describe(&error)),
        ),
        error => error,
    }
}

/// What stands in the way would go with the rows that are live now.
fn depended_on(name: &str, error: &ControlError) -> ControlError {
    let said = postgres(error).and_then(|error| error.as_database_error()).map_or("", DatabaseError::message);
    let outside = said.split_once(": ").map_or(said, |(_, outside)| outside);
    ControlError::Conflict(format!(
        "objects outside depend on {name}: {outside}; drop them, and make them again afterwards"
    ))
}

fn postgres(error: &ControlError) -> Option<&sqlx::Error> {
    let ControlError::Postgres(error) = error else { return None };
    Some(error)
}
