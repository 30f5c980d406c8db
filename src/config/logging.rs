//! What the daemon says of itself, and how.

use std::io::IsTerminal;

use serde::{Deserialize, Serialize};
use tracing_subscriber::filter::LevelFilter;
#[cfg(feature = "otlp")]
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use super::SecretUrl;

/// How long the last traces may take.
#[cfg(feature = "otlp")]
const FLUSH: std::time::Duration = std::time::Duration::from_secs(2);

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
pub struct Level {
    filter: reload::Handle<EnvFilter, Registry>,
    #[cfg(feature = "otlp")]
    traces: Option<opentelemetry_sdk::trace::SdkTracerProvider>,
}

impl Level {
    /// Sets it. What does not read as directives changes nothing.
    pub fn set(&self, config: &Logging) {
        if let Some(filter) = config.filter() {
            let _ = self.filter.reload(filter);
        }
    }

    /// Sends the traces that have not been sent, where there are any; not for long.
    pub async fn flush(&self) {
        #[cfg(feature = "otlp")]
        if let Some(traces) = self.traces.clone() {
            let sent = tokio::task::spawn_blocking(move || traces.shutdown_with_timeout(FLUSH));
            drop(tokio::time::timeout(FLUSH, sent).await);
        }
    }
}

impl Logging {
    /// Sends what the process says to standard error and, with the feature `otlp`, its traces to where the environment
    /// says; for those it must be called on a runtime.
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
        let registry = tracing_subscriber::registry().with(lines.with_filter(filter));
        #[cfg(not(feature = "otlp"))]
        {
            registry.init();
            Level { filter: handle }
        }
        #[cfg(feature = "otlp")]
        {
            use opentelemetry::trace::TracerProvider;

            let (traces, problem) = match crate::otlp::provider() {
                Ok(traces) => (traces, None),
                Err(problem) => (None, Some(problem)),
            };
            let layer = traces.as_ref().map(|traces| {
                tracing_opentelemetry::layer()
                    .with_tracer(traces.tracer("projectord"))
                    .with_location(false)
                    .with_threads(false)
                    .with_target(false)
                    .with_filter(filter_fn(|it| it.target() == crate::spans::TARGET))
            });
            registry.with(layer).init();
            if let Some(problem) = problem {
                tracing::error!(%problem, "no traces: the variables that say where to send them cannot be used");
            }
            Level { filter: handle, traces }
        }
    }

    /// The drivers' own lines are left out: at their finest they print queries, and so events. Spans of traces are no
    /// lines.
    fn filter(&self) -> Option<EnvFilter> {
        let directives = format!("{},reql=off,sqlx=off,{}=off", self.level, crate::spans::TARGET);
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
