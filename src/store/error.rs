//! What can go wrong, by what the caller would do about it.

use thiserror::Error;

use super::ExpectedVersion;
use crate::event::{CommitId, Refusal, StreamId, Version};

/// Why an append did not happen.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AppendError {
    /// Somebody else was first.
    #[error("stream {stream} is at version {actual}, expected {}", in_words(*.expected))]
    Conflict {
        /// The stream.
        stream: StreamId,
        /// What the caller expected.
        expected: ExpectedVersion,
        /// Where it is.
        actual: Version,
    },
    /// The commit is over a limit. Nothing was written.
    #[error(transparent)]
    TooLarge(Refusal),
    /// The commit breaks a rule. Nothing was written.
    #[error(transparent)]
    Invalid(Refusal),
    /// The store did not answer as it should before the deadline. If a try was under way when it went,
    /// the commit may yet have been stored: the same commit id at the same place settles it.
    #[error("stream {stream}: the store is unavailable: {reason} (commit {commit}, {tries} tries)")]
    Unavailable {
        /// The stream.
        stream: StreamId,
        /// The commit to append again.
        commit: CommitId,
        /// How often it was tried.
        tries: u32,
        /// What the last try met.
        reason: String,
    },
}

impl From<Refusal> for AppendError {
    fn from(refusal: Refusal) -> Self {
        if refusal.too_large { Self::TooLarge(refusal) } else { Self::Invalid(refusal) }
    }
}

/// Why a stream was not loaded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// No event was ever appended to it.
    #[error("stream {0} not found")]
    NotFound(StreamId),
    /// What is stored is not a stream. Never skipped over; somebody must look.
    #[error("stream {stream} is damaged: {reason}")]
    Damaged {
        /// The stream.
        stream: StreamId,
        /// What is wrong, with the version.
        reason: String,
    },
    /// The store did not answer as it should before the deadline.
    #[error("stream {stream}: the store is unavailable: {reason}")]
    Unavailable {
        /// The stream.
        stream: StreamId,
        /// What the last try met.
        reason: String,
    },
}

fn in_words(expected: ExpectedVersion) -> String {
    match expected {
        ExpectedVersion::NoStream => "no stream".into(),
        ExpectedVersion::Exact(version) => version.to_string(),
        ExpectedVersion::Any => "any".into(),
    }
}
