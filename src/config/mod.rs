//! Configuration: defaults, then a file, then the environment. Each module owns its part; here they are
//! gathered, and judged as a whole.

mod http;
mod load;
mod logging;
pub(crate) mod tokens;
mod url_file;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::Limits;
use crate::ingest;
use crate::projector::{self, OnChange, RebuildConfig};
pub use crate::secret::{SecretText, SecretUrl};
use crate::store::Settings;
pub use http::Http;
pub use load::{ConfigError, Loaded, load};
pub use logging::{Format, Level, Logging};

/// Everything that can be configured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The event store.
    pub store: Store,
    /// The database of the log and the read models.
    pub postgres: Postgres,
    /// Where projections are, and what to do when they change.
    pub projections: Projections,
    /// Copying the store into the log.
    pub ingest: ingest::Config,
    /// Applying the log to read models.
    pub projector: projector::Config,
    /// Building read models anew.
    pub rebuild: RebuildConfig,
    /// What the daemon answers over HTTP.
    pub http: Http,
    /// What the daemon says of itself.
    pub log: Logging,
    /// How it ends.
    pub shutdown: Shutdown,
}

/// `[store]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// `rethinkdb://user:password@host:port/database`. Where it is absent, the log is the store.
    pub url: Option<SecretUrl>,
    /// A file that holds that URL.
    pub url_file: Option<PathBuf>,
    /// How long an append or a load goes on trying.
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
    /// The most connections to the store.
    pub connections: usize,
    /// The largest commit, in bytes of its events as JSON.
    pub max_commit_bytes: usize,
    /// The most events in a commit.
    pub max_commit_events: usize,
}

impl Default for Store {
    fn default() -> Self {
        let Settings { limits, deadline, connections } = Settings::default();
        Self {
            url: None,
            url_file: None,
            deadline,
            connections,
            max_commit_bytes: limits.max_bytes,
            max_commit_events: limits.max_events,
        }
    }
}

impl Store {
    /// For the store's constructor.
    pub fn settings(&self) -> Settings {
        let limits = Limits { max_bytes: self.max_commit_bytes, max_events: self.max_commit_events };
        Settings { limits, deadline: self.deadline, connections: self.connections }
    }
}

/// `[postgres]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Postgres {
    /// `postgres://user:password@host:port/database`.
    pub url: SecretUrl,
    /// A file that holds that URL.
    pub url_file: Option<PathBuf>,
    /// The most connections for projections; ingest and the control plane have a few of their own.
    pub connections: u32,
}

impl Default for Postgres {
    fn default() -> Self {
        Self { url: SecretUrl::from("postgres://localhost:5432/projectord"), url_file: None, connections: 10 }
    }
}

/// `[projections]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Projections {
    /// The folder that has a folder for each projection.
    pub path: PathBuf,
    /// What to do with rows that other files made.
    pub on_change: OnChange,
}

impl Default for Projections {
    fn default() -> Self {
        Self { path: "projections".into(), on_change: OnChange::default() }
    }
}

/// `[shutdown]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shutdown {
    /// How long batches in hand may take to finish after the first signal.
    #[serde(with = "humantime_serde")]
    pub drain: Duration,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { drain: Duration::from_secs(4) }
    }
}
