//! What every request may use.

use std::sync::Arc;

use sqlx::PgPool;
use tokio::sync::watch;
use uuid::Uuid;

use super::history::History;
use super::latest::Latest;
use crate::config::Config;
use crate::health::Health;
use crate::measure::Measures;
use crate::projection::Definition;
use crate::projector::Bell;
use crate::pulse::Pulse;
use crate::shutdown::Shutdown;
use crate::store::EventStore;

/// What every request may use; made on the thread of HTTP, where its connections belong.
pub(crate) struct Shared {
    /// For requests: few connections, so that many requests do not load the database.
    pub(crate) pool: PgPool,
    /// To append to, and to load streams from.
    pub(crate) store: Arc<dyn EventStore>,
    /// What `projectord status` says; for whoever needs no newer answer than of a second ago.
    pub(crate) status: Latest,
    /// What was, every few seconds.
    pub(crate) history: History,
    /// What is counted in this process.
    pub(crate) measures: Measures,
    /// All of it, as it was at the start.
    pub(crate) config: Config,
    /// Projections in Rust.
    pub(crate) code: Vec<Definition>,
    /// This daemon.
    pub(crate) daemon: Uuid,
    /// Whether it does its part.
    pub(crate) health: watch::Receiver<Health>,
    /// Rings when the log is longer.
    pub(crate) bell: Bell,
    /// Whether its main runtime lives.
    pub(crate) pulse: Pulse,
    /// Requested when the daemon ends: an answer that goes on for ever must end then.
    pub(crate) shutdown: Shutdown,
}

impl Shared {
    /// Why this daemon does not do its part; nothing where it does.
    pub(crate) fn reasons(&self) -> Vec<String> {
        let mut reasons = self.health.borrow().reasons.clone();
        if self.shutdown.is_requested() {
            reasons.push("stopping".into());
        }
        if !self.pulse.is_alive() {
            reasons.push("the main runtime does nothing: a handler may block it".into());
        }
        reasons
    }
}
