//! Signals: the first one to end asks, the second does; SIGHUP reloads.

use std::io;

use futures_util::StreamExt;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook_tokio::Signals;
use tracing::{info, warn};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    Reload,
    Stop,
}

/// Signals, as requests.
pub(super) struct Requests {
    signals: Signals,
    stopping: bool,
}

impl Requests {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { signals: Signals::new([SIGTERM, SIGINT, SIGHUP])?, stopping: false })
    }

    /// The next request. A second signal to end ends the process at once.
    pub(super) async fn next(&mut self) -> Request {
        match self.signals.next().await {
            Some(SIGHUP) => Request::Reload,
            Some(_) if self.stopping => {
                warn!("second signal; ending at once");
                std::process::exit(1);
            }
            Some(_) => {
                info!("stopping; a second signal ends at once");
                self.stopping = true;
                Request::Stop
            }
            None => std::future::pending().await,
        }
    }
}
