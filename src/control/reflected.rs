//! Whether a read model has what was appended.

use sqlx::FromRow;
use uuid::Uuid;

use super::{Control, ControlError};

/// One event, and how far a projection is.
#[derive(Debug, FromRow)]
pub struct Reflected {
    /// Where it is in the log; none where the log does not have it yet.
    pub position: Option<i64>,
    /// The projection's checkpoint.
    pub checkpoint: i64,
    /// It, or an earlier event of its stream, was set aside.
    pub parked: bool,
}

impl Control {
    /// Looks once; `projectord.wait_for` is the same in SQL, and waits.
    ///
    /// # Errors
    /// See [`generation`](Self::generation).
    pub async fn reflected(&self, name: &str, stream: Uuid, version: i64) -> Result<Reflected, ControlError> {
        let found = sqlx::query_as(
            "select e.position, coalesce(g.checkpoint, 0) as checkpoint,
                    exists (select from projectord.parked k
                             where k.projection = p.name and k.generation = p.generation and k.stream_id = $2
                               and k.position <= e.position) as parked
               from projectord.projections p
               left join projectord.generations g on g.projection = p.name and g.generation = p.generation
               left join projectord.events e on e.stream_id = $2 and e.version = $3
              where p.name = $1",
        )
        .bind(name)
        .bind(stream)
        .bind(version)
        .fetch_optional(&self.pool)
        .await?;
        match found {
            Some(found) => Ok(found),
            None => Err(self.unknown(name).await),
        }
    }
}
