//! Ingest: copies each durable commit of the RethinkDB store into the log, once, and gives it the next
//! position.
//!
//! One loop: hear the bell, read what it announced, add it to the log. The bell may be lost in a dozen
//! ways, so ingest also reads again after every connect, sweeps what was recorded lately, and walks the
//! whole store now and then. Reading is the same in all of these, and adding passes over what is there.

mod audit;
mod catch_up;
mod checks;
mod compare;
mod error;
mod follow;
mod guard;
mod heads;
mod replay;
mod run;
mod status;
mod sweep;
mod walk;
mod window;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use audit::{StoreAudit, audit_store};
pub use run::Ingest;
pub use status::{Progress, State};

/// `[ingest]`: how the store is copied into the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The most commits that are read, and added in one transaction.
    pub batch_events: usize,
    /// About the most bytes of commits that one query reads; two of them read history at once.
    pub batch_bytes: usize,
    /// How often to look for commits that the feed did not announce.
    #[serde(with = "humantime_serde")]
    pub sweep_interval: Duration,
    /// How far back to look for them.
    #[serde(with = "humantime_serde")]
    pub sweep_window: Duration,
    /// How often to compare the whole store with the log.
    #[serde(with = "humantime_serde")]
    pub full_pass_interval: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            batch_events: 5_000,
            batch_bytes: 4 << 20,
            sweep_interval: Duration::from_secs(5),
            sweep_window: Duration::from_secs(30),
            full_pass_interval: Duration::from_secs(6 * 3600),
        }
    }
}
