//! Writing the log: only ingest does, and only here.

use chrono::{DateTime, Utc};
use thiserror::Error;
use tracing::Instrument;
use uuid::Uuid;

use super::Log;
use super::batch::Batch;
use crate::event::{CommitId, Position, StreamId, Version};
use crate::postgres::{bounded, describe};
use crate::spans;

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

impl Log {
    /// Copies events of the store into the log, in the given order, as far as each continues its stream.
    /// Safe to repeat with any of them.
    ///
    /// # Errors
    /// [`ForeignStore::Refused`] when they are not of the store that this log copies.
    pub async fn add(&self, batch: Batch) -> Result<Added, ForeignStore> {
        let span = spans::ingest_batch(batch.events);
        let arguments = batch.arguments.map_err(sqlx::Error::Encode)?;
        let sql = "select head, added from projectord.ingest($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        let (head, added): (i64, i64) = bounded(sqlx::query_as_with(sql, arguments).fetch_one(&self.pool))
            .instrument(span.clone())
            .await?;
        span.record("head", head);
        span.record("added", added);
        Ok(Added { head: Position::from_sql(head), events: added.unsigned_abs() })
    }

    /// How far each of these streams has come in the log, in the order given.
    ///
    /// # Errors
    /// See [`head`](Self::head).
    pub async fn versions(&self, streams: &[StreamId]) -> Result<Vec<Version>, sqlx::Error> {
        let ids: Vec<Uuid> = streams.iter().map(|stream| stream.0).collect();
        let rows: Vec<(i64,)> = bounded(
            sqlx::query_as(
                "select coalesce((select e.version from projectord.events e where e.stream_id = s.id
                               order by e.version desc limit 1), 0)
               from unnest($1::uuid[]) with ordinality as s (id, nth) order by nth",
            )
            .bind(ids)
            .fetch_all(&self.pool),
        )
        .await?;
        Ok(rows.into_iter().map(|(version,)| Version::from_sql(version)).collect())
    }

    /// The newest event of each of these streams, where there is one: stream, its type, its version.
    ///
    /// # Errors
    /// See [`head`](Self::head).
    pub async fn heads(&self, streams: &[StreamId]) -> Result<Vec<(StreamId, String, Version)>, sqlx::Error> {
        let ids: Vec<Uuid> = streams.iter().map(|stream| stream.0).collect();
        let rows: Vec<(Uuid, String, i64)> = bounded(
            sqlx::query_as(
                "select h.stream_id, h.stream_type, h.version from unnest($1::uuid[]) as s (id), lateral
                    (select * from projectord.events e where e.stream_id = s.id
                      order by e.version desc limit 1) h",
            )
            .bind(ids)
            .fetch_all(&self.pool),
        )
        .await?;
        let head =
            |(stream, kind, version): (Uuid, String, i64)| (stream.into(), kind, Version::from_sql(version));
        Ok(rows.into_iter().map(head).collect())
    }

    /// The commit that holds each of these places, in the order given; none where the log has not come
    /// that far.
    ///
    /// # Errors
    /// See [`head`](Self::head).
    pub async fn commits_at(
        &self,
        places: &[(StreamId, Version)],
    ) -> Result<Vec<Option<CommitId>>, sqlx::Error> {
        let (streams, versions): (Vec<Uuid>, Vec<i64>) =
            places.iter().map(|(stream, version)| (stream.0, version.to_sql())).unzip();
        let rows: Vec<(Option<Uuid>,)> = bounded(sqlx::query_as(
            "select e.commit_id from unnest($1::uuid[], $2::bigint[]) with ordinality as p (id, version, nth)
               left join projectord.events e on e.stream_id = p.id and e.version = p.version order by nth",
        )
        .bind(streams)
        .bind(versions)
        .fetch_all(&self.pool)).await?;
        Ok(rows.into_iter().map(|(commit,)| commit.map(CommitId)).collect())
    }

    /// Every commit of the streams whose ids lie between these two, as places of a walk over all but their
    /// last two bits: stream, first version, commit.
    ///
    /// # Errors
    /// See [`head`](Self::head).
    pub async fn commits_of_streams(
        &self,
        from: i128,
        to: i128,
    ) -> Result<Vec<(StreamId, Version, CommitId)>, sqlx::Error> {
        // The last of the walk has no end that is a UUID.
        let id = |place: i128| Uuid::from_u128(place.unsigned_abs() << 2);
        let end = if to >= 1 << 126 { None } else { Some(id(to)) };
        let rows: Vec<(Uuid, i64, Uuid)> = bounded(
            sqlx::query_as(
                "select stream_id, min(version), commit_id from projectord.events
              where stream_id >= $1 and ($2::uuid is null or stream_id < $2) group by stream_id, commit_id",
            )
            .bind(id(from))
            .bind(end)
            .fetch_all(&self.pool),
        )
        .await?;
        Ok(rows
            .into_iter()
            .map(|(stream, version, commit)| (stream.into(), Version::from_sql(version), CommitId(commit)))
            .collect())
    }

    /// The newest commits of the log, at most `limit` events back: stream, first version, commit.
    ///
    /// # Errors
    /// See [`head`](Self::head).
    pub async fn newest_commits(
        &self,
        limit: u32,
    ) -> Result<Vec<(StreamId, Version, CommitId)>, sqlx::Error> {
        let rows: Vec<(Uuid, i64, Uuid)> = bounded(
            sqlx::query_as(
                "select stream_id, min(version), commit_id from projectord.events
              where (stream_id, commit_id) in (
                    select stream_id, commit_id from projectord.events order by position desc limit $1)
                and position > (select position from projectord.log_head) - $1 - 10000
              group by stream_id, commit_id",
            )
            .bind(i64::from(limit))
            .fetch_all(&self.pool),
        )
        .await?;
        Ok(rows
            .into_iter()
            .map(|(stream, first, commit)| (stream.into(), Version::from_sql(first), commit.into()))
            .collect())
    }

    /// How many commits after this position were recorded from `from` on and before `to`, by the store's clock.
    ///
    /// # Errors
    /// See [`head`](Self::head).
    pub async fn commits_recorded_between(
        &self,
        after: Position,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Result<usize, sqlx::Error> {
        let (count,): (i64,) = bounded(
            sqlx::query_as(
                "select count(*) from (select distinct stream_id, commit_id from projectord.events
                                        where position > $1 and recorded_at >= $2 and recorded_at < $3) c",
            )
            .bind(after.to_sql())
            .bind(from)
            .bind(to)
            .fetch_one(&self.pool),
        )
        .await?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    /// When the newest event of the log was recorded, by the store's clock.
    ///
    /// # Errors
    /// See [`head`](Self::head).
    pub async fn newest_recorded_at(&self) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
        let row = sqlx::query_as("select recorded_at from projectord.events order by position desc limit 1");
        Ok(row.fetch_optional(&self.pool).await?.map(|(time,)| time))
    }
}
