//! The four identifiers: stream, commit, version, position.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Names a stream: one aggregate's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StreamId(pub Uuid);

/// Names one append. Appending the same commit again is success, not a second copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CommitId(pub Uuid);

/// A place in a stream. The first event is 1; a stream's version is its number of events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub u64);

/// A place in the log. Dense from 1, given once, never changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub u64);

macro_rules! uuid_id {
    ($name:ident) => {
        impl $name {
            /// A new random identifier. Without a time in it, so that streams spread over the shards.
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }
        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }
    };
}
uuid_id!(StreamId);
uuid_id!(CommitId);

macro_rules! place {
    ($name:ident) => {
        impl $name {
            /// Before the first event.
            pub const ZERO: Self = Self(0);

            /// The place `count` further on.
            #[must_use]
            pub fn plus(self, count: u64) -> Self {
                Self(self.0.saturating_add(count))
            }

            /// The place after this one.
            #[must_use]
            pub fn next(self) -> Self {
                self.plus(1)
            }

            /// As PostgreSQL's `bigint`. Places are counts, so they never reach its limit.
            #[cfg(feature = "postgres")]
            pub(crate) fn to_sql(self) -> i64 {
                i64::try_from(self.0).unwrap_or(i64::MAX)
            }

            /// From PostgreSQL's `bigint`; the schema keeps it from being negative.
            #[cfg(feature = "postgres")]
            pub(crate) fn from_sql(value: i64) -> Self {
                Self(u64::try_from(value).unwrap_or(0))
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}
place!(Version);
place!(Position);
