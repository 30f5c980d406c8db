//! What the configuration names, opened.

use sqlx::PgPool;

use super::exit::{Code, Failed};
use crate::config::Config;
use crate::postgres::Options;
use crate::store::{EventStore, PostgresStore, RethinkStore};

/// The configured store, by backend.
pub(super) enum Store {
    Rethink(RethinkStore),
    Postgres(PostgresStore),
}

impl Store {
    pub(super) fn open(config: &Config) -> Result<Self, Failed> {
        let settings = config.store.settings();
        Ok(match &config.store.url {
            Some(url) => {
                let server = url.reveal().parse().map_err(|error| Failed::new(Code::Config, error))?;
                Self::Rethink(RethinkStore::new(server, settings))
            }
            None => Self::Postgres(PostgresStore::new(&options(config)?, settings)),
        })
    }

    pub(super) fn events(&self) -> &dyn EventStore {
        match self {
            Self::Rethink(store) => store,
            Self::Postgres(store) => store,
        }
    }
}

/// The PostgreSQL database that the configuration names.
pub(super) fn options(config: &Config) -> Result<Options, Failed> {
    config.postgres.url.reveal().parse().map_err(|error| Failed::new(Code::Config, error))
}

/// Connections to it. Where it does not let us in, that is said at once: a pool would go on trying.
pub(super) async fn pool(config: &Config) -> Result<PgPool, Failed> {
    let options = options(config)?;
    options.check().await?;
    Ok(options.pool(2))
}
