//! PostgreSQL: connecting, the daemon's own schema, and what an error means.

mod error;
mod migrate;
mod options;

pub use error::{Class, classify, describe, sqlstate};
pub use migrate::{MigrateError, migrate, migrate_status};
#[cfg(feature = "daemon")]
pub(crate) use options::answers;
pub(crate) use options::interval;
pub use options::{Options, UrlError, bounded, why};
