//! What ingest says of itself: the row of `projectord.ingest_status`, and one log line a transition.

use std::time::Duration;

use sqlx::PgPool;
use tokio::time::timeout;
use tracing::{error, info, warn};

use crate::lease::{INGEST, Lease};
use crate::postgres::bounded;

/// How long writing down what it says may take: the work itself waits for it.
const PATIENCE: Duration = Duration::from_secs(2);

/// What ingest is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It does not run.
    Stopped,
    /// Reading history.
    CatchingUp,
    /// Following the feed.
    Live,
    /// A server is away; trying again.
    Backoff,
    /// The log cannot go on from this store; somebody must decide. Looks again now and then.
    Halted,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::CatchingUp => "catching_up",
            Self::Live => "live",
            Self::Backoff => "backoff",
            Self::Halted => "halted",
        }
    }
}

/// How far the store has been read; for whoever waits in the same process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Progress {
    /// Not all of it yet.
    #[default]
    Reading,
    /// Everything that was in it at the start is in the log.
    Complete,
    /// The log cannot go on from it.
    Refused(String),
}

#[derive(Debug)]
pub(super) struct Status {
    pool: PgPool,
    lease: Lease,
    state: State,
}

impl Status {
    pub(super) fn new(pool: PgPool, lease: Lease) -> Self {
        Self { pool, lease, state: State::Stopped }
    }

    /// Says it once. PostgreSQL may be what is away, so that writing it down may fail.
    pub(super) async fn enter(&mut self, state: State, reason: Option<&str>) {
        if state != self.state {
            match (state, reason) {
                (State::Halted, Some(reason)) => error!(reason, "ingest halted"),
                (State::Backoff, Some(reason)) => warn!(reason, "ingest waits; trying again until it works"),
                _ => info!(from = self.state.as_str(), to = state.as_str(), "ingest state"),
            }
        }
        self.state = state;
        let feed = if state == State::Live { "open" } else { "closed" };
        // Twice: the first may meet a session that has just been ended, and nobody says it again for seconds.
        for _ in 0..2 {
            let written = sqlx::query(
                "update projectord.ingest_status set state = $1, error = $2, feed = $3, updated_at = clock_timestamp()
                  where exists (select from projectord.leases where name = $4 and owner = $5 and epoch = $6)",
            )
            .bind(state.as_str())
            .bind(reason)
            .bind(feed)
            .bind(INGEST)
            .bind(self.lease.owner)
            .bind(self.lease.epoch)
            .execute(&self.pool);
            if timeout(PATIENCE, written).await.is_ok_and(|written| written.is_ok()) {
                break;
            }
        }
    }

    pub(super) async fn repaired(&self, commits: usize) -> Result<(), sqlx::Error> {
        let counted = sqlx::query("update projectord.ingest_status set repaired = repaired + $1")
            .bind(i64::try_from(commits).unwrap_or(0))
            .execute(&self.pool);
        bounded(counted).await.map(drop)
    }

    pub(super) async fn full_pass_done(&self) -> Result<(), sqlx::Error> {
        let noted = sqlx::query("update projectord.ingest_status set full_pass_at = clock_timestamp()")
            .execute(&self.pool);
        bounded(noted).await.map(drop)
    }
}
