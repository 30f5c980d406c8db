//! Sessions that batches run in, kept from batch to batch. In a session that is new to a generation its handlers must
//! be compiled and their statements planned, which takes as long as some thousand events; and the pool, left to itself,
//! gives out the session that has rested longest, and asks each that comes back whether it is still there.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres};
use tokio::sync::Semaphore;

use super::joint::Joint;
use super::pass::Passing;
use crate::postgres::answers;

/// One that has rested longer is asked whether it is still there before it is used again.
const RESTED: Duration = Duration::from_secs(1);
/// One that has rested longer goes back to the pool.
const KEPT: Duration = Duration::from_mins(1);
/// One in so many goes back to the pool, which ends those that are old.
const ONE_IN: u32 = 10_000;

/// Shared by all projectors of a daemon: whoever goes on with a generation that was swapped in finds the session that
/// built it, and where the pool has none left, one that somebody else keeps will do.
#[derive(Debug, Clone)]
pub struct Sessions {
    pool: PgPool,
    kept: Arc<Mutex<Vec<Kept>>>,
    upkeep: Arc<Semaphore>,
    joint: Joint,
    passing: Passing,
}

/// A projection, and the number of its generation.
pub(super) type Generation<'a> = (&'a str, i64);

#[derive(Debug)]
struct Kept {
    session: PoolConnection<Postgres>,
    projection: String,
    generation: i64,
    used: Instant,
}

impl Sessions {
    /// Sessions of this pool, which lets others have some too.
    pub fn new(pool: PgPool) -> Self {
        Self {
            pool,
            kept: Arc::default(),
            upkeep: Arc::new(Semaphore::new(1)),
            joint: Joint::default(),
            passing: Passing::default(),
        }
    }

    /// Where they come from.
    pub(super) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Of all who look after tables, each in a session beside these, one may at a time.
    pub(super) fn upkeep(&self) -> &Semaphore {
        &self.upkeep
    }

    /// Of all who catch up at once, what they find out together.
    pub(super) fn joint(&self) -> &Joint {
        &self.joint
    }

    /// Of all who have caught up, what brings them past events that they do not want.
    pub(super) fn passing(&self) -> &Passing {
        &self.passing
    }

    /// One that has worked on this generation, or one of the pool's, or anybody's.
    pub(super) async fn take(&self, of: Generation<'_>) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        let kept = self.change(|kept| {
            let own = kept.iter().rposition(|it| (it.projection.as_str(), it.generation) == of);
            let at = match own {
                Some(at) => at,
                None if self.in_use() < self.for_batches() => return None,
                None => 0,
            };
            (at < kept.len()).then(|| kept.remove(at))
        });
        if let Some(Kept { mut session, used, .. }) = kept {
            if used.elapsed() < RESTED || answers(&mut session).await {
                return Ok(session);
            }
            session.close_on_drop();
        }
        self.pool.acquire().await
    }

    /// Keeps it for the next batch, where enough are left for others.
    pub(super) fn keep(&self, session: PoolConnection<Postgres>, (projection, generation): Generation<'_>) {
        if fastrand::u32(..ONE_IN) == 0 {
            return;
        }
        let (projection, used) = (projection.to_owned(), Instant::now());
        let kept = Kept { session, projection, generation, used };
        // By our own count: the pool's is short of one for a moment whenever a session comes back to somebody who waits,
        // and the last one kept would leave all others without.
        let most = self.for_batches();
        self.change(|all| {
            if all.len() < most {
                all.push(kept);
            }
        });
    }

    /// Gives those of a projection back to the pool; for when no batch of it will come for a while.
    pub(super) fn give_back(&self, projection: &str) {
        self.change(|kept| kept.retain(|it| it.projection != projection));
    }

    /// Gives back those that have rested for long.
    pub(super) fn tidy(&self) {
        self.change(|_| ());
    }

    fn change<T>(&self, change: impl FnOnce(&mut Vec<Kept>) -> T) -> T {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|it| it.used.elapsed() < KEPT);
        change(&mut kept)
    }

    /// Kept, or at work for anybody; may be none for a moment when it is not.
    fn in_use(&self) -> usize {
        (self.pool.size() as usize).saturating_sub(self.pool.num_idle())
    }

    /// How many may be kept: a fifth is left to those who need one for a moment.
    fn for_batches(&self) -> usize {
        let most = self.pool.options().get_max_connections() as usize;
        most - most.div_ceil(5)
    }
}
