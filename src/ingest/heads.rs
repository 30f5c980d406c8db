//! Moving heads on, beside following. They are a hint that may lag: nothing waits for them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tracing::debug;

use crate::event::StreamId;
use crate::store::rethinkdb::{Head, History};

/// How many streams' heads wait at most, some 10 MB. What is beyond is left to the full pass.
const WAITING: usize = 65_536;
/// How long others are gathered after some were moved: a write in each round of following is work for the store, while
/// appends wait for it.
const GATHER: Duration = Duration::from_millis(50);

/// Heads that are to be moved, each as far as it is known to go.
#[derive(Debug, Default)]
pub(super) struct Heads {
    waiting: Mutex<HashMap<StreamId, Head>>,
    noted: Notify,
}

impl Heads {
    /// Every commit up to these is durable, as an append makes sure of what is before it.
    pub(super) fn note(&self, heads: Vec<Head>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for head in heads {
            let room = waiting.len() < WAITING;
            match waiting.get_mut(&head.stream) {
                Some(known) if known.version < head.version => *known = head,
                None if room => drop(waiting.insert(head.stream, head)),
                // Not further, or no room.
                Some(_) | None => {}
            }
        }
        self.noted.notify_one();
    }

    /// Moves those that are noted from now on. Where the store does not answer, the full pass will.
    pub(super) async fn keep_moving(&self, history: &History) -> ! {
        // Those of before may be another store's.
        drop(self.take());
        loop {
            let heads = self.take();
            if heads.is_empty() {
                self.noted.notified().await;
                continue;
            }
            if let Err(error) = history.move_heads(&heads).await {
                debug!(%error, heads = heads.len(), "heads not moved on");
            }
            tokio::time::sleep(GATHER).await;
        }
    }

    fn take(&self) -> Vec<Head> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.drain().map(|(_, head)| head).collect()
    }
}
