//! The changefeed on the heads: the bell that says how far which stream has come.
//!
//! A head moves only after its commit is durable, so the bell never announces a phantom. It may be lost
//! in a dozen ways; whoever listens reads again after every loss, and sweeps besides.

use reql::cmd::changes::{Options, Squash};
use serde_json::Value;
use tokio::sync::mpsc;

use super::driver::{Pool, QueryError};
use super::setup::is_head;
use super::term::aggregates;
use crate::event::{StreamId, Version};

/// How far a stream has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The stream.
    pub stream: StreamId,
    /// Its version; every commit up to here is durable.
    pub version: Version,
}

/// An open feed on the heads.
#[derive(Debug)]
pub struct Feed {
    rows: mpsc::Receiver<Result<Value, QueryError>>,
}

impl Feed {
    /// Opens a feed. When this returns, the server has begun to watch: whatever is appended from now on
    /// is announced, and whatever was before can be read.
    pub(super) async fn open(pool: &Pool) -> Result<Self, QueryError> {
        let options = Options::default().squash(Squash::Bool(true)).include_states(true);
        let mut feed = Self { rows: pool.feed(aggregates().changes(options)).await? };
        match feed.rows.recv().await {
            Some(Ok(row)) if row["state"] == "ready" => Ok(feed),
            Some(Ok(row)) => Err(QueryError::wrong(format!("the feed began with {row}"))),
            Some(Err(error)) => Err(error),
            None => Err(ended()),
        }
    }

    /// The heads that moved since the last call, at least one; waits for it.
    ///
    /// # Errors
    /// When the feed ended, with or without a reason, or dropped announcements: open another and read
    /// again.
    pub async fn moved(&mut self) -> Result<Vec<Head>, QueryError> {
        let mut rows = Vec::new();
        while rows.is_empty() {
            match self.rows.recv().await {
                Some(row) => rows.extend(read(&row?)?),
                None => return Err(ended()),
            }
        }
        while let Ok(row) = self.rows.try_recv() {
            rows.extend(read(&row?)?);
        }
        Ok(rows)
    }
}

fn ended() -> QueryError {
    QueryError { kind: super::QueryErrorKind::Away, message: "the feed ended".into() }
}

/// A row of the feed: a head, or none where it is no stream's.
fn read(row: &Value) -> Result<Option<Head>, QueryError> {
    if let Some(lost) = row["error"].as_str() {
        // An overflow arrives as an ordinary row.
        return Err(QueryError {
            kind: super::QueryErrorKind::Away,
            message: format!("the feed lost rows: {lost}"),
        });
    }
    let head = &row["new_val"];
    if head.is_null() || !is_head(head) {
        return Ok(None);
    }
    let stream = head["id"].as_str().and_then(|id| id.parse().ok());
    match (stream, head["version"].as_u64()) {
        (Some(stream), Some(version)) => Ok(Some(Head { stream, version: Version(version) })),
        _ => Err(QueryError::wrong(format!("document {} of table aggregates is not a head", head["id"]))),
    }
}
