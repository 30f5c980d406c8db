//! What is counted where it happens: numbers that only grow, kept in this process, for whoever says them.
//! Counting takes no lock: whoever counts has its part in hand.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A number that grows.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// One more.
    pub(crate) fn one(&self) {
        self.add(1);
    }

    /// So many more.
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// How many by now.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The upper bounds of a histogram's buckets, in seconds: from what a commit takes at best to the longest batch.
pub(crate) const BOUNDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

/// How long something took, by buckets.
#[derive(Debug, Default)]
pub(crate) struct Times {
    /// One for each bound, and one for what took longer.
    buckets: [Count; BOUNDS.len() + 1],
    microseconds: Count,
}

impl Times {
    /// It took so long once more.
    pub(crate) fn took(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        self.microseconds.add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
        self.buckets[bucket].one();
    }

    /// How many took at most each bound, and how many in all.
    pub(crate) fn up_to(&self) -> ([u64; BOUNDS.len()], u64) {
        let mut sum = 0;
        let up_to = std::array::from_fn(|at| {
            sum += self.buckets[at].get();
            sum
        });
        (up_to, sum + self.buckets[BOUNDS.len()].get())
    }

    /// All of them together, in seconds.
    pub(crate) fn sum(&self) -> f64 {
        Duration::from_micros(self.microseconds.get()).as_secs_f64()
    }
}

/// Errors of a projection, by what is done about them; see `postgres::Class`.
#[derive(Debug, Default)]
pub(crate) struct Errors {
    /// PostgreSQL did not do its part.
    pub(crate) away: Count,
    /// Two transactions got into each other's way.
    pub(crate) again: Count,
    /// Somebody else moved the checkpoint.
    pub(crate) fenced: Count,
    /// A handler, or a rule of the data, refused.
    pub(crate) handler: Count,
}

/// What a projection's batches came to, of all its generations.
#[derive(Debug, Default)]
pub(crate) struct ProjectionMeasure {
    /// Batches that were committed.
    pub(crate) batches: Count,
    /// Events that checkpoints passed.
    pub(crate) events: Count,
    /// Batches that were sent once more, or made smaller.
    pub(crate) retries: Count,
    pub(crate) errors: Errors,
    /// What the batches that were committed took.
    pub(crate) apply: Times,
}

/// What ingest came to.
#[derive(Debug, Default)]
pub(crate) struct IngestMeasure {
    /// Transactions that added to the log.
    pub(crate) batches: Count,
    /// Events that were added.
    pub(crate) events: Count,
    /// Feeds that were opened: once at the start, and after each loss.
    pub(crate) feeds: Count,
    /// Feeds that were lost.
    pub(crate) feed_losses: Count,
    /// Sessions that ended because a server was away.
    pub(crate) away: Count,
    /// Looks at a store that the log cannot go on from.
    pub(crate) refused: Count,
    /// What adding to the log took.
    pub(crate) add: Times,
}

/// What appends over HTTP came to.
#[derive(Debug, Default)]
pub(crate) struct AppendMeasure {
    pub(crate) appended: Count,
    /// The commit was there already.
    pub(crate) repeated: Count,
    pub(crate) conflict: Count,
    /// The commit broke a rule.
    pub(crate) refused: Count,
    pub(crate) unavailable: Count,
    /// What those that were not refused took.
    pub(crate) time: Times,
}

/// What HTTP came to.
#[derive(Debug, Default)]
pub(crate) struct HttpMeasure {
    pub(crate) accepted: Count,
    /// Connections that are over.
    pub(crate) closed: Count,
    /// Connections beyond those that there is room for.
    pub(crate) too_many: Count,
    /// Answers, by the first digit of their status: from 1 to 5.
    pub(crate) answers: [Count; 5],
}

/// Everything that one daemon counts. Clones are of the same numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Measures(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    projections: Mutex<BTreeMap<String, Arc<ProjectionMeasure>>>,
    ingest: Arc<IngestMeasure>,
    append: Arc<AppendMeasure>,
    http: Arc<HttpMeasure>,
}

impl Measures {
    /// The part of one projection; taken once, by its projector, and kept.
    pub(crate) fn projection(&self, name: &str) -> Arc<ProjectionMeasure> {
        let mut projections = self.0.projections.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(projections.entry(name.to_owned()).or_default())
    }

    /// The parts of all projections that have run in this process, by name.
    pub(crate) fn projections(&self) -> BTreeMap<String, Arc<ProjectionMeasure>> {
        self.0.projections.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn ingest(&self) -> Arc<IngestMeasure> {
        Arc::clone(&self.0.ingest)
    }

    pub(crate) fn append(&self) -> Arc<AppendMeasure> {
        Arc::clone(&self.0.append)
    }

    pub(crate) fn http(&self) -> Arc<HttpMeasure> {
        Arc::clone(&self.0.http)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_each_time_once_and_buckets_hold_what_is_below() {
        let times = Times::default();
        for milliseconds in [0, 1, 2, 700, 120_000] {
            times.took(Duration::from_millis(milliseconds));
        }
        let (up_to, all) = times.up_to();
        assert_eq!((up_to[0], up_to[1], up_to[8], up_to[9], up_to[13], all), (2, 3, 3, 4, 4, 5));
        assert!((times.sum() - 120.703).abs() < 1e-9, "{}", times.sum());
    }

    #[test]
    fn parts_of_one_name_are_the_same() {
        let measures = Measures::default();
        measures.projection("orders").events.add(2);
        measures.clone().projection("orders").events.one();
        assert_eq!(measures.projections()["orders"].events.get(), 3);
    }
}
