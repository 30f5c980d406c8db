//! The events that a test gives: a log of their own, with versions and positions counted.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::event::{Commit, Limits, NewEvent, Refusal, StreamId};
use crate::log::LogEvent;

/// Under which the labels of streams become UUIDs.
const NAMESPACE: Uuid = Uuid::from_u128(0x2f7d_9a1e_0c4b_5d38_8e61_b3a5_47c2_90d4);
/// What a stream is whose type nobody says.
const STREAM_TYPE: &str = "stream";

/// An event that a test gives.
#[derive(Debug, Clone, PartialEq)]
pub struct GivenEvent {
    /// The stream's UUID, or a label that stands for one.
    pub stream: String,
    /// What kind of aggregate the stream is; where absent, as in the stream's event before it.
    pub stream_type: Option<String>,
    /// What happened.
    pub event_type: String,
    /// The payload.
    pub data: Value,
    /// The metadata; where absent, an empty object.
    pub metadata: Option<Value>,
    /// When the store took it; where absent, a second after the event before it.
    pub recorded_at: Option<DateTime<Utc>>,
}

/// The events of a test, in order: the log that it is about.
#[derive(Debug, Clone, Default)]
pub struct Given {
    events: Vec<LogEvent>,
    /// Version and type.
    streams: HashMap<Uuid, (i64, String)>,
    labels: HashMap<Uuid, String>,
}

impl Given {
    /// No events.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, and one more event.
    ///
    /// # Errors
    /// When no store would take it.
    pub fn event(
        mut self,
        stream: impl Into<String>,
        event_type: impl Into<String>,
        data: Value,
    ) -> Result<Self, Refusal> {
        self.add(GivenEvent {
            stream: stream.into(),
            stream_type: None,
            event_type: event_type.into(),
            data,
            metadata: None,
            recorded_at: None,
        })?;
        Ok(self)
    }

    /// Adds an event.
    ///
    /// # Errors
    /// When no store would take it.
    pub fn add(&mut self, given: GivenEvent) -> Result<(), Refusal> {
        let stream = stream_of(&given.stream);
        let (version, known_type) = self.streams.get(&stream).cloned().unwrap_or((0, STREAM_TYPE.into()));
        let event = NewEvent::from_json(given.event_type, given.data)
            .with_metadata(given.metadata.unwrap_or_else(|| Value::Object(Map::new())));
        let commit = Commit::new(given.stream_type.unwrap_or(known_type), vec![event]);
        // As the store would: the same rules, and numbers in the form that handlers see.
        let commit = commit.prepare(StreamId(stream), &Limits::HIGHEST)?;
        let recorded_at = given.recorded_at.unwrap_or_else(|| self.next_time());
        for event in commit.events {
            let position = i64::try_from(self.events.len()).unwrap_or(i64::MAX).saturating_add(1);
            self.events.push(LogEvent {
                position,
                stream_id: stream,
                stream_type: commit.stream_type.clone(),
                version: version + 1,
                event_type: event.event_type,
                data: event.data,
                metadata: event.metadata,
                commit_id: Uuid::new_v5(&NAMESPACE, &position.to_be_bytes()),
                recorded_at,
            });
        }
        self.streams.insert(stream, (version + 1, commit.stream_type));
        if given.stream != stream.to_string() {
            self.labels.insert(stream, given.stream);
        }
        Ok(())
    }

    /// The events, as the log would have them.
    pub fn events(&self) -> &[LogEvent] {
        &self.events
    }

    /// The UUID that a label stands for, where one of the streams has it.
    pub fn stream(&self, label: &str) -> Option<Uuid> {
        let stream = stream_of(label);
        self.streams.contains_key(&stream).then_some(stream)
    }

    /// The label of a stream that was given one.
    pub fn label(&self, stream: Uuid) -> Option<&str> {
        self.labels.get(&stream).map(String::as_str)
    }

    fn next_time(&self) -> DateTime<Utc> {
        match self.events.last() {
            Some(last) => last.recorded_at + TimeDelta::seconds(1),
            // 2024-01-01T00:00:00Z
            None => DateTime::from_timestamp(1_704_067_200, 0).unwrap_or_default(),
        }
    }
}

/// A UUID as it is; any other text stands for one, always the same.
fn stream_of(text: &str) -> Uuid {
    Uuid::try_parse(text).unwrap_or_else(|_| Uuid::new_v5(&NAMESPACE, text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn versions_positions_and_times_are_counted() {
        let given = Given::new()
            .event("a", "A", json!({"n": 1.0}))
            .and_then(|given| given.event("b", "B", json!(null)))
            .and_then(|given| given.event("a", "A", json!({})))
            .unwrap();
        let places: Vec<_> = given.events().iter().map(|it| (it.position, it.version)).collect();
        assert_eq!(places, [(1, 1), (2, 1), (3, 2)]);
        assert_eq!(given.events()[0].data.to_string(), r#"{"n":1}"#);
        assert_eq!(given.events()[2].recorded_at.to_rfc3339(), "2024-01-01T00:00:02+00:00");
        assert_eq!(given.label(given.stream("b").unwrap()), Some("b"));
        assert!(given.stream("c").is_none());
        assert!(given.event("a", "", json!({})).is_err());
    }
}
