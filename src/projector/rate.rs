//! How fast a projector is, said now and then.

use std::time::{Duration, Instant};

/// How often the rate is written down while events are applied.
const REPORT: Duration = Duration::from_secs(1);

/// Events per second since it was last taken.
#[derive(Debug)]
pub(super) struct Rate {
    since: Instant,
    events: u64,
    said: bool,
}

impl Default for Rate {
    fn default() -> Self {
        Self { since: Instant::now(), events: 0, said: false }
    }
}

impl Rate {
    /// Events were applied.
    pub(super) fn add(&mut self, events: u64) {
        self.events += events;
    }

    /// Something to say: events, or that there are none any more.
    pub(super) fn due(&self) -> bool {
        self.since.elapsed() >= REPORT && (self.events > 0 || self.said)
    }

    /// The rate until now; counting begins anew.
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    pub(super) fn take(&mut self) -> f64 {
        let rate = self.events as f64 / self.since.elapsed().as_secs_f64().max(0.001);
        *self = Self { said: self.events > 0, ..Self::default() };
        rate
    }
}
