//! The event store: append to a stream under optimistic concurrency, load it back.
//!
//! One trait, [`EventStore`], and a backend each for RethinkDB, for PostgreSQL and (feature `testing`)
//! for memory. A backend knows how to try an append at one place; everything around that (refusals,
//! retries with the same commit id, deadlines, [`ExpectedVersion::Any`]) is in one file for all.

use std::num::NonZeroU32;

use async_trait::async_trait;

use crate::event::{Commit, Event, StreamId, Version};

mod append;
mod error;
#[cfg(any(feature = "rethinkdb", feature = "postgres"))]
mod group;
#[cfg(feature = "testing")]
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "rethinkdb")]
pub mod rethinkdb;
#[cfg(feature = "postgres")]
mod wait;

pub use append::Settings;
pub use error::{AppendError, LoadError};
#[cfg(feature = "testing")]
pub use memory::MemoryStore;
#[cfg(feature = "postgres")]
pub use postgres::PostgresStore;
#[cfg(feature = "rethinkdb")]
pub use rethinkdb::RethinkStore;
#[cfg(feature = "postgres")]
pub use wait::{ReadModels, WaitError};

/// Where a commit may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectedVersion {
    /// The stream must not exist yet.
    NoStream,
    /// The stream must be at this version: the one that the decision was made on.
    Exact(Version),
    /// At the end, wherever that is.
    Any,
}

/// What an append did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The version of the commit's first event.
    pub first: Version,
    /// The version of its last event: the stream's version just after it.
    pub version: Version,
    /// The commit was there already, from an earlier try.
    pub repeated: bool,
}

/// The events of a stream, from the asked version on.
#[derive(Debug, Clone, PartialEq)]
pub struct EventStream {
    /// In order of version, without a hole.
    pub events: Vec<Event>,
    /// The stream's version: what to expect when appending after a decision made on it.
    pub version: Version,
}

/// A store of events. Cheap to share behind an `Arc`; every method may be called concurrently.
#[async_trait]
pub trait EventStore: Send + Sync {
    /// Appends the events of `commit`, all or none, if `stream` is at the `expected` version.
    ///
    /// `Ok` means durable. A lost connection is retried with the same commit id until the store's
    /// deadline. With [`ExpectedVersion::NoStream`] and [`ExpectedVersion::Exact`], appending a commit
    /// whose id is already stored at that place is `Ok` with the first result, however much later;
    /// [`Appended::repeated`] tells.
    ///
    /// # Errors
    /// [`AppendError::Conflict`] when the stream is elsewhere (load, decide again, append again);
    /// [`AppendError::TooLarge`] and [`AppendError::Invalid`] when the commit breaks a rule: nothing was
    /// written; [`AppendError::Unavailable`] when the store could not be reached before the deadline.
    async fn append_to_stream(
        &self,
        stream: StreamId,
        expected: ExpectedVersion,
        commit: Commit,
    ) -> Result<Appended, AppendError>;

    /// The events of `stream` from version `from` on; [`Version::ZERO`] and 1 both mean all.
    ///
    /// # Errors
    /// [`LoadError::NotFound`] when the stream has no events; [`LoadError::Damaged`] when what is stored
    /// is not a stream (a version is missing); [`LoadError::Unavailable`] when it could not be read.
    async fn load_stream(&self, stream: StreamId, from: Version) -> Result<EventStream, LoadError>;

    /// At most `most` of these events, the first ones, for whoever must not hold a long stream as a whole; at least
    /// one is asked for. [`EventStream::version`] is the stream's all the same.
    ///
    /// Unless a store knows better, it loads all and keeps these.
    ///
    /// # Errors
    /// See [`load_stream`](Self::load_stream).
    async fn load_page(
        &self,
        stream: StreamId,
        from: Version,
        most: NonZeroU32,
    ) -> Result<EventStream, LoadError> {
        let mut loaded = self.load_stream(stream, from).await?;
        loaded.events.truncate(most.get() as usize);
        Ok(loaded)
    }
}
