//! Why something was not done, by what whoever asked would do about it.

use thiserror::Error;

use crate::postgres::describe;

/// Why it was not done. Nothing has changed then.
#[derive(Debug, Error)]
pub enum ControlError {
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// Something is in the way: somebody else was first, or it is not as it would have to be.
    #[error("{0}")]
    Conflict(String),
    /// It cannot go on by itself.
    #[error("{0}")]
    Halted(String),
    /// The configuration or a projection's files are wrong.
    #[error("{0}")]
    Config(String),
    /// PostgreSQL refused or could not be reached.
    #[error("{}", describe(.0))]
    Postgres(#[from] sqlx::Error),
}
