//! How often the batch that fits is halved, so that an event takes the least time. What a batch costs whatever its
//! size speaks for large ones. Against them speaks a row that changes often: until the batch is committed PostgreSQL
//! keeps every version of it, and each change has to find the last one among them.

/// The sizes that are tried: the whole, a half, and so on.
const SIZES: usize = 5;
/// One batch in so many is of the size above or below in turn, where there is one, to see whether that has become
/// better.
const LOOK: u32 = 8;
/// How much the last batch counts in what an event takes.
const NEW: f64 = 0.4;
/// A smaller size must take less than so much of the time: larger batches are less work for everybody else.
const WORTH_IT: f64 = 0.95;

/// The number of halvings, learnt from batches; or from the batches of several, taken as one.
#[derive(Debug, Clone, Default)]
pub(super) struct Halvings {
    /// Seconds that an event takes, by the number of halvings; none before it was tried.
    seconds: [Option<f64>; SIZES],
    /// How often the next batch is halved.
    next: usize,
    batches: u32,
}

impl Halvings {
    /// How often the next batch is halved.
    pub(super) fn get(&self) -> usize {
        self.next
    }

    /// A full batch, halved as often as [`get`](Self::get) said, took so long for each of its events.
    pub(super) fn took(&mut self, seconds: f64) {
        let known = &mut self.seconds[self.next];
        *known = Some(known.map_or(seconds, |known| known + NEW * (seconds - known)));
        self.batches = self.batches.wrapping_add(1);
        let best = self.best();
        let (larger, smaller) = (best.saturating_sub(1), (best + 1).min(SIZES - 1));
        self.next = match self.batches % (2 * LOOK) {
            _ if self.seconds[smaller].is_none() => smaller,
            LOOK => smaller,
            0 => larger,
            _ => best,
        };
    }

    /// The least number than which no larger one takes less, by enough.
    fn best(&self) -> usize {
        let mut best = (0, f64::INFINITY);
        for (size, seconds) in self.seconds.iter().enumerate() {
            if let Some(seconds) = seconds
                && *seconds < WORTH_IT * best.1
            {
                best = (size, *seconds);
            }
        }
        best.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where most batches come to lie, when a batch of so many events takes so many µs.
    fn settles(micros: impl Fn(f64) -> f64) -> usize {
        let mut halvings = Halvings::default();
        let mut seen = [0; SIZES];
        for batch in 0..200 {
            let size = halvings.get();
            let events = 5000.0 / f64::from(1 << size);
            // Neighbours take a part of the machine now and then.
            let noise = 1.0 + 0.03 * f64::from(batch * 7 % 5);
            halvings.took(noise * micros(events) / events / 1e6);
            if batch >= 20 {
                seen[size] += 1;
            }
        }
        let (size, batches) = seen.into_iter().enumerate().max_by_key(|(_, batches)| *batches).unwrap();
        assert!(batches >= 140, "{seen:?}");
        size
    }

    #[test]
    fn whole_batches_where_only_their_number_costs() {
        assert_eq!(settles(|events| 300.0 + 6.0 * events), 0);
        assert_eq!(settles(|events| 6.0 * events), 0);
    }

    #[test]
    fn small_ones_where_each_event_looks_through_what_those_before_it_left() {
        // The least is where the square of the number of events is 300 / 0.0012.
        assert_eq!(settles(|events| 300.0 + 6.0 * events + 0.0012 * events * events), 3);
    }

    #[test]
    fn what_has_changed_is_seen_after_some_batches() {
        let mut halvings = Halvings::default();
        for (slope, settled) in [(0.0012, 3), (0.0, 0)] {
            for _ in 0..300 {
                let events = 5000.0 / f64::from(1 << halvings.get());
                halvings.took((300.0 / events + 6.0 + slope * events) / 1e6);
            }
            assert!(halvings.get().abs_diff(settled) <= 1, "{halvings:?}");
        }
    }
}
