//! How long to wait before trying again.

use std::time::Duration;

/// Exponential backoff with full jitter, bounded, and reset by success.
///
/// Each wait is drawn between nothing and a ceiling that doubles, so that many waiters do not return at
/// the same instant ("full jitter", as the AWS architecture blog calls it).
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    first: Duration,
    most: Duration,
    ceiling: Duration,
}

impl Backoff {
    /// Waits of up to `first`, then up to twice that, and so on up to `most`.
    pub(crate) fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, ceiling: first }
    }

    /// The next wait; never shorter than a tenth of its ceiling, so that it is never a hot loop.
    pub(crate) fn next_wait(&mut self) -> Duration {
        let wait = self.ceiling.mul_f64(0.1 + 0.9 * fastrand::f64());
        self.ceiling = (self.ceiling * 2).min(self.most);
        wait
    }

    /// It worked: the next wait is short again.
    #[cfg(feature = "daemon")]
    pub(crate) fn reset(&mut self) {
        self.ceiling = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_are_never_zero() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        for ceiling in [100, 200, 400, 800, 1000, 1000] {
            let wait = backoff.next_wait();
            assert!(wait >= Duration::from_millis(ceiling / 10), "{wait:?} of {ceiling} ms");
            assert!(wait <= Duration::from_millis(ceiling), "{wait:?} of {ceiling} ms");
        }
    }
}
