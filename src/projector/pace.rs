//! Live projections come first: while one of this daemon's is late, builds take a part of the time only.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::shutdown::Shutdown;

/// How long builds hold back after a live projection was late.
const HOLD_BACK: Duration = Duration::from_secs(2);
/// The longest rest after one batch, so that a rebuild always comes to its end.
const LONGEST: Duration = Duration::from_secs(2);

/// Shared by all projectors of a daemon.
#[derive(Debug, Clone)]
pub struct Pace {
    begun: Instant,
    /// Until when builds hold back, in milliseconds since `begun`.
    until: Arc<AtomicU64>,
    max_share: f64,
}

impl Pace {
    /// `max_share` is the part of the time that a build may take while a live projection is late; above 0, at
    /// most 1.
    pub fn new(max_share: f64) -> Self {
        Self { begun: Instant::now(), until: Arc::default(), max_share }
    }

    /// A live projection is late.
    pub(super) fn late(&self) {
        let until = millis(self.begun.elapsed() + HOLD_BACK);
        self.until.fetch_max(until, Ordering::Relaxed);
    }

    /// After a batch of a build that took so long.
    pub(super) async fn rest(&self, worked: Duration, shutdown: &mut Shutdown) {
        if millis(self.begun.elapsed()) < self.until.load(Ordering::Relaxed) {
            shutdown.within(self.rest_after(worked)).await;
        }
    }

    fn rest_after(&self, worked: Duration) -> Duration {
        worked.mul_f64((1.0 - self.max_share) / self.max_share).min(LONGEST)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shutdown::Trigger;

    #[tokio::test]
    async fn a_build_rests_only_while_something_live_is_late() {
        let pace = Pace::new(0.25);
        assert_eq!(pace.rest_after(Duration::from_millis(100)), Duration::from_millis(300));
        assert_eq!(Pace::new(1.0).rest_after(Duration::from_secs(1)), Duration::ZERO);
        let trigger = Trigger::new();
        let begun = Instant::now();
        pace.rest(Duration::from_secs(60), &mut trigger.subscribe()).await;
        assert!(begun.elapsed() < Duration::from_secs(1), "nothing is late");
        pace.late();
        pace.rest(Duration::from_millis(50), &mut trigger.subscribe()).await;
        assert!(begun.elapsed() >= Duration::from_millis(150));
    }
}
