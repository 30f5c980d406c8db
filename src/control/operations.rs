//! What operators did: written down in the transaction that does it, and read again.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::{FromRow, Postgres, Transaction};

use super::{Control, ControlError};

/// Something that an operator did.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct Operation {
    /// When.
    pub at: DateTime<Utc>,
    /// `user@host`, or `http` with the name of a token.
    pub who: String,
    /// `pause`, `rebuild` and so on.
    pub what: String,
    /// To which projection.
    pub projection: Option<String>,
    /// What else is to say: which event, which generation.
    pub detail: Value,
}

/// Who runs this process, as `user@host`.
pub fn this_user() -> String {
    let named = ["USER", "LOGNAME"].iter().filter_map(|name| std::env::var(name).ok());
    let user = named.into_iter().find(|name| !name.is_empty());
    let user = user.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()));
    format!("{user}@{}", rustix::system::uname().nodename().to_string_lossy())
}

impl Control {
    /// The newest operations, the newest first; of one projection, or of all.
    ///
    /// # Errors
    /// See [`daemons`](Self::daemons).
    pub async fn operations(
        &self,
        projection: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Operation>, ControlError> {
        Ok(sqlx::query_as(
            "select at, who, what, projection, detail from projectord.operations
              where $1::text is null or projection = $1 order by operation desc limit $2",
        )
        .bind(projection)
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?)
    }

    /// Ends what was done: puts it on record, tells whoever acts on it, and commits.
    pub(super) async fn done(
        &self,
        mut tx: Transaction<'_, Postgres>,
        what: &str,
        projection: &str,
        detail: Value,
    ) -> Result<(), ControlError> {
        sqlx::query(
            "with noted as (insert into projectord.operations (who, what, projection, detail) values ($1, $2, $3, $4))
             select pg_notify('projectord_control', '')",
        )
        .bind(&self.who)
        .bind(what)
        .bind(projection)
        .bind(detail)
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }
}
