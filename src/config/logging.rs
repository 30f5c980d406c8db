//! What the daemon says of itself, and how.

use std::io::IsTerminal;

use serde::{Deserialize, Serialize};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use super::SecretUrl;

/// `[log]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Logging {
    /// `error`, `warn`, `info`, `debug` or `trace`; or directives such as `info,projectord::ingest=debug`.
    pub level: String,
    /// How lines look.
    pub format: Format,
}

/// How lines of the log look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Pretty on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// For people.
    Pretty,
    /// For machines: one object a line.
    Json,
}

impl Default for Logging {
    fn default() -> Self {
        Self { level: "info".into(), format: Format::default() }
    }
}

/// Changes the level of a running process.
#[derive(Debug, Clone)]
pub struct Level(reload::Handle<EnvFilter, Registry>);

impl Level {
    /// Sets it. What does not read as directives changes nothing.
    pub fn set(&self, config: &Logging) {
        if let Some(filter) = config.filter() {
            let _ = self.0.reload(filter);
        }
    }
}

impl Logging {
    /// Sends what the process says to standard error.
    pub fn start(&self) -> Level {
        let (filter, handle) = reload::Layer::new(self.filter().unwrap_or_else(|| EnvFilter::new("info")));
        let pretty = match self.format {
            Format::Auto => std::io::stderr().is_terminal(),
            Format::Pretty => true,
            Format::Json => false,
        };
        let lines = match pretty {
            true => fmt::layer().with_target(false).with_writer(std::io::stderr).boxed(),
            false => fmt::layer()
                .json()
                .flatten_event(true)
                .with_current_span(true)
                .with_span_list(false)
                .with_writer(std::io::stderr)
                .boxed(),
        };
        tracing_subscriber::registry().with(filter).with(lines).init();
        Level(handle)
    }

    /// The drivers' own lines are left out: at their finest they print queries, and so events.
    fn filter(&self) -> Option<EnvFilter> {
        let directives = format!("{},reql=off,sqlx=off", self.level);
        EnvFilter::try_new(directives).ok()
    }

    /// What is wrong with it.
    pub(super) fn problem(&self) -> Option<String> {
        // A word that is no level would be taken for a module's name, and everything else fall silent.
        let is_good =
            |directive: &str| directive.contains('=') || directive.trim().parse::<LevelFilter>().is_ok();
        let good = self.filter().is_some() && !self.level.is_empty() && self.level.split(',').all(is_good);
        // Whatever stands in its place may be a secret.
        let shown = SecretUrl::from(self.level.as_str());
        (!good).then(|| format!("{shown:?} is no level: error, warn, info, debug or trace"))
    }
}
