//! What stands beside the live generation held against it, row by row.

use super::{Control, ControlError};
use crate::postgres::sqlstate;
use crate::projector::{CompareError, Comparison, compare};

/// How many rows of a table that differ are told.
pub const DIFFERING_ROWS: i64 = 50;

impl Control {
    /// The live generation, and the one beside it that it can be compared with: one that is held, caught up, or
    /// the one to go back to.
    ///
    /// # Errors
    /// [`ControlError::Conflict`] where there is none.
    pub async fn comparable(&self, name: &str) -> Result<(i64, i64), ControlError> {
        let live = self.generation(name).await?;
        let beside: Option<(i64,)> = sqlx::query_as(
            "select generation from projectord.generations
              where projection = $1 and error is null
                and (state = 'building' and held and caught_up_at is not null
                     or state = 'retired' and keep_until > clock_timestamp())
              order by state = 'building' desc, generation desc limit 1",
        )
        .bind(name)
        .fetch_optional(&self.pool)
        .await?;
        match beside {
            Some((beside,)) => Ok((live, beside)),
            None => Err(ControlError::Conflict(format!(
                "no generation stands beside the live one of {name} to be compared with; ask for one that is held"
            ))),
        }
    }

    /// Compares two generations of a projection.
    ///
    /// # Errors
    /// [`ControlError::Conflict`] where the two never meet, or one of them goes meanwhile.
    pub async fn compare(&self, name: &str, live: i64, next: i64) -> Result<Comparison, ControlError> {
        compare(&self.pool, name, live, next, DIFFERING_ROWS).await.map_err(|error| match error {
            CompareError::Apart(how) => ControlError::Conflict(how),
            CompareError::Postgres(error) if is_gone(&error) => ControlError::Conflict(format!(
                "generation {live} or {next} of {name} was swapped or dropped meanwhile; ask again"
            )),
            CompareError::Postgres(error) => error.into(),
        })
    }
}

/// A table or a schema that was there when the comparison began.
fn is_gone(error: &sqlx::Error) -> bool {
    matches!(sqlstate(error).as_deref(), Some("42P01" | "3F000"))
}
