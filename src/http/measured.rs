//! A store whose appends are counted, and are spans of a trace.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use tracing::Instrument;

use crate::event::{Commit, StreamId, Version};
use crate::measure::AppendMeasure;
use crate::spans;
use crate::store::{AppendError, Appended, EventStore, EventStream, ExpectedVersion, LoadError};

/// The store, and where its appends are counted.
#[derive(Debug)]
pub(super) struct Measured<S> {
    store: S,
    measure: Arc<AppendMeasure>,
}

impl<S> Measured<S> {
    pub(super) fn new(store: S, measure: Arc<AppendMeasure>) -> Self {
        Self { store, measure }
    }
}

#[async_trait]
impl<S: EventStore> EventStore for Measured<S> {
    async fn append_to_stream(
        &self,
        stream: StreamId,
        expected: ExpectedVersion,
        commit: Commit,
    ) -> Result<Appended, AppendError> {
        let begun = Instant::now();
        let span = spans::append(stream, commit.events.len());
        let appended = self.store.append_to_stream(stream, expected, commit).instrument(span.clone()).await;
        match &appended {
            Ok(appended) => drop(span.record("version", appended.version.0)),
            Err(_) => drop(span.record("otel.status_code", "ERROR")),
        }
        let measure = &self.measure;
        match &appended {
            Ok(Appended { repeated: true, .. }) => measure.repeated.one(),
            Ok(Appended { repeated: false, .. }) => {
                measure.appended.one();
                measure.time.took(begun.elapsed());
            }
            Err(AppendError::Conflict { .. }) => measure.conflict.one(),
            Err(AppendError::TooLarge(_) | AppendError::Invalid(_)) => measure.refused.one(),
            Err(AppendError::Unavailable { .. }) => measure.unavailable.one(),
        }
        appended
    }

    async fn load_stream(&self, stream: StreamId, from: Version) -> Result<EventStream, LoadError> {
        self.store.load_stream(stream, from).await
    }

    async fn load_page(
        &self,
        stream: StreamId,
        from: Version,
        most: NonZeroU32,
    ) -> Result<EventStream, LoadError> {
        self.store.load_page(stream, from, most).await
    }
}
