//! What every request may use.

use std::path::PathBuf;
use std::sync::Arc;

use sqlx::PgPool;
use tokio::sync::watch;
use uuid::Uuid;

use crate::health::Health;
use crate::projection::Definition;
use crate::pulse::Pulse;
use crate::shutdown::Shutdown;
use crate::store::EventStore;

/// What every request may use; made on the thread of HTTP, where its connections belong.
#[allow(dead_code, reason = "for the API")]
pub(crate) struct Shared {
    /// For requests: few connections, so that many requests do not load the database.
    pub(crate) pool: PgPool,
    /// To append to, and to load streams from.
    pub(crate) store: Arc<dyn EventStore>,
    /// Where that is, without its password; none where the log is the store.
    pub(crate) store_url: Option<String>,
    /// The projections' folder.
    pub(crate) projections: PathBuf,
    /// Projections in Rust.
    pub(crate) code: Vec<Definition>,
    /// This daemon.
    pub(crate) daemon: Uuid,
    /// Whether it does its part.
    pub(crate) health: watch::Receiver<Health>,
    /// Whether its main runtime lives.
    pub(crate) pulse: Pulse,
    /// Requested when the daemon ends: an answer that goes on for ever must end then.
    pub(crate) shutdown: Shutdown,
}
