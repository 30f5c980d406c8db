//! Events that were set aside because a handler failed: which there are, trying them again, leaving one out.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;
use sqlx::FromRow;
use sqlx::types::Json;
use uuid::Uuid;

use super::{Control, ControlError};
use crate::projector::Failure;

/// An event that is not reflected in a read model.
#[derive(Debug, Serialize, FromRow)]
pub struct Aside {
    /// The projection that lacks it.
    pub projection: String,
    /// Its place in the log.
    pub position: i64,
    /// Its stream.
    pub stream_id: Uuid,
    /// Its place in its stream.
    pub version: i64,
    /// Its type.
    #[serde(rename = "type")]
    #[sqlx(rename = "type")]
    pub event_type: String,
    /// `parked`, or `skipped` by somebody.
    pub state: String,
    /// Since when.
    pub since: DateTime<Utc>,
    /// Why its handler failed; none where it waits behind one that did.
    pub error: Option<Json<Failure>>,
}

/// What is parked, while it is tried again.
#[derive(Debug, FromRow)]
pub struct Left {
    /// How many of them somebody wants to be applied.
    pub wanted: i64,
    /// How many there are.
    pub parked: i64,
}

/// An event that may be left out.
#[derive(Debug, FromRow)]
pub struct Skippable {
    /// Its type.
    #[sqlx(rename = "type")]
    pub event_type: String,
    /// Its stream.
    pub stream_id: Uuid,
    /// Its place in its stream.
    pub version: i64,
}

impl Control {
    /// Events that were set aside or skipped, of one projection or of all, in order of position: those after a
    /// position, and at most `limit`, or a few more where several projections lack the last one.
    ///
    /// # Errors
    /// See [`generation`](Self::generation).
    pub async fn parked(
        &self,
        name: Option<&str>,
        after: i64,
        limit: Option<u32>,
    ) -> Result<Vec<Aside>, ControlError> {
        if let Some(name) = name {
            self.generation(name).await?;
        }
        Ok(sqlx::query_as(
            "select * from (
                 select * from (
                     select p.projection, p.position, p.stream_id, p.version, p.type, 'parked' as state,
                            p.parked_at as since, p.error
                       from projectord.parked p
                       join projectord.projections it on it.name = p.projection and it.generation = p.generation
                      where $1::text is null or p.projection = $1
                      union all
                     select s.projection, s.position, e.stream_id, e.version, e.type, 'skipped by ' || s.skipped_by,
                            s.skipped_at, s.error
                       from projectord.skipped s join projectord.events e using (position)
                      where $1::text is null or s.projection = $1) aside
                  where position > $2
                  order by position fetch first (coalesce($3::bigint, 9223372036854775807)) rows with ties) page
              order by position, projection",
        )
        .bind(name)
        .bind(after)
        .bind(limit.map(i64::from))
        .fetch_all(&self.pool)
        .await?)
    }

    /// Asks that what is parked be applied after all, of one stream or of all; how many events that are.
    ///
    /// # Errors
    /// [`ControlError::NotFound`] also where nothing is parked there.
    pub async fn retry(&self, name: &str, stream: Option<Uuid>) -> Result<u64, ControlError> {
        self.generation(name).await?;
        let mut tx = self.pool.begin().await?;
        let asked = sqlx::query(
            "update projectord.parked p set retry_wanted = true
               from projectord.projections it
              where it.name = p.projection and it.generation = p.generation
                and p.projection = $1 and ($2::uuid is null or p.stream_id = $2)",
        )
        .bind(name)
        .bind(stream)
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if asked == 0 {
            tx.rollback().await?;
            return Err(ControlError::NotFound(format!("nothing of {name} is parked there")));
        }
        self.done(tx, "retry", name, json!({"stream_id": stream, "events": asked})).await?;
        Ok(asked)
    }

    /// How far a retry is.
    ///
    /// # Errors
    /// See [`daemons`](Self::daemons).
    pub async fn left(&self, name: &str, stream: Option<Uuid>) -> Result<Left, ControlError> {
        Ok(sqlx::query_as(
            "select count(*) filter (where retry_wanted) as wanted, count(*) as parked from projectord.parked p
               join projectord.projections it on it.name = p.projection and it.generation = p.generation
              where p.projection = $1 and ($2::uuid is null or p.stream_id = $2)",
        )
        .bind(name)
        .bind(stream)
        .fetch_one(&self.pool)
        .await?)
    }

    /// The event at this position, where it may be skipped: a projection is halted at it, or has it parked.
    ///
    /// # Errors
    /// [`ControlError::NotFound`] also where it may not.
    pub async fn skippable(&self, name: &str, position: i64) -> Result<Skippable, ControlError> {
        self.generation(name).await?;
        let event: Option<Skippable> = sqlx::query_as(
            "select e.type, e.stream_id, e.version from projectord.events e
               join projectord.projections p on p.name = $1
               join projectord.generations g on g.projection = p.name and g.generation = p.generation
              where e.position = $2
                and (p.state = 'halted' and e.position = g.checkpoint + 1 and (p.error -> 'event' ->> 'position')::bigint = $2
                     or exists (select from projectord.parked k
                                 where k.projection = p.name and k.generation = p.generation and k.position = $2))",
        )
        .bind(name)
        .bind(position)
        .fetch_optional(&self.pool)
        .await?;
        event.ok_or_else(|| {
            ControlError::NotFound(format!(
                "{name} is not halted at position {position}, and the event there is not parked"
            ))
        })
    }

    /// Leaves an event out of a projection for good, also when it is rebuilt.
    ///
    /// # Errors
    /// [`ControlError::Conflict`] where it is neither parked nor halted at any more: a retry was quicker.
    pub async fn skip(&self, name: &str, position: i64) -> Result<String, ControlError> {
        let mut tx = self.pool.begin().await?;
        let done = sqlx::query(
            "with before as (
                 select error from projectord.projections where name = $1
             ), gone as (
                 delete from projectord.parked k using projectord.projections p
                  where p.name = $1 and k.projection = p.name and k.generation = p.generation and k.position = $2
              returning k.error
             ), halted as (
                 update projectord.projections set error = null
                  where name = $1 and state = 'halted' and (error -> 'event' ->> 'position')::bigint = $2
              returning 1
             )
             insert into projectord.skipped (projection, position, error)
             select $1, $2, error from gone union all select $1, $2, error from before where exists (select from halted)",
        )
        .bind(name)
        .bind(position)
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            tx.rollback().await?;
            self.generation(name).await?;
            let message = format!("event {position} has been applied to {name} meanwhile");
            return Err(ControlError::Conflict(message));
        }
        self.done(tx, "skip", name, json!({"position": position})).await?;
        Ok(format!("{name} will go on without event {position}"))
    }
}
