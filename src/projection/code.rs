//! Projections whose handlers are written in Rust, for programs that embed the daemon.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use sqlx::PgConnection;
use thiserror::Error;

use super::OnError;
use crate::log::LogEvent;

/// A projection in Rust. `Daemon::builder(config).projection(MyProjection)` runs it beside those that are folders,
/// by the same projector: same checkpoint, parking, rebuild, verify and audit.
///
/// # The contract
/// - **Order.** [`apply`](Self::apply) is given the events after the checkpoint in order of their positions, each
///   once, a batch at a time; where a batch ends means nothing. No two calls for one read model run at once, in
///   whatever number of daemons.
/// - **Old events** are given as the upcasters beside the projections' folders, in `_upcasters`, say; a change of one
///   whose type it handles is a change of the projection, as of its revision.
/// - **Who commits.** Everything written through `rows` is committed together with the checkpoint, after `Ok`; on
///   an error nothing of the batch stays. Do not commit, roll back or change the role there: a handler that ends
///   the transaction is refused, and halts.
/// - **What may repeat.** A batch whose transaction is lost is given again. So effects outside of `rows`, a mail
///   for one, may happen twice, and will at each rebuild: leave them out.
/// - **Same events, same rows.** Take times from the event and ids from its fields: a rebuild must make the same
///   rows. Read and write the read model's own tables, which `rows` finds without a schema's name.
/// - **Errors.** Those of PostgreSQL are sorted as for SQL handlers: a deadlock is tried again, a lost connection
///   waited for. Any other error is the event's: batches are made smaller until it stands alone, and then the
///   projection halts, or parks it.
/// - **Change.** When the rows would come out differently, change [`revision`](Self::revision): then the read model
///   is built anew beside the old one. Until it has caught up the old rows stand still, since the code that
///   would feed them is gone.
/// - **Do not block.** A call that blocks its thread holds up others; a panic ends this projector alone, which is
///   started again after some seconds.
#[async_trait]
pub trait Projection: Send + Sync {
    /// Its name, and the schema's that readers use: a lower-case letter, then at most 47 of a-z, 0-9 and _.
    fn name(&self) -> &str;

    /// Of this code, in the sense of which rows it makes.
    fn revision(&self) -> &str;

    /// Creates the tables, by names without a schema; as `schema.sql` of a folder.
    fn schema_sql(&self) -> &str;

    /// The event types that it wants; `*` stands for any text, `?` for any one character.
    fn handles(&self) -> &[&str];

    /// What becomes of an event that it refuses.
    fn on_error(&self) -> OnError {
        OnError::Halt
    }

    /// Applies a batch.
    ///
    /// # Errors
    /// When an event cannot be applied: see the contract.
    async fn apply(&self, events: &[LogEvent], rows: &mut PgConnection) -> Result<(), HandlerError>;
}

/// Why a batch was not applied.
#[derive(Debug, Error)]
pub enum HandlerError {
    /// PostgreSQL refused it, or is away.
    #[error(transparent)]
    Postgres(#[from] sqlx::Error),
    /// The event makes no sense to the handler.
    #[error("{0}")]
    Refused(String),
}

impl From<serde_json::Error> for HandlerError {
    fn from(error: serde_json::Error) -> Self {
        Self::Refused(error.to_string())
    }
}

/// A projection in Rust, shared.
#[derive(Clone)]
pub struct Code(pub(crate) Arc<dyn Projection>);

impl Code {
    /// For the daemon.
    pub fn new(projection: impl Projection + 'static) -> Self {
        Self(Arc::new(projection))
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0.name(), self.0.revision())
    }
}
