//! What was, every few seconds, for a quarter of an hour: kept in memory, for the dashboard's curves.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use chrono::Utc;
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Shared;

/// How often something is kept.
const EVERY: Duration = Duration::from_secs(5);
/// How many are kept.
const MOST: usize = 180;

/// Unix time in seconds, the log's head or a lag in events, and events per second.
type Sample = (i64, i64, f64);

/// What is kept.
#[derive(Debug, Default)]
pub(super) struct History(Mutex<Kept>);

#[derive(Debug, Clone, Default)]
struct Kept {
    ingest: VecDeque<Sample>,
    projections: BTreeMap<String, VecDeque<Sample>>,
    /// The head that was seen last, and when by a clock that nobody sets.
    last: Option<(Instant, i64)>,
}

/// The answer.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    every_seconds: u64,
    ingest: VecDeque<Sample>,
    projections: BTreeMap<String, VecDeque<Sample>>,
}

/// `GET /api/v1/history`
pub(super) async fn history(State(shared): State<Arc<Shared>>) -> Json<Answer> {
    let Kept { ingest, projections, .. } = shared.history.kept().clone();
    Json(Answer { every_seconds: EVERY.as_secs(), ingest, projections })
}

/// Keeps a sample every few seconds, for ever. While the database is away there is a gap.
pub(super) async fn record(shared: Arc<Shared>) {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if let Ok(status) = shared.status.read().await {
            let lags =
                status.projections.iter().map(|it| (it.name.as_str(), it.lag_events, it.events_per_second));
            shared.history.keep(
                Utc::now().timestamp(),
                Instant::now(),
                status.log.head,
                &lags.collect::<Vec<_>>(),
            );
        }
    }
}

impl History {
    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log's head, and each projection's lag and rate.
    fn keep(&self, time: i64, now: Instant, head: i64, lags: &[(&str, i64, f64)]) {
        let mut kept = self.kept();
        let rate = match kept.last.replace((now, head)) {
            Some((before, last)) => per_second(head - last, now - before),
            None => 0.0,
        };
        push(&mut kept.ingest, (time, head, rate));
        // Of a projection that is gone, what was is no longer of use.
        kept.projections.retain(|name, _| lags.iter().any(|(it, ..)| it == name));
        for (name, lag, rate) in lags {
            push(kept.projections.entry((*name).to_owned()).or_default(), (time, *lag, *rate));
        }
    }
}

fn push(samples: &mut VecDeque<Sample>, sample: Sample) {
    if samples.len() == MOST {
        samples.pop_front();
    }
    samples.push_back(sample);
}

#[expect(clippy::cast_precision_loss, reason = "a rate")]
fn per_second(events: i64, time: Duration) -> f64 {
    events as f64 / time.as_secs_f64().max(0.001)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_an_hour_is_kept_and_no_more() {
        let (history, begun) = (History::default(), Instant::now());
        for at in 0..1000_i64 {
            let lags: &[(&str, i64, f64)] = &[("orders", 3, 2.0), ("gone", 4, 0.0)];
            let lags = if at < 900 { lags } else { &lags[..1] };
            history.keep(at * 5, begun + EVERY * u32::try_from(at).unwrap(), at * 50, lags);
        }
        let kept = history.kept();
        assert_eq!((kept.ingest.len(), kept.projections["orders"].len()), (MOST, MOST));
        assert_eq!(EVERY * u32::try_from(MOST).unwrap(), Duration::from_secs(15 * 60));
        assert_eq!(kept.ingest.back(), Some(&(4995, 49_950, 10.0)));
        assert_eq!(kept.projections["orders"].back(), Some(&(4995, 3, 2.0)));
        assert!(!kept.projections.contains_key("gone"));
    }
}
