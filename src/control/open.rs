//! What the configuration names, opened.

use sqlx::PgPool;

use super::ControlError;
use crate::config::Config;
use crate::postgres::Options;
use crate::store::{EventStore, PostgresStore, RethinkStore};

/// The configured store, by backend.
#[derive(Debug, Clone)]
pub enum Store {
    /// On RethinkDB.
    Rethink(RethinkStore),
    /// The log is the store.
    Postgres(PostgresStore),
}

impl Store {
    /// Opens it; it connects when it is first used.
    ///
    /// # Errors
    /// When the configuration holds a URL that is none.
    pub fn open(config: &Config) -> Result<Self, ControlError> {
        let settings = config.store.settings();
        Ok(match &config.store.url {
            Some(url) => {
                let server = url.reveal().parse().map_err(wrong)?;
                Self::Rethink(RethinkStore::new(server, settings))
            }
            None => Self::Postgres(PostgresStore::new(&options(config)?, settings)),
        })
    }

    /// For whoever appends and loads.
    pub fn events(&self) -> &dyn EventStore {
        match self {
            Self::Rethink(store) => store,
            Self::Postgres(store) => store,
        }
    }
}

/// The PostgreSQL database that the configuration names.
///
/// # Errors
/// When its URL is none.
pub fn options(config: &Config) -> Result<Options, ControlError> {
    config.postgres.url.reveal().parse().map_err(wrong)
}

/// Connections to it. Where it does not let us in, that is said at once: a pool would go on trying.
///
/// # Errors
/// When its URL is none, or it does not let us in.
pub async fn open_pool(config: &Config) -> Result<PgPool, ControlError> {
    let options = options(config)?;
    options.check().await?;
    Ok(options.pool(2))
}

fn wrong(error: impl std::fmt::Display) -> ControlError {
    ControlError::Config(error.to_string())
}
