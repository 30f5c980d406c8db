//! Reading the log for somebody who is far away and may ask for anything: one look is bounded in events, in bytes
//! and in how far it goes.

use futures_util::TryStreamExt;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, FromRow, Row};

use super::{Filter, Log, LogEvent};
use crate::event::Position;
use crate::postgres::bounded;

/// How many positions one look goes over in search of a type that may be rare.
const FAR: u64 = 100_000;
/// About how many bytes of data and metadata one look gives; an event is never cut.
const MOST_BYTES: usize = 4 << 20;

/// What one look found.
#[derive(Debug)]
pub struct Found {
    /// In order of position.
    pub events: Vec<LogEvent>,
    /// Up to where the log was looked at: the next look begins after it, also where nothing was found.
    pub read_to: Position,
    /// The log's head.
    pub head: Position,
}

/// From which end to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// The first events come first.
    Oldest,
    /// Only the last ones are wanted.
    Newest,
}

impl Log {
    /// At most `limit` events after `after`.
    ///
    /// # Errors
    /// See [`head`](Self::head).
    pub async fn browse(
        &self,
        after: Position,
        limit: u32,
        filter: &Filter,
        from: From,
    ) -> Result<Found, sqlx::Error> {
        let head = self.head().await?;
        // The index over streams finds the events of one, however far apart they are.
        let (low, high) = match (filter.stream, from) {
            (Some(_), _) => (after, head),
            (None, From::Oldest) => (after, head.min(Position(after.0.saturating_add(FAR)))),
            (None, From::Newest) => (after.max(Position(head.0.saturating_sub(FAR))), head),
        };
        let (events, is_whole) = bounded(self.range(low, high, limit, filter, from)).await?;
        let read_to = match (from, events.last()) {
            (From::Oldest, Some(last)) if !is_whole => Position::from_sql(last.position),
            _ => high.max(after),
        };
        Ok(Found { events, read_to, head })
    }

    /// Events of a range, and whether those are all.
    async fn range(
        &self,
        low: Position,
        high: Position,
        limit: u32,
        filter: &Filter,
        from: From,
    ) -> Result<(Vec<LogEvent>, bool), sqlx::Error> {
        let (stream, by) = match filter.stream {
            Some(_) => ("stream_id = $5", "version"),
            None => ("$5::uuid is null", "position"),
        };
        let direction = if from == From::Newest { "desc" } else { "asc" };
        let sql = format!(
            "select position, stream_id, stream_type, version, type, data, metadata, commit_id, recorded_at
               from projectord.events
              where {stream} and position > $1 and position <= $2 and ($3::text is null or type like $3)
              order by {by} {direction} limit $4"
        );
        let mut rows = sqlx::query(AssertSqlSafe(sql))
            .bind(low.to_sql())
            .bind(high.to_sql())
            .bind(&filter.type_like)
            .bind(i64::from(limit))
            .bind(filter.stream)
            .fetch(&self.pool);
        let (mut events, mut bytes) = (Vec::new(), 0);
        // What is not taken out of the stream of rows takes no memory here.
        while bytes < MOST_BYTES
            && let Some(row) = rows.try_next().await?
        {
            bytes += size(&row)?;
            events.push(LogEvent::from_row(&row)?);
        }
        let is_whole = bytes < MOST_BYTES && events.len() < limit as usize;
        if from == From::Newest {
            events.reverse();
        }
        Ok((events, is_whole))
    }
}

/// How much of a row there is no limit on.
fn size(row: &PgRow) -> Result<usize, sqlx::Error> {
    let of = |column| -> Result<usize, sqlx::Error> {
        row.try_get_raw(column)?.as_bytes().map(<[u8]>::len).map_err(sqlx::Error::Decode)
    };
    Ok(of("data")? + of("metadata")?)
}
