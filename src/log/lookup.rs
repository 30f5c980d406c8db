//! What the log has, as ingest asks: of streams, of commits, of times.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::Log;
use crate::event::{CommitId, Position, StreamId, Version};
use crate::postgres::bounded;

impl Log {
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
