//! A store in memory, for the tests of programs that embed the store.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::Utc;

use super::append::{Backend, Failure, Outcome};
use super::{EventStream, LoadError, Settings};
use crate::event::{Commit, Event, StreamId, Version};

/// Keeps every stream in memory. Passes the same contract tests as the backends that last.
#[derive(Debug, Default)]
pub struct MemoryStore {
    streams: Mutex<HashMap<StreamId, Vec<Event>>>,
    settings: Settings,
}

impl MemoryStore {
    /// An empty store.
    pub fn new(settings: Settings) -> Self {
        Self { streams: Mutex::default(), settings }
    }

    fn streams(&self) -> MutexGuard<'_, HashMap<StreamId, Vec<Event>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Backend for MemoryStore {
    fn settings(&self) -> &Settings {
        &self.settings
    }

    async fn try_append(&self, stream: StreamId, at: Version, commit: &Commit) -> Result<Outcome, Failure> {
        let mut streams = self.streams();
        let events = streams.get(&stream).map_or(&[][..], Vec::as_slice);
        let commit_at = |version: Version| {
            let index = usize::try_from(version.0).ok()?.checked_sub(1)?;
            events.get(index).map(|event| event.commit_id)
        };
        if commit_at(at.next()) == Some(commit.id) && commit_at(at) != Some(commit.id) {
            return Ok(Outcome::Repeated);
        }
        let actual = Version(events.len() as u64);
        if actual != at {
            return Ok(Outcome::Occupied { actual });
        }
        if let Some(first) = events.first().filter(|first| first.stream_type != commit.stream_type) {
            return Ok(Outcome::OtherType { actual: first.stream_type.clone() });
        }
        let recorded_at = Utc::now();
        let new = commit.events.iter().zip(1..).map(|(event, nth)| Event {
            stream_id: stream,
            stream_type: commit.stream_type.clone(),
            version: at.plus(nth),
            event_type: event.event_type.clone(),
            data: event.data.clone(),
            metadata: event.metadata.clone(),
            commit_id: commit.id,
            recorded_at,
        });
        streams.entry(stream).or_default().extend(new);
        Ok(Outcome::Appended)
    }

    async fn head(&self, stream: StreamId) -> Result<Version, Failure> {
        Ok(Version(self.streams().get(&stream).map_or(0, Vec::len) as u64))
    }

    async fn try_load(
        &self,
        stream: StreamId,
        from: Version,
        most: Option<NonZeroU32>,
    ) -> Result<Result<EventStream, LoadError>, Failure> {
        let streams = self.streams();
        let Some(events) = streams.get(&stream) else {
            return Ok(Err(LoadError::NotFound(stream)));
        };
        let version = Version(events.len() as u64);
        let most = most.map_or(usize::MAX, |most| most.get() as usize);
        let events = events.iter().filter(|event| event.version >= from).take(most).cloned().collect();
        Ok(Ok(EventStream { events, version }))
    }
}
