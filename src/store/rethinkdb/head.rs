//! The head of a stream, as `aggregates` has it: a hint that may lag, and never runs ahead.

use crate::event::{StreamId, Version};

/// How far a stream has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The stream.
    pub stream: StreamId,
    /// What kind of aggregate it is.
    pub stream_type: String,
    /// Its version; every commit up to here is durable.
    pub version: Version,
}
