//! How often batches are halved while several generations catch up at once. As long as a batch is open, PostgreSQL keeps
//! every version of a row that anybody replaces, so that what is large for one is slow for the others; and whoever tried
//! smaller ones alone would gain nothing. So they try together, and what counts is the events of all.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::halvings::Halvings;
use super::sessions::Generation;

/// How long one number of halvings is tried at least,
const WINDOW: Duration = Duration::from_millis(250);
/// and for how many batches for each generation that there is, in all: the first were begun before.
const BATCHES: usize = 4;
/// After so long without a full batch, or with those of one generation only, nothing is known any more.
const PAUSE: Duration = Duration::from_secs(5);

/// Shared by all projectors of a daemon.
#[derive(Debug, Clone, Default)]
pub(super) struct Joint {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    window: Option<Window>,
    /// While there are several.
    halvings: Option<Halvings>,
    /// When there last were.
    several: Option<Instant>,
}

#[derive(Debug)]
struct Window {
    begun: Instant,
    last: Instant,
    generations: HashSet<(String, i64)>,
    batches: usize,
    events: u64,
}

impl Joint {
    /// How often the next batch is halved; none where that is for each to find by itself.
    pub(super) fn halvings(&self) -> Option<usize> {
        self.inner().halvings.as_ref().map(Halvings::get)
    }

    /// A batch of this generation is committed, and was as large as it may be; one whose size is still growing does not
    /// count, or the first number of halvings would seem slow.
    pub(super) fn full(&self, of: Generation<'_>, events: u64) {
        self.inner().full(of, events, Instant::now());
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    fn full(&mut self, (projection, generation): Generation<'_>, events: u64, now: Instant) {
        if self.window.as_ref().is_some_and(|window| now - window.last > PAUSE) {
            *self = Self::default();
        }
        let window = self.window.get_or_insert_with(|| Window::at(now));
        window.last = now;
        window.generations.insert((projection.to_owned(), generation));
        window.batches += 1;
        window.events += events;
        let (time, generations) = (now - window.begun, window.generations.len());
        if time < WINDOW || window.batches < BATCHES * generations {
            return;
        }
        if generations > 1 {
            self.several = Some(now);
            self.halvings.get_or_insert_default().took(time.as_secs_f64() / window.events as f64);
        } else if self.several.is_none_or(|several| now - several > PAUSE) {
            // One may have held back for a moment: a vacuum, a rest.
            self.halvings = None;
        }
        self.window = Some(Window::at(now));
    }
}

impl Window {
    fn at(now: Instant) -> Self {
        Self { begun: now, last: now, generations: HashSet::new(), batches: 0, events: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What all have settled on when `generations` in turn have batches of 5,000 events, halved as they say, whose events
    /// take so many µs each.
    fn settles(
        inner: &mut Inner,
        now: &mut Instant,
        generations: i64,
        micros: impl Fn(u64) -> f64,
    ) -> Option<usize> {
        for batch in 0..20_000 {
            let events = 5_000 >> inner.halvings.as_ref().map_or(0, Halvings::get);
            *now += Duration::from_secs_f64(micros(events) * events as f64 / 1e6);
            inner.full(("counter", batch % generations), events, *now);
        }
        inner.halvings.as_ref().map(Halvings::get)
    }

    #[test]
    fn several_find_together_what_suits_all() {
        let (mut inner, mut now) = (Inner::default(), Instant::now());
        assert_eq!(settles(&mut inner, &mut now, 1, |_| 5.0), None, "alone");
        let old_versions = |events: u64| 6.0 + events as f64 / 500.0;
        let small = settles(&mut inner, &mut now, 2, old_versions).expect("together");
        assert!(small >= 3, "{small}");
        let whole =
            settles(&mut inner, &mut now, 10, |events| 6.0 + 300.0 / events as f64).expect("together");
        assert!(whole <= 1, "{whole}");
        // One of them is held up for a moment.
        for _ in 0..20 {
            now += WINDOW / 5;
            inner.full(("counter", 1), 5_000, now);
        }
        assert!(inner.halvings.is_some());
        assert_eq!(settles(&mut inner, &mut now, 1, old_versions), None, "alone again");
    }

    #[test]
    fn a_pause_says_nothing_about_batches() {
        let (mut inner, mut now) = (Inner::default(), Instant::now());
        settles(&mut inner, &mut now, 2, |_| 5.0);
        now += Duration::from_secs(3600);
        inner.full(("counter", 1), 5_000, now);
        assert!(inner.halvings.is_none());
    }
}
