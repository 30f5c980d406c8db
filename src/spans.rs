//! Spans, for traces: what took how long. Each stands alone, and none is in the log's lines; where nobody collects
//! traces they cost nothing. Like the log, they hold no event's data.

use tracing::field::Empty;
use tracing::{Span, info_span};

use crate::event::{Position, StreamId};

/// By which they are told from what goes into the log.
pub(crate) const TARGET: &str = "projectord::spans";

/// One batch of one generation; `to` is recorded where it was committed.
pub(crate) fn batch(projection: &str, generation: i64, after: Position) -> Span {
    info_span!(target: TARGET, parent: None, "batch", projection, generation, after = after.0, to = Empty,
        "otel.status_code" = Empty)
}

/// One batch of commits of the store, into the log; `head` is recorded where it was committed.
pub(crate) fn ingest_batch(events: usize) -> Span {
    info_span!(target: TARGET, parent: None, "ingest batch", events, added = Empty, head = Empty)
}

/// One append over HTTP; `version` is recorded where it was done.
pub(crate) fn append(stream: StreamId, events: usize) -> Span {
    info_span!(target: TARGET, parent: None, "append", %stream, events, version = Empty, "otel.status_code" = Empty)
}
