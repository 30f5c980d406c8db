//! How many events to apply at once.

use std::time::Duration;

use super::halvings::Halvings;

/// A batch size that adapts: towards a time when batches succeed, and by halving when one fails, until
/// the one event that fails stands alone. What a batch costs whatever its size, a slow commit or a long way,
/// does not count: smaller ones would cost it more often. What fits is halved where an event takes less time so.
#[derive(Debug, Clone)]
pub(super) struct BatchSize {
    /// How many fit.
    events: u64,
    most: u64,
    target: Duration,
    cost: Cost,
    halvings: Halvings,
    /// How often it is halved while others catch up, too, in place of its own.
    joint: Option<usize>,
}

/// Seconds against events, as a line through the batches of late.
#[derive(Debug, Clone, Default)]
struct Cost {
    weight: f64,
    events: f64,
    seconds: f64,
    events_squared: f64,
    events_seconds: f64,
    /// What a batch of no events would take, as it was last known.
    fixed: f64,
}

impl Cost {
    /// How much the last batches count beside the one before them.
    const FADE: f64 = 0.6;

    /// Adds a batch; the part of its seconds that are there whatever its size.
    fn add(&mut self, events: f64, seconds: f64) -> f64 {
        let faded = |sum: f64, now: f64| sum * Self::FADE + now;
        self.weight = faded(self.weight, 1.0);
        self.events = faded(self.events, events);
        self.seconds = faded(self.seconds, seconds);
        self.events_squared = faded(self.events_squared, events * events);
        self.events_seconds = faded(self.events_seconds, events * seconds);
        // Batches of one size say nothing about it.
        let spread = self.weight * self.events_squared - self.events * self.events;
        if spread > 0.02 * self.events * self.events {
            let slope = (self.weight * self.events_seconds - self.events * self.seconds) / spread;
            self.fixed = ((self.seconds - slope.max(0.0) * self.events) / self.weight).max(0.0);
        }
        self.fixed.min(seconds)
    }
}

impl BatchSize {
    pub(super) fn new(most: u32, target: Duration) -> Self {
        let most = u64::from(most.max(1));
        let (cost, halvings) = (Cost::default(), Halvings::default());
        Self { events: most.min(500), most, target, cost, halvings, joint: None }
    }

    pub(super) fn get(&self) -> u64 {
        (self.events >> self.joint.unwrap_or(self.halvings.get())).max(1)
    }

    /// The next batch is halved as often as suits all who catch up, where several do.
    pub(super) fn halve_jointly(&mut self, joint: Option<usize>) {
        self.joint = joint;
    }

