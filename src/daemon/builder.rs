//! The daemon as a part of somebody's own program.

use std::path::PathBuf;

use super::notify::Notify;
use super::run::{Mode, Outcome, RunError, run_until};
use crate::config::{Config, Level};
use crate::projection::{Code, Projection};

/// A daemon that is about to run: `Daemon::builder(config).projection(MyProjection).run().await`.
#[derive(Debug)]
pub struct Daemon {
    pub(super) config: Config,
    /// Where the configuration came from, to read the level of the log again.
    pub(super) file: Option<PathBuf>,
    pub(super) level: Option<Level>,
    pub(super) mode: Mode,
    pub(super) code: Vec<Code>,
    pub(super) notify: Notify,
}

impl Daemon {
    /// One that runs the projections of the configured folder, where it is there, for ever.
    pub fn builder(config: Config) -> Self {
        Self {
            config,
            file: None,
            level: None,
            mode: Mode::Forever,
            code: Vec::new(),
            notify: Notify::default(),
        }
    }

    /// Adds a projection in Rust.
    #[must_use]
    pub fn projection(mut self, projection: impl Projection + 'static) -> Self {
        self.code.push(Code::new(projection));
        self
    }

    /// Tells a supervisor how it is.
    #[must_use]
    pub fn notify(mut self, notify: Notify) -> Self {
        self.notify = notify;
        self
    }

    /// Ends when every projection has reached the log's head as it was at the start.
    #[must_use]
    pub fn until_caught_up(mut self) -> Self {
        self.mode = Mode::UntilCaughtUp;
        self
    }

    /// SIGHUP reads the configuration at `file` again, and sets `level` as it says.
    #[must_use]
    pub fn reload(mut self, file: Option<PathBuf>, level: Level) -> Self {
        (self.file, self.level) = (file, Some(level));
        self
    }

    /// Runs until SIGTERM or SIGINT.
    ///
    /// # Errors
    /// When it cannot start. Servers that are away are waited for.
    pub async fn run(self) -> Result<Outcome, RunError> {
        self.run_until(std::future::pending()).await
    }

    /// Runs until a signal, or until `stop` is done. Batches in hand are finished.
    ///
    /// # Errors
    /// See [`run`](Self::run).
    pub async fn run_until(self, stop: impl Future<Output = ()>) -> Result<Outcome, RunError> {
        run_until(self, stop).await
    }
}
