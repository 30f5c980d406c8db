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
pub(super) struct Shared {
    /// For requests: few connections, so that many requests do not load the database.
    pub(super) pool: PgPool,
    /// To append to, and to load streams from.
    pub(super) store: Arc<dyn EventStore>,
    /// What `projectord status` says; for whoever needs no newer answer than of a second ago.
    pub(super) status: Latest,
    /// What was, every few seconds.
    pub(super) history: History,
    /// What is counted in this process.
    pub(super) measures: Measures,
    /// All of it, as it was at the start.
    pub(super) config: Config,
    /// Projections in Rust.
    pub(super) code: Vec<Definition>,
    /// This daemon.
    pub(super) daemon: Uuid,
    /// Whether it does its part.
    pub(super) health: watch::Receiver<Health>,
    /// Rings when the log is longer.
    pub(super) bell: Bell,
    /// Whether its main runtime lives.
    pub(super) pulse: Pulse,
    /// Requested when the daemon ends: an answer that goes on for ever must end then.
    pub(super) shutdown: Shutdown,
}

impl Shared {
    /// Why this daemon does not do its part; nothing where it does.
    pub(super) fn reasons(&self) -> Vec<String> {
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
