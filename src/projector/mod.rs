//! The projector: keeps one read model at the log's head.
//!
//! One loop: hear the bell, apply the events after the checkpoint, commit rows and checkpoint together,
//! repeat. Start-up replay, catching up after an outage, and following live are the same path.

mod apply;
mod batch;
mod bell;
mod beside;
mod build;
mod check;
mod code;
mod compare;
mod failure;
mod feeder;
mod feeders;
mod halvings;
mod joint;
mod pace;
mod parked;
mod pass;
mod plan;
mod rate;
mod record;
mod report;
mod run;
mod sessions;
mod state;
mod upcaster_tests;
mod upkeep;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use bell::{Bell, Ringer};
pub use build::{Beside, Generation, GenerationError, build_beside, rebuild_in_place};
pub(crate) use build::{Wrong, create_over, execute};
pub use check::{Checked, check_sql};
pub use compare::{CompareError, Comparison, RowDifference, TableDifference, compare};
pub use failure::{FailedEvent, Failure};
pub use pace::Pace;
pub use plan::{Plan, plan};
pub use record::{Rebuild, Record, Wanted, known, refuse};
pub use run::Projector;
pub use sessions::Sessions;
pub use state::{Build, Progress, State};
pub use upcaster_tests::{UpcasterTest, test_upcasters};

/// How long to wait, at first, after PostgreSQL did not do its part. Short: most often one session was ended, and
/// the next one works. Where several are ended in a row, the waits have not grown far when that is over.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// And at the most, while it goes on: an outage that has ended is to be over within 5 s.
const LONGEST_WAIT: Duration = Duration::from_secs(4);

/// What a projector goes by.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// How batches are cut.
    pub config: Config,
    /// How generations are built and replaced.
    pub rebuild: RebuildConfig,
    /// What to do with rows that other files made.
    pub on_change: OnChange,
}

/// `[rebuild]`: how a generation is built beside the live one, and what becomes of that.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RebuildConfig {
    /// How many workers share a build of a projection that declares `partition = "stream"`.
    pub workers: u32,
    /// The part of the time that a build may take while a live projection is late.
    pub max_share: f64,
    /// How long the rows that were replaced are kept, and fed, so that one can go back to them.
    #[serde(with = "humantime_serde")]
    pub keep_old: Duration,
}

impl Default for RebuildConfig {
    fn default() -> Self {
        Self { workers: 2, max_share: 0.5, keep_old: Duration::from_secs(3600) }
    }
}

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
    /// Build anew, beside the rows that there are.
    #[default]
    Rebuild,
    /// Halt, until the old files are back or somebody asks for a rebuild.
    Refuse,
    /// Go on with the handlers that made the rows; the new ones wait for a rebuild.
    Ignore,
}
