//! What the daemon says of itself, and how.

use std::io::IsTerminal;

use serde::{Deserialize, Serialize};
use tracing_subscriber::filter::LevelFilter;
#[cfg(feature = "otlp")]
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Layered, SubscriberExt};
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

/// Who writes lines, and who sends traces.
type Writers = Vec<Box<dyn Layer<Registry> + Send + Sync>>;

/// Changes the level of a running process.
#[derive(Clone)]
pub struct Level {
    filter: reload::Handle<EnvFilter, Layered<Writers, Registry>>,
    #[cfg(feature = "otlp")]
    traces: Option<opentelemetry_sdk::trace::SdkTracerProvider>,
}

impl std::fmt::Debug for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Level").finish_non_exhaustive()
    }
}

impl Level {
    /// Sets it. What does not read as directives changes nothing.
    pub fn set(&self, config: &Logging) {
        #[cfg(feature = "otlp")]
        let traced = self.traces.is_some();
        #[cfg(not(feature = "otlp"))]
        let traced = false;
        if let Some(filter) = config.filter(traced) {
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
    ///
    /// One filter judges whatever is said, before those who write are asked. A filter for each of them would forget:
    /// after it was asked by the driver whether a line is wanted, it would leave out the next line of its thread.
    pub fn start(&self) -> Level {
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
        #[cfg(not(feature = "otlp"))]
        {
            Level { filter: self.say(vec![lines], false) }
        }
        #[cfg(feature = "otlp")]
        {
            use opentelemetry::trace::TracerProvider;

            let (traces, problem) = match crate::otlp::provider() {
                Ok(traces) => (traces, None),
                Err(problem) => (None, Some(problem)),
            };
            let mut writers: Writers =
                vec![lines.with_filter(filter_fn(|it| it.target() != crate::spans::TARGET)).boxed()];
            if let Some(traces) = &traces {
                let layer = tracing_opentelemetry::layer()
                    .with_tracer(traces.tracer("projectord"))
                    .with_location(false)
                    .with_threads(false)
                    .with_target(false);
                writers.push(layer.with_filter(filter_fn(|it| it.target() == crate::spans::TARGET)).boxed());
            }
            let filter = self.say(writers, traces.is_some());
            if let Some(problem) = problem {
                tracing::error!(%problem, "no traces: the variables that say where to send them cannot be used");
            }
            Level { filter, traces }
        }
    }

    /// From here on it is written. What the drivers say by the crate `log` is not taken up; see [`filter`](Self::filter).
    fn say(&self, writers: Writers, traced: bool) -> reload::Handle<EnvFilter, Layered<Writers, Registry>> {
        let (filter, handle) =
            reload::Layer::new(self.filter(traced).unwrap_or_else(|| EnvFilter::new("info")));
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(writers).with(filter))
            .expect("the log is started once");
        handle
    }

    /// The drivers' own lines are left out: at their finest they print queries, and so events. Spans of traces are no
    /// lines.
    fn filter(&self, traced: bool) -> Option<EnvFilter> {
        let spans = if traced { "trace" } else { "off" };
        let directives = format!("{},reql=off,sqlx=off,{}={spans}", self.level, crate::spans::TARGET);
        EnvFilter::try_new(directives).ok()
    }

    /// What is wrong with it.
    pub(super) fn problem(&self) -> Option<String> {
        // A word that is no level would be taken for a module's name, and everything else fall silent.
        let is_good =
            |directive: &str| directive.contains('=') || directive.trim().parse::<LevelFilter>().is_ok();
        let good =
            self.filter(false).is_some() && !self.level.is_empty() && self.level.split(',').all(is_good);
        // Whatever stands in its place may be a secret.
        let shown = SecretUrl::from(self.level.as_str());
        (!good).then(|| format!("{shown:?} is no level: error, warn, info, debug or trace"))
    }
}
