//! Sessions that the batches of one projection run in, kept from batch to batch. In a session that is new to them
//! handlers must be compiled and their statements planned, which takes as long as some thousand events; and the
//! pool, left to itself, gives out the session that has rested longest.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres};

/// One that has rested longer is not used again before the pool has asked whether it is still there.
const RESTED: Duration = Duration::from_secs(1);

/// Shared by all that works for one projection: whoever goes on with a generation that was swapped in finds the
/// session that built it.
#[derive(Debug, Clone)]
pub(super) struct Sessions {
    pool: PgPool,
    kept: Arc<Mutex<Vec<Kept>>>,
}

#[derive(Debug)]
struct Kept {
    session: PoolConnection<Postgres>,
    generation: i64,
    used: Instant,
}

impl Sessions {
    pub(super) fn new(pool: PgPool) -> Self {
        Self { pool, kept: Arc::default() }
    }

    /// One that has worked on this generation, or one of the pool's.
    pub(super) async fn take(&self, generation: i64) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        let kept = self.change(|kept| {
            let at = kept.iter().rposition(|it| it.generation == generation)?;
            Some(kept.swap_remove(at))
        });
        match kept {
            Some(kept) => Ok(kept.session),
            None => self.pool.acquire().await,
        }
    }

    /// Keeps it for the next batch, where enough are left for others.
    pub(super) fn keep(&self, session: PoolConnection<Postgres>, generation: i64) {
        let in_use = (self.pool.size() as usize).saturating_sub(self.pool.num_idle());
        if in_use <= self.pool.options().get_max_connections() as usize / 2 {
            self.change(|kept| kept.push(Kept { session, generation, used: Instant::now() }));
        }
    }

    /// Gives all back to the pool; for when no batch will come for a while.
    pub(super) fn clear(&self) {
        self.change(Vec::clear);
    }

    fn change<T>(&self, change: impl FnOnce(&mut Vec<Kept>) -> T) -> T {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|it| it.used.elapsed() < RESTED);
        change(&mut kept)
    }
}
