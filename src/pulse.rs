//! Whether the daemon's main runtime still runs what it is given: a task on it beats, and others, on threads of
//! their own, look when it last did. No database is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::shutdown::Shutdown;

/// How often it beats.
const BEAT: Duration = Duration::from_secs(1);
/// Without a beat for this long, the runtime hangs.
const ALIVE: Duration = Duration::from_secs(30);

/// When the main runtime last beat. Clones are of the same pulse.
#[derive(Debug, Clone)]
pub(crate) struct Pulse {
    begun: Instant,
    /// The last beat, in milliseconds since then.
    last: Arc<AtomicU64>,
}

impl Pulse {
    /// One that beats for the first time now.
    pub(crate) fn new() -> Self {
        Self { begun: Instant::now(), last: Arc::default() }
    }

    /// When it began.
    pub(crate) fn begun(&self) -> Instant {
        self.begun
    }

    /// How long ago it last beat.
    pub(crate) fn age(&self) -> Duration {
        self.begun.elapsed().saturating_sub(Duration::from_millis(self.last.load(Ordering::Relaxed)))
    }

    /// Whether it last beat less than 30 s ago.
    pub(crate) fn is_alive(&self) -> bool {
        self.age() < ALIVE
    }

    /// Beats until it is told to stop.
    pub(crate) async fn beat(self, mut shutdown: Shutdown) {
        while !shutdown.within(BEAT).await {
            self.beat_once();
        }
    }

    /// A beat, of something else than a task that only beats.
    pub(crate) fn beat_once(&self) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shutdown::Trigger;

    #[tokio::test]
    async fn a_pulse_that_does_not_beat_grows_old_and_a_beat_makes_it_young() {
        let before = Instant::now().checked_sub(ALIVE * 2).unwrap();
        let pulse = Pulse { begun: before, last: Arc::default() };
        assert!(pulse.age() >= ALIVE * 2 && !pulse.is_alive());
        let shutdown = Trigger::new();
        let beating = tokio::spawn(pulse.clone().beat(shutdown.subscribe()));
        let alive = async {
            while !pulse.is_alive() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), alive).await.unwrap();
        assert!(pulse.age() < ALIVE);
        shutdown.request();
        beating.await.unwrap();
    }
}
