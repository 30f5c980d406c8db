//! Reading the log, a page at a time.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::FromRow;
use uuid::Uuid;

use super::Log;
use crate::event::Position;

/// An event with its place in the log.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct LogEvent {
    /// Its place in the log.
    pub position: i64,
    /// The stream that it belongs to.
    pub stream_id: Uuid,
    /// What kind of aggregate the stream is.
    pub stream_type: String,
    /// Its place in the stream.
    pub version: i64,
    /// What happened.
    #[serde(rename = "type")]
    #[sqlx(rename = "type")]
    pub event_type: String,
    /// The payload.
    pub data: Value,
    /// The metadata.
    pub metadata: Value,
    /// The append that it came with.
    pub commit_id: Uuid,
    /// When the store took it.
    pub recorded_at: DateTime<Utc>,
}

/// Which events of the log to read.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// A LIKE pattern that the type must match.
    pub type_like: Option<String>,
    /// Only events of this stream.
    pub stream: Option<Uuid>,
}

impl Log {
    /// At most `limit` events after `after`, in order, and the position that was read up to: the next
    /// page begins after it, also where the filter let nothing through.
    ///
    /// # Errors
    /// See [`head`](Self::head).
    pub async fn page(
        &self,
        after: Position,
        limit: u32,
        filter: &Filter,
    ) -> Result<(Vec<LogEvent>, Position), sqlx::Error> {
        let head = self.head().await?;
        let events: Vec<LogEvent> = sqlx::query_as(
            "select position, stream_id, stream_type, version, type, data, metadata, commit_id, recorded_at
               from projectord.events
              where position > $1 and position <= $2 and ($3::text is null or type like $3)
                and ($5::uuid is null or stream_id = $5)
              order by position limit $4",
        )
        .bind(after.to_sql())
        .bind(head.to_sql())
        .bind(&filter.type_like)
        .bind(i64::from(limit))
        .bind(filter.stream)
        .fetch_all(&self.pool)
        .await?;
        let full = events.len() == limit as usize;
        let read_to = match events.last() {
            Some(last) if full => Position::from_sql(last.position),
            _ => head.max(after),
        };
        Ok((events, read_to))
    }
}
