//! Whether a projection runs: pause and resume.

use serde_json::json;

use super::{Control, ControlError};
use crate::projector::Wanted;

impl Control {
    /// Stops a projection where it is.
    ///
    /// # Errors
    /// See [`generation`](Self::generation).
    pub async fn pause(&self, name: &str) -> Result<String, ControlError> {
        let sql = "update projectord.projections set wanted = $2 where name = $1";
        self.want(name, sql, Wanted::Paused, "pause").await?;
        Ok(format!("{name} will pause"))
    }

    /// Lets a paused or halted projection go on.
    ///
    /// # Errors
    /// See [`generation`](Self::generation).
    pub async fn resume(&self, name: &str) -> Result<String, ControlError> {
        // A halted projection goes on when the error is gone from its row; so does a build that has failed.
        let sql = "with builds as (update projectord.generations set error = null
                                    where projection = $1 and error is not null)
                   update projectord.projections set wanted = $2, error = null, rebuild_error = null where name = $1";
        self.want(name, sql, Wanted::Running, "resume").await?;
        Ok(format!("{name} will go on"))
    }

    async fn want(
        &self,
        name: &str,
        sql: &'static str,
        wanted: Wanted,
        what: &str,
    ) -> Result<(), ControlError> {
        let mut tx = self.pool.begin().await?;
        let done = sqlx::query(sql).bind(name).bind(wanted.as_str()).execute(&mut *tx).await?;
        if done.rows_affected() == 0 {
            tx.rollback().await?;
            return Err(self.unknown(name).await);
        }
        self.done(tx, what, name, json!({})).await
    }
}
