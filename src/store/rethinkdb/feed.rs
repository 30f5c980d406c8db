//! The changefeed on the commits: the bell that says where something was appended.
//!
//! It rings before a commit is durable, so it may announce one that a crash then takes back: whoever
//! hears it makes sure by a majority read, and takes nothing from the announcement but the key. It may be
//! lost in a dozen ways; whoever listens reads again after every loss, and sweeps besides.

use reql::cmd::ReadMode;
use reql::cmd::changes::{Options, Squash};
use serde_json::Value;
use tokio::sync::mpsc;

use super::document::CommitKey;
use super::driver::{Pool, QueryError};
use super::term::{commit_keys, events};
use crate::sabotage::{Bug, has};

/// How many announcements wait to be heard, at most; more wait on the way.
const WAITING: usize = 1024;

/// What was announced by some moment.
#[derive(Debug)]
pub struct ByNow {
    /// The commits.
    pub commits: Vec<CommitKey>,
    /// Whether nothing waited on the way behind them.
    pub all: bool,
}

/// An open feed on the commits.
#[derive(Debug)]
pub struct Feed {
    rows: mpsc::Receiver<Result<Value, QueryError>>,
}

impl Feed {
    /// Opens a feed. When this returns, the server has begun to watch: whatever is appended from now on
    /// is announced, and whatever was before can be read.
    pub(super) async fn open(pool: &Pool) -> Result<Self, QueryError> {
        let options = Options::default().squash(Squash::Bool(false)).include_states(true);
        let commits = commit_keys(events(ReadMode::Single));
        let mut feed = Self { rows: pool.feed(commits.changes(options), WAITING).await? };
        match feed.rows.recv().await {
            Some(Ok(row)) if row["state"] == "ready" => Ok(feed),
            Some(Ok(row)) => Err(QueryError::wrong(format!("the feed began with {row}"))),
            Some(Err(error)) => Err(error),
            None => Err(ended()),
        }
    }

    /// What was appended since the last call, at least one commit; waits for it. It may not be durable.
    ///
    /// # Errors
    /// When the feed ended, with or without a reason, or dropped announcements: open another and read
    /// again.
    pub async fn heard(&mut self) -> Result<Vec<CommitKey>, QueryError> {
        let mut commits = Vec::new();
        while commits.is_empty() {
            match self.rows.recv().await {
                Some(row) => commits.extend(read(&row?)?),
                None => return Err(ended()),
            }
        }
        commits.extend(self.by_now()?.commits);
        Ok(commits)
    }

    /// The same, without a wait.
    ///
    /// # Errors
    /// See [`heard`](Self::heard).
    pub fn by_now(&mut self) -> Result<ByNow, QueryError> {
        let (mut commits, mut rows) = (Vec::new(), 0);
        while let Ok(row) = self.rows.try_recv() {
            commits.extend(read(&row?)?);
            rows += 1;
        }
        Ok(ByNow { commits, all: rows < WAITING })
    }
}

fn ended() -> QueryError {
    QueryError { kind: super::QueryErrorKind::Away, message: "the feed ended".into() }
}

/// A row of the feed: a commit, or none where a document went.
fn read(row: &Value) -> Result<Option<CommitKey>, QueryError> {
    if let Some(lost) = row["error"].as_str() {
        if has(Bug::OverflowIgnored) {
            return Ok(None);
        }
        // An overflow arrives as an ordinary row.
        return Err(QueryError {
            kind: super::QueryErrorKind::Away,
            message: format!("the feed lost rows: {lost}"),
        });
    }
    let commit = &row["new_val"];
    if commit.is_null() {
        return Ok(None);
    }
    CommitKey::read(commit).map(Some).map_err(QueryError::wrong)
}
