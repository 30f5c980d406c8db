//! The document of a commit: `{id: "<stream>@<first version>", stream_id, stream_type, commit_id,
//! recorded_at, events: [{type, data, metadata}, …]}`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use super::head::Head;
use crate::event::{Commit, CommitId, Event, StreamId, Version, canonical};

/// The key of the commit that begins at `version`. Text, since array keys would all sort into one shard;
/// the version has a fixed width, so that keys sort as versions do.
pub(super) fn key(stream: StreamId, version: u64) -> String {
    format!("{stream}@{version:016}")
}

/// Sorts just after every key of `stream`.
pub(super) fn key_end(stream: StreamId) -> String {
    format!("{stream}A")
}

/// A commit as it stands in the store.
#[derive(Debug, Clone, Deserialize)]
pub struct StoredCommit {
    id: String,
    /// The version in its key.
    #[serde(skip)]
    first: Version,
    /// The stream.
    pub stream_id: StreamId,
    /// What kind of aggregate it is.
    pub stream_type: String,
    /// The append.
    pub commit_id: CommitId,
    /// When the server took it.
    #[serde(deserialize_with = "reql_time")]
    pub recorded_at: DateTime<Utc>,
    /// Its events.
    pub events: Vec<StoredEvent>,
}

/// An event inside a commit's document.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoredEvent {
    /// What happened.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The payload.
    pub data: Value,
    /// The metadata.
    pub metadata: Value,
}

/// A commit without its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitKey {
    /// The stream.
    pub stream: StreamId,
    /// The version of its first event.
    pub first: Version,
    /// The version of its last event.
    pub last: Version,
    /// The append.
    pub commit_id: CommitId,
}

impl StoredCommit {
    /// Reads a document, whoever wrote it.
    ///
    /// # Errors
    /// Names the document, when it is not a commit.
    pub(super) fn read(document: Value) -> Result<Self, String> {
        let id = document["id"].to_string();
        let commit: Self = serde_json::from_value(document)
            .map_err(|error| format!("document {id} of table events is not a commit: {error}"))?;
        commit.checked()
    }

    /// Judges what deserialization does not.
    pub(super) fn checked(mut self) -> Result<Self, String> {
        let (stream, first) = read_key(&self.id)?;
        if stream != self.stream_id || self.events.is_empty() {
            let id = &self.id;
            return Err(format!("document {id:?} of table events is not a commit of its stream with events"));
        }
        self.first = first;
        for event in &mut self.events {
            canonical(&mut event.data);
            canonical(&mut event.metadata);
        }
        Ok(self)
    }

    /// The document to insert, but for `recorded_at`, which the server sets.
    pub(super) fn document(stream: StreamId, first: Version, commit: &Commit) -> Value {
        let events: Vec<Value> = commit
            .events
            .iter()
            .map(|event| json!({"type": event.event_type, "data": event.data, "metadata": event.metadata}))
            .collect();
        json!({
            "id": key(stream, first.0),
            "stream_id": stream,
            "stream_type": commit.stream_type,
            "commit_id": commit.id,
            "events": events,
        })
    }

    /// The version of its first event.
    pub fn first(&self) -> Version {
        self.first
    }

    /// The version of its last event.
    pub fn last(&self) -> Version {
        Version(self.first().0 + self.events.len() as u64 - 1)
    }

    /// Where it is, without its events.
    pub fn key(&self) -> CommitKey {
        let (stream, commit_id) = (self.stream_id, self.commit_id);
        CommitKey { stream, first: self.first(), last: self.last(), commit_id }
    }

    /// Its stream's head, as far as it goes.
    pub fn head(&self) -> Head {
        Head { stream: self.stream_id, stream_type: self.stream_type.clone(), version: self.last() }
    }

    /// Its events, in order.
    pub fn into_events(self) -> impl Iterator<Item = Event> {
        let first = self.first();
        self.events.into_iter().zip(0..).map(move |(event, nth)| Event {
            stream_id: self.stream_id,
            stream_type: self.stream_type.clone(),
            version: first.plus(nth),
            event_type: event.event_type,
            data: event.data,
            metadata: event.metadata,
            commit_id: self.commit_id,
            recorded_at: self.recorded_at,
        })
    }
}

impl CommitKey {
    /// Reads a row of [`commit_keys`](super::term::commit_keys).
    pub(super) fn read(row: &Value) -> Result<Self, String> {
        let damaged = || format!("document {} of table events is not a commit", row["id"]);
        let (stream, first) = read_key(row["id"].as_str().ok_or_else(damaged)?)?;
        let count = row["count"].as_u64().filter(|count| *count > 0).ok_or_else(damaged)?;
        let commit_id = CommitId::deserialize(&row["commit_id"]).map_err(|_| damaged())?;
        Ok(Self { stream, first, last: first.plus(count - 1), commit_id })
    }
}

fn read_key(id: &str) -> Result<(StreamId, Version), String> {
    let damaged = || format!("document {id:?} of table events has not the key of a commit");
    let (stream, version) = id.split_once('@').ok_or_else(damaged)?;
    let version = version.parse().ok().filter(|version| *version > 0).ok_or_else(damaged)?;
    Ok((stream.parse().map_err(|_| damaged())?, Version(version)))
}

/// RethinkDB's time: seconds since 1970 with three decimals.
fn reql_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
    #[derive(Deserialize)]
    struct Time {
        epoch_time: f64,
    }
    let seconds = Time::deserialize(deserializer)?.epoch_time;
    from_seconds(seconds).ok_or_else(|| serde::de::Error::custom("recorded_at is out of range"))
}

/// A time from seconds since 1970, to the millisecond that RethinkDB keeps.
#[expect(clippy::cast_possible_truncation, reason = "times of events are far from the limits")]
pub(super) fn from_seconds(seconds: f64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis((seconds * 1000.0).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_versions_do_and_end_before_the_next_stream() {
        let stream = StreamId::random();
        let keys = [1, 2, 9, 10, 99, 1_000_000, 9_007_199_254_740_991].map(|version| key(stream, version));
        assert!(keys.is_sorted());
        assert!(keys.iter().all(|key| *key < key_end(stream) && key.len() < 127));
    }

    #[test]
    fn a_document_of_somebody_elses_is_named() {
        let error = StoredCommit::read(json!({"id": "x", "stream_id": 3})).unwrap_err();
        assert!(error.contains("\"x\""), "{error}");
    }
}
