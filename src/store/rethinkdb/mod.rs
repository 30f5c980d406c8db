//! The event store on RethinkDB.
//!
//! Only single-document writes are atomic there, so a commit is one document: its insert is the commit
//! point, and its key, made of stream and first version, is the optimistic lock. The stream's head in
//! `aggregates` is a hint that may lag behind and never runs ahead: it moves after the commit is
//! durable, by ingest in bulk, and by whoever finds it behind.

mod alone;
mod backend;
mod commits;
mod document;
mod driver;
mod feed;
mod head;
mod history;
mod known;
mod server;
mod setup;
mod term;
mod together;
mod tunnel;

use std::sync::Arc;

pub use commits::Text;
pub use document::{CommitKey, StoredCommit};
pub use driver::{QueryError, QueryErrorKind};
pub use feed::{ByNow, Feed};
pub use head::Head;
pub use history::History;
pub use server::{Server, UrlError};
pub use setup::StoreId;

use super::Settings;
use super::group::Group;

/// The event store on RethinkDB. Cheap to clone; clones share their connections.
#[derive(Debug, Clone)]
pub struct RethinkStore {
    pool: Arc<driver::Pool>,
    known: Arc<known::Known>,
    settings: Settings,
    group: Arc<Group>,
}

impl RethinkStore {
    /// A store that connects when it is first used.
    pub fn new(server: Server, settings: Settings) -> Self {
        let pool = Arc::new(driver::Pool::new(server, settings.connections));
        Self {
            pool,
            known: Arc::new(known::Known::new()),
            settings,
            group: Arc::new(Group::of(together::AT_ONCE)),
        }
    }

    /// Creates database, tables, index and the store's identity where they are missing, and checks that
    /// the tables are set to keep what they acknowledge. Safe to repeat, and concurrently.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses, or a table is set to lose acknowledged events.
    pub async fn setup(&self) -> Result<StoreId, QueryError> {
        setup::setup(&self.pool).await
    }

    /// Reads for whoever copies the store elsewhere.
    pub fn history(&self) -> History {
        History::new(Arc::clone(&self.pool))
    }
}
