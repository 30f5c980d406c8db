//! Reads for whoever copies the store elsewhere: by time, by key, by range of keys.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use reql::Command;
use reql::cmd::ReadMode;
use serde_json::Value;

use super::commits::Text;
use super::document::{self, CommitKey, StoredCommit};
use super::driver::{Pool, QueryError};
use super::feed::Feed;
use super::head::Head;
use super::setup::{self, StoreId};
use super::term::{
    Term, aggregates, commit_keys, events, json, keys_between, move_heads, recorded_between, term,
};
use crate::event::{StreamId, Version};
use crate::sabotage::{Bug, has};

/// How many heads are moved by one query.
const MOVES: usize = 200;

/// Reads the whole store, in pieces.
#[derive(Debug, Clone)]
pub struct History {
    pool: Arc<Pool>,
}

impl History {
    pub(super) fn new(pool: Arc<Pool>) -> Self {
        Self { pool }
    }

    /// Which store this is; none where `setup` was never run.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses. So for every other method here.
    pub async fn identity(&self) -> Result<Option<StoreId>, QueryError> {
        setup::identity(&self.pool).await
    }

    /// The server's clock.
    ///
    /// # Errors
    /// See [`identity`](Self::identity).
    pub async fn now(&self) -> Result<DateTime<Utc>, QueryError> {
        setup::now(&self.pool).await
    }

    /// Opens the bell.
    ///
    /// # Errors
    /// See [`identity`](Self::identity).
    pub async fn feed(&self) -> Result<Feed, QueryError> {
        Feed::open(&self.pool).await
    }

    /// The durable commits recorded from `from` on and before `to`, in no order; none of them where they
    /// are more than `limit` or over about `budget` bytes. A majority read: what it sees has been made
    /// durable.
    ///
    /// # Errors
    /// Also when a document is not a commit: the message has its id.
    pub async fn recorded_between(
        &self,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        limit: usize,
        budget: usize,
    ) -> Result<Option<Text>, QueryError> {
        let rows = recorded_between(events(ReadMode::Majority), seconds(from), seconds(to));
        let text = self.pool.commits_within(at_most(rows, limit), budget).await?;
        Ok(text.filter(|text| text.commits.len() <= limit))
    }

    /// How many commits were recorded from `from` on and before `to`, counted up to `limit`; they may not be durable
    /// yet. Without a limit it is twice as fast.
    ///
    /// # Errors
    /// See [`identity`](Self::identity).
    pub async fn count_between(
        &self,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        limit: Option<usize>,
    ) -> Result<usize, QueryError> {
        let rows = recorded_between(events(ReadMode::Single), seconds(from), seconds(to));
        let rows = match limit {
            Some(limit) => term(Term::Limit, [rows, json(limit)]),
            None => rows,
        };
        let count = self.pool.row(term(Term::Count, [rows])).await?;
        Ok(count.as_u64().and_then(|count| usize::try_from(count).ok()).unwrap_or(0))
    }

    /// The keys of all commits recorded from `from` on and before `to`, in no order. They may not be
    /// durable yet.
    ///
    /// # Errors
    /// See [`recorded_between`](Self::recorded_between).
    pub async fn keys_recorded_between(
        &self,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Result<Vec<CommitKey>, QueryError> {
        self.keys(recorded_between(events(ReadMode::Single), seconds(from), seconds(to))).await
    }

    /// The keys of all commits of the streams from `from` on and before `to`, in no order; none of them
    /// where they are more than `limit`. They may not be durable yet.
    ///
    /// # Errors
    /// See [`recorded_between`](Self::recorded_between).
    pub async fn keys_of_streams(
        &self,
        from: &str,
        to: &str,
        limit: usize,
    ) -> Result<Option<Vec<CommitKey>>, QueryError> {
        let rows = at_most(keys_between(events(ReadMode::Single), from, to), limit);
        let keys = self.keys(rows).await?;
        Ok(Some(keys).filter(|keys| keys.len() <= limit))
    }

    /// The durable commits that begin at these places; those that are not there are left out; none of
    /// them where they are over about `budget` bytes. A majority read.
    ///
    /// # Errors
    /// See [`recorded_between`](Self::recorded_between).
    pub async fn beginning_at(
        &self,
        places: &[(StreamId, Version)],
        budget: usize,
    ) -> Result<Option<Vec<StoredCommit>>, QueryError> {
        let mode = if has(Bug::FeedPayload) { ReadMode::Single } else { ReadMode::Majority };
        let get = term(Term::GetAll, [events(mode)]);
        let keys = places.iter().map(|(stream, version)| json(document::key(*stream, version.0)));
        let text = self.pool.commits_within(keys.fold(get, Command::with_arg), budget).await?;
        Ok(text.map(|text| text.commits))
    }

    /// The durable commits of one stream that begin from `from` on and before `to`, in no order; none of
    /// them where they are over about `budget` bytes. A majority read.
    ///
    /// # Errors
    /// See [`recorded_between`](Self::recorded_between).
    pub async fn of_stream(
        &self,
        stream: StreamId,
        from: Version,
        to: Version,
        budget: usize,
    ) -> Result<Option<Vec<StoredCommit>>, QueryError> {
        let (from, to) = (document::key(stream, from.0), document::key(stream, to.0));
        let range = keys_between(events(ReadMode::Majority), &from, &to);
        Ok(self.pool.commits_within(range, budget).await?.map(|text| text.commits))
    }

    /// The versions of the heads of all streams from `from` on and before `to`.
    ///
    /// # Errors
    /// See [`identity`](Self::identity).
    pub async fn heads_between(
        &self,
        from: &str,
        to: &str,
    ) -> Result<HashMap<StreamId, Version>, QueryError> {
        let rows = self.pool.rows(keys_between(aggregates(), from, to)).await?;
        let head = |row: &Value| Some((row["id"].as_str()?.parse().ok()?, Version(row["version"].as_u64()?)));
        Ok(rows.iter().filter_map(head).collect())
    }

    /// Moves heads on to durable commits, never back; at most one of each stream.
    ///
    /// # Errors
    /// See [`identity`](Self::identity).
    pub async fn move_heads(&self, heads: &[Head]) -> Result<(), QueryError> {
        for heads in heads.chunks(MOVES) {
            self.pool.rows(move_heads(heads)).await?;
        }
        Ok(())
    }

    async fn keys(&self, rows: Command) -> Result<Vec<CommitKey>, QueryError> {
        let rows = self.pool.rows(commit_keys(rows)).await?;
        rows.iter().map(CommitKey::read).collect::<Result<_, _>>().map_err(QueryError::wrong)
    }
}

/// One more than `limit`, so that it is seen where there are more.
fn at_most(rows: Command, limit: usize) -> Command {
    let most = limit.saturating_add(1).min(i32::MAX as usize);
    term(Term::Limit, [rows, json(most)])
}

/// Seconds since 1970, to the millisecond that RethinkDB keeps.
fn seconds(time: DateTime<Utc>) -> f64 {
    time.timestamp_millis() as f64 / 1000.0
}
