//! What can stop ingest, by what it does about it.

use thiserror::Error;

use crate::log::ForeignStore;
use crate::postgres::{Class, classify, describe};
use crate::store::rethinkdb::{QueryError, QueryErrorKind};

#[derive(Debug, Error)]
pub(super) enum IngestError {
    /// One of the servers is away: connect and read again.
    #[error("{0}")]
    Away(String),
    /// The feed missed a commit, or ended: open another and read again.
    #[error("{0}")]
    FeedLost(String),
    /// Store and log are not what they were to each other. Nothing is guessed; somebody must decide.
    #[error("{0}")]
    Refused(String),
}

impl From<QueryError> for IngestError {
    fn from(error: QueryError) -> Self {
        match error.kind {
            QueryErrorKind::Away | QueryErrorKind::Unread | QueryErrorKind::Denied => {
                Self::Away(error.message)
            }
            QueryErrorKind::Missing | QueryErrorKind::Wrong => Self::Refused(error.message),
        }
    }
}

impl From<sqlx::Error> for IngestError {
    fn from(error: sqlx::Error) -> Self {
        match classify(&error) {
            Class::Away | Class::Again | Class::Fenced => Self::Away(describe(&error)),
            Class::Statement => Self::Refused(describe(&error)),
        }
    }
}

impl From<ForeignStore> for IngestError {
    fn from(error: ForeignStore) -> Self {
        match error {
            ForeignStore::Refused(reason) => Self::Refused(reason),
            ForeignStore::Postgres(error) => error.into(),
        }
    }
}
