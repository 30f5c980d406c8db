//! What the database says, asked for at most once a second however many want to know it.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::config::Store;
use crate::control::{Control, Status};

/// For how long an answer is good.
const GOOD: Duration = Duration::from_secs(1);
/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(2);

type Answer = Result<Arc<Status>, String>;

/// The latest status. Whoever asks while it is being read waits for the same answer.
#[derive(Debug)]
pub(super) struct Latest {
    /// A connection of its own: what takes long elsewhere must not make the database look away.
    control: Control,
    store: Store,
    answer: Mutex<Option<(Instant, Answer)>>,
}

impl Latest {
    /// From the database that `pool` reaches.
    pub(super) fn new(pool: PgPool, store: Store) -> Self {
        Self { control: Control::new(pool, "http"), store, answer: Mutex::default() }
    }

    /// What `projectord status` says, at most a second old; or why not.
    pub(super) async fn read(&self) -> Answer {
        let mut answer = self.answer.lock().await;
        if let Some((at, answer)) = &*answer
            && at.elapsed() < GOOD
        {
            return answer.clone();
        }
        let read = match timeout(PATIENCE, self.control.status(&self.store)).await {
            Ok(Ok(status)) => Ok(Arc::new(status)),
            Ok(Err(error)) => Err(format!("PostgreSQL: {error}")),
            Err(_) => Err(format!("PostgreSQL does not answer within {PATIENCE:?}")),
        };
        *answer = Some((Instant::now(), read.clone()));
        read
    }
}
