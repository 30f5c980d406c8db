//! What a store gives back.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{CommitId, StreamId, Version};

/// A stored event.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// The stream that it belongs to.
    pub stream_id: StreamId,
    /// What kind of aggregate the stream is.
    pub stream_type: String,
    /// Its place in the stream.
    pub version: Version,
    /// What happened.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The payload, equal as JSON to what was appended.
    pub data: Value,
    /// The metadata, equal as JSON to what was appended.
    pub metadata: Value,
    /// The append that it came with.
    pub commit_id: CommitId,
    /// When the store took it, by the store's clock. Says nothing about order.
    pub recorded_at: DateTime<Utc>,
}

impl Event {
    /// The payload as a type of the caller's.
    ///
    /// # Errors
    /// When the payload has not the shape of `T`.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        T::deserialize(&self.data)
    }
}
