//! The sweep: whether all that was recorded lately is in the log. Commits are counted on both sides, which is a tenth
//! of the work of reading their keys; where the counts differ, keys say which are missing.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};

use super::compare::{Found, Missing, YOUNG};
use super::error::IngestError;
use super::run::Ingest;
use crate::event::Position;

/// A log of so many events is counted as a whole.
const SHORT: u64 = 10_000;

/// Where the log's head was, at times of the store's clock. Only a hint at which of its events may have been recorded
/// since: where that leaves some out, fewer are counted, and keys are compared.
#[derive(Debug, Default)]
pub(super) struct Marks(VecDeque<(DateTime<Utc>, Position)>);

impl Marks {
    /// The head was here, before the clock said this.
    fn mark(&mut self, head: Position, now: DateTime<Utc>) {
        // Of a clock that was put back since.
        while self.0.back().is_some_and(|(marked, _)| *marked > now) {
            self.0.pop_back();
        }
        self.0.push_back((now, head));
    }

    /// After which position to look for what was recorded from then on, as far as is known. Forgets what is older.
    fn before(&mut self, time: DateTime<Utc>) -> Option<Position> {
        while self.0.get(1).is_some_and(|(marked, _)| *marked <= time) {
            self.0.pop_front();
        }
        self.0.front().filter(|(marked, _)| *marked <= time).map(|(_, head)| *head)
    }
}

impl Ingest {
    /// Compares what was recorded lately.
    pub(super) async fn sweep(&self, marks: &mut Marks) -> Result<Missing, IngestError> {
        let head = self.log.head().await?;
        let now = self.history.now().await?;
        let window = TimeDelta::from_std(self.config.sweep_window).unwrap_or(TimeDelta::MAX);
        let (from, to) = (now - window, now - YOUNG);
        marks.mark(head, now);
        let after = marks.before(from).or((head.0 <= SHORT).then_some(Position::ZERO));
        if let Some(after) = after {
            // The log first: it has nothing that the store has not, so where the store has as many, they are the same.
            let logged = self.log.commits_recorded_between(after, from, to).await?;
            if logged == self.history.count_between(from, to, None).await? {
                return Ok(Missing::default());
            }
        }
        let keys = self.history.keys_recorded_between(from, to).await?;
        self.missing(&keys, Found::Lately).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_mark_that_is_old_enough_counts() {
        let at = |second| DateTime::from_timestamp(second, 0).unwrap();
        let mut marks = Marks::default();
        assert_eq!(marks.before(at(100)), None);
        for second in 10..20 {
            marks.mark(Position(u64::try_from(second).unwrap() * 100), at(second));
        }
        assert_eq!(marks.before(at(9)), None);
        assert_eq!(marks.before(at(10)), Some(Position(1000)));
        assert_eq!(marks.before(at(15)), Some(Position(1500)));
        assert_eq!(marks.0.len(), 5, "those of before are forgotten");
        assert_eq!(marks.before(at(99)), Some(Position(1900)));
        marks.mark(Position(2000), at(12));
        assert_eq!(marks.before(at(99)), Some(Position(2000)), "the clock was put back");
    }
}
