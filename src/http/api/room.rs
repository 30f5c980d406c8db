//! How much may go on at once. What is asked for beyond that is refused at once and may be asked for again.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::Problem;

/// Answers that go on for ever, and those that wait.
const STREAMS: usize = 64;
/// Streams that are loaded, each as a whole.
const LOADS: usize = 4;
/// Plans and comparisons, which take as long as they take.
const HEAVY: usize = 1;

/// The room that there is.
#[derive(Debug, Clone)]
pub(super) struct Room {
    streams: Arc<Semaphore>,
    loads: Arc<Semaphore>,
    heavy: Arc<Semaphore>,
}

/// A place in it, until it is dropped.
#[derive(Debug)]
pub(super) struct Place(#[expect(dead_code, reason = "given back when it is dropped")] OwnedSemaphorePermit);

impl Room {
    pub(super) fn new() -> Self {
        let of = |places| Arc::new(Semaphore::new(places));
        Self { streams: of(STREAMS), loads: of(LOADS), heavy: of(HEAVY) }
    }

    /// For an answer that goes on, or waits.
    pub(super) fn for_stream(&self) -> Result<Place, Problem> {
        take(&self.streams, "too many live streams and waiting requests at once")
    }

    /// For loading a stream.
    pub(super) fn for_load(&self) -> Result<Place, Problem> {
        take(&self.loads, "too many streams are being loaded at once")
    }

    /// For a plan or a comparison.
    pub(super) fn for_heavy(&self) -> Result<Place, Problem> {
        take(&self.heavy, "a plan or a comparison is under way, and there is one at a time")
    }
}

fn take(places: &Arc<Semaphore>, full: &str) -> Result<Place, Problem> {
    Arc::clone(places).try_acquire_owned().map(Place).map_err(|_| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, format!("{full}; try again"))
            .retry_after(Duration::from_secs(2))
    })
}