    /// A batch of `events` took `time`. Whether it was as large as it may be, and goes on so.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate"
    )]
    pub(super) fn took(&mut self, events: u64, time: Duration) -> bool {
        let seconds = time.as_secs_f64();
        let (was_full, fitted) = (events == self.get(), self.events);
        // Who comes when others have agreed on small ones has not found out yet how many would fit.
        let grows = was_full && self.joint.is_some() && time < self.target;
        // A batch that was not full says nothing about it.
        if events >= self.events || grows || time >= self.target {
            let of_the_events = seconds - self.cost.add(events as f64, seconds);
            let fitting = events as f64 * self.target.as_secs_f64() / of_the_events.max(1e-6);
            let near = if grows { fitted } else { events } as f64;
            self.events = (fitting.clamp(near / 2.0, near * 2.0) as u64).clamp(1, self.most);
        }
        let resized = self.events.abs_diff(fitted) > fitted / 5;
        if resized {
            // Its halves have little to do with those before.
            self.halvings = Halvings::default();
        } else if was_full && self.joint.is_none() {
            self.halvings.took(seconds / events as f64);
        }
        was_full && !resized
    }

    /// A batch of `events` failed in a handler. Whether that was one event, and so the one that fails.
    pub(super) fn failed(&mut self, events: u64) -> bool {
        self.events = (events / 2).max(1);
        self.halvings = Halvings::default();
        events <= 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_approaches_the_target_and_stays_within_its_bounds() {
        let mut size = BatchSize::new(10_000, Duration::from_millis(100));
        for _ in 0..20 {
            // 20 µs an event: 5,000 fit.
            let events = size.get();
            size.took(events, Duration::from_micros(20 * events));
        }
        assert!((4_000..=6_000).contains(&size.get()), "{}", size.get());
        size.took(3, Duration::from_millis(1));
        assert!(size.get() >= 4_000, "a short batch does not shrink it");
        for _ in 0..20 {
            size.took(size.get(), Duration::from_secs(100 * size.get()));
        }
        assert!((1..10).contains(&size.events), "{size:?}");
    }

    #[test]
    fn what_every_batch_costs_does_not_make_it_smaller() {
        let mut size = BatchSize::new(5_000, Duration::from_millis(250));
        for _ in 0..20 {
            let events = size.get();
            size.took(events, Duration::from_millis(500) + Duration::from_micros(20 * events));
        }
        assert!(size.events > 4_000, "{size:?}");
        // The way is short again, and the handlers are slow: 1 ms an event.
        for _ in 0..20 {
            let events = size.get();
            size.took(events, Duration::from_millis(events));
        }
        assert!((150..=350).contains(&size.events), "{size:?}");
    }

    #[test]
    fn what_others_have_agreed_on_is_a_part_of_what_fits() {
        for micros in [20, 200] {
            let mut size = BatchSize::new(5_000, Duration::from_millis(250));
            for _ in 0..20 {
                size.halve_jointly(Some(3));
                let events = size.get();
                size.took(events, Duration::from_micros(300 + micros * events));
            }
            let fits = 250_000 / micros.max(50);
            assert!((fits * 9 / 10..=fits * 11 / 10).contains(&size.events), "{micros}: {size:?}");
            assert_eq!(size.get(), size.events / 8);
            assert!(size.took(size.get(), Duration::from_micros(300 + micros * size.get())), "settled");
            assert!(!size.took(1, Duration::from_micros(300)), "not full");
            size.halve_jointly(None);
            assert_eq!(size.get(), size.events);
        }
    }

    #[test]
    fn it_finds_the_size_at_which_an_event_takes_least() {
        // 0.3 ms for each batch, and the more for each event the more were before it: least at 350 events.
        let takes = |events: u64| Duration::from_nanos(300_000 + 6_000 * events + 12 * events * events / 5);
        let mut size = BatchSize::new(5_000, Duration::from_millis(250));
        let mut small = 0;
        for _ in 0..100 {
            let events = size.get();
            size.took(events, takes(events));
            small += u32::from(events <= 1_250);
        }
        assert!(small >= 80, "{small}: {size:?}");
        // One that was held up is soon forgotten.
        let events = size.get();
        size.took(events, Duration::from_secs(1));
        for _ in 0..20 {
            let events = size.get();
            size.took(events, takes(events));
        }
        assert!(size.events > 4_000 && size.get() >= 150, "{size:?}");
        // And where one fails, what is halved is what was run.
        let events = size.get();
        assert!(!size.failed(events));
        assert_eq!(size.get(), events / 2);
    }

    #[test]
    fn halving_finds_the_one_event_that_fails() {
        for poison in [1_u64, 2, 77, 4_999, 5_000] {
            let mut size = BatchSize::new(10_000, Duration::from_millis(100));
            size.events = 5_000;
            let (mut checkpoint, mut tries) = (0, 0);
            loop {
                tries += 1;
                let upto = (checkpoint + size.get()).min(5_000);
                if upto < poison {
                    checkpoint = upto;
                } else if size.failed(upto - checkpoint) {
                    break;
                }
            }
            assert_eq!(checkpoint, poison - 1);
            assert!(tries < 40, "{tries} tries for {poison}");
        }
    }
}
