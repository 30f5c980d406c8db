//! The projector: keeps one read model at the log's head.
//!
//! One loop: hear the bell, apply the events after the checkpoint, commit rows and checkpoint together,
//! repeat. Start-up replay, catching up after an outage, and following live are the same path.

mod apply;
mod batch;
mod bell;
mod failure;
mod generation;
mod parked;
mod rate;
mod record;
mod report;
mod run;
mod state;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use bell::{Bell, Ringer};
pub use failure::Failure;
pub use generation::{Generation, GenerationError, check_sql, rebuild_in_place};
pub use record::{Record, Wanted, known, refuse};
pub use run::Projector;
pub use state::{Progress, State};

/// `[projector]`: how batches are cut.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How long a batch should take; its size adapts to that.
    #[serde(with = "humantime_serde")]
    pub batch_time: Duration,
    /// The most events in one batch.
    pub max_batch: u32,
    /// The longest that a batch may take before PostgreSQL cancels it.
    #[serde(with = "humantime_serde")]
    pub batch_timeout: Duration,
    /// How often to look for new events without having heard the bell.
    #[serde(with = "humantime_serde")]
    pub poll_interval: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            batch_time: Duration::from_millis(250),
            max_batch: 5_000,
            batch_timeout: Duration::from_secs(60),
            poll_interval: Duration::from_secs(5),
        }
    }
}

/// `[projections] on_change`: what to do with rows that were made by other files than there are now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnChange {
    /// Drop and replay.
    #[default]
    Rebuild,
    /// Halt, until the old files are back or somebody asks for a rebuild.
    Refuse,
    /// Go on with the handlers that made the rows; the new ones wait for a rebuild.
    Ignore,
}
