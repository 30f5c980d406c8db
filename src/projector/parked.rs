//! Parking: an event whose handler fails is set aside with all later events of its stream, and everything
//! else goes on. On request they are applied after all, in order.

use sqlx::PgPool;
use sqlx::types::Json;
use uuid::Uuid;

use super::Failure;
use crate::event::Position;
use crate::lease::Lease;

/// A checkpoint as its owner knows it: what every change of it is checked against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fence<'a> {
    pub(super) pool: &'a PgPool,
    pub(super) projection: &'a str,
    pub(super) generation: i64,
    /// Of a build that several workers share.
    pub(super) share: Option<i32>,
    pub(super) checkpoint: Position,
    pub(super) lease: Lease,
}

impl Fence<'_> {
    /// Sets aside the event after the checkpoint, and moves the checkpoint over it.
    pub(super) async fn park(&self, failure: &Failure) -> Result<Position, sqlx::Error> {
        sqlx::query("select projectord.park($1, $2, $3, $4, $5, $6, $7)")
            .bind(self.projection)
            .bind(self.generation)
            .bind(self.checkpoint.to_sql())
            .bind(self.lease.owner)
            .bind(self.lease.epoch)
            .bind(self.share)
            .bind(Json(failure))
            .execute(self.pool)
            .await?;
        Ok(self.checkpoint.next())
    }

    /// The first parked event of a stream that somebody asked to retry.
    pub(super) async fn next_to_retry(&self) -> Result<Option<(Position, Uuid)>, sqlx::Error> {
        let row: Option<(i64, Uuid)> = sqlx::query_as(
            "select position, stream_id from projectord.parked p
              where projection = $1 and generation = $2 and position = (
                    select min(position) from projectord.parked
                     where projection = $1 and generation = $2 and stream_id = (
                           select stream_id from projectord.parked
                            where projection = $1 and generation = $2 and retry_wanted limit 1))",
        )
        .bind(self.projection)
        .bind(self.generation)
        .fetch_optional(self.pool)
        .await?;
        Ok(row.map(|(position, stream)| (Position::from_sql(position), stream)))
    }

    /// Applies a parked event; the request stays with what is left of its stream.
    pub(super) async fn retry(&self, position: Position, stream: Uuid) -> Result<(), sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        sqlx::query("select projectord.retry($1, $2, $3, $4, $5, $6)")
            .bind(self.projection)
            .bind(self.generation)
            .bind(position.to_sql())
            .bind(self.checkpoint.to_sql())
            .bind(self.lease.owner)
            .bind(self.lease.epoch)
            .execute(&mut *tx)
            .await?;
        self.mark(stream, true).execute(&mut *tx).await?;
        tx.commit().await
    }

    /// The retry failed again: the reason is replaced, and nobody wants it any more.
    pub(super) async fn retry_failed(
        &self,
        position: Position,
        stream: Uuid,
        failure: &Failure,
    ) -> Result<(), sqlx::Error> {
        self.mark(stream, false).execute(self.pool).await?;
        sqlx::query(
            "update projectord.parked set error = $4 where projection = $1 and generation = $2 and position = $3",
        )
        .bind(self.projection)
        .bind(self.generation)
        .bind(position.to_sql())
        .bind(Json(failure))
        .execute(self.pool)
        .await
        .map(drop)
    }

    /// Somebody wants what is parked of a stream to be tried, or does not any more.
    pub(super) fn mark(
        &self,
        stream: Uuid,
        wanted: bool,
    ) -> sqlx::query::Query<'_, sqlx::Postgres, sqlx::postgres::PgArguments> {
        sqlx::query(
            "update projectord.parked set retry_wanted = $4
              where projection = $1 and generation = $2 and stream_id = $3 and retry_wanted <> $4",
        )
        .bind(self.projection)
        .bind(self.generation)
        .bind(stream)
        .bind(wanted)
    }
}
