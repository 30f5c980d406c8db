//! What a writer hands over: events, and the commit that makes them one.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{CommitId, Limits, Refusal, StreamId, canonical, rules};

/// An event that is not stored yet.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// What happened, in the past tense by custom: `OrderCreated`. Not empty, at most 200 bytes.
    pub event_type: String,
    /// What a handler needs to know of it.
    pub data: Value,
    /// What it needs not: who, why, correlation. An empty object unless set.
    pub metadata: Value,
}

impl NewEvent {
    /// An event of this type, its payload turned to JSON.
    ///
    /// # Errors
    /// When `payload` cannot be written as JSON (a map whose keys are not text, for instance).
    pub fn new(event_type: impl Into<String>, payload: &impl Serialize) -> Result<Self, serde_json::Error> {
        Ok(Self::from_json(event_type, serde_json::to_value(payload)?))
    }

    /// An event of this type with `data` as it is.
    pub fn from_json(event_type: impl Into<String>, data: Value) -> Self {
        Self { event_type: event_type.into(), data, metadata: Value::Object(Map::new()) }
    }

    /// The same event with this metadata.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Value) -> Self {
        self.metadata = metadata;
        self
    }
}

/// The events of one append. They become durable together or not at all.
#[derive(Debug, Clone, PartialEq)]
pub struct Commit {
    /// Names this append, so that trying it again cannot store it twice.
    pub id: CommitId,
    /// What kind of aggregate the stream is, `order` for instance. Not empty, at most 200 bytes.
    pub stream_type: String,
    /// The events, in order.
    pub events: Vec<NewEvent>,
}

impl Commit {
    /// A commit with a new identifier.
    pub fn new(stream_type: impl Into<String>, events: Vec<NewEvent>) -> Self {
        Self { id: CommitId::random(), stream_type: stream_type.into(), events }
    }

    /// The same commit under the caller's identifier: a request id, a hash of the content.
    #[must_use]
    pub fn with_id(mut self, id: CommitId) -> Self {
        self.id = id;
        self
    }

    /// Checks every rule of [`Refusal`] and brings numbers into the form that every backend keeps.
    pub(crate) fn prepare(mut self, stream: StreamId, limits: &Limits) -> Result<Self, Refusal> {
        rules::check(stream, &self, limits)?;
        for event in &mut self.events {
            canonical(&mut event.data);
            canonical(&mut event.metadata);
        }
        Ok(self)
    }

    /// How many events.
    pub(crate) fn len(&self) -> u64 {
        self.events.len() as u64
    }

    /// How many bytes its events have as JSON.
    #[cfg(any(feature = "rethinkdb", feature = "postgres"))]
    pub(crate) fn bytes(&self) -> usize {
        rules::bytes(&self.events)
    }
}
