//! `run --until-caught-up`: done when every projection has reached the log's head as it was.

use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::watch;

use crate::log::Log;

/// How often to look.
const LOOK: Duration = Duration::from_millis(50);

/// Waits until every named projection has reached the log's head as it was when the store had been
/// read; the names of those that are halted, if any are. One that is paused is left out.
pub(super) async fn wait(
    pool: &PgPool,
    names: &[String],
    mut complete: watch::Receiver<bool>,
) -> Result<Vec<String>, sqlx::Error> {
    let _ = complete.wait_for(|complete| *complete).await;
    let target = Log::new(pool.clone()).head().await?;
    loop {
        let rows: Vec<(String, String, Option<i64>)> = sqlx::query_as(
            "select p.name, p.state, g.checkpoint from projectord.projections p
               left join projectord.generations g on g.projection = p.name and g.generation = p.generation
              where p.name = any($1)",
        )
        .bind(names)
        .fetch_all(pool)
        .await?;
        let reached = |checkpoint: &Option<i64>| checkpoint.is_some_and(|it| it.unsigned_abs() >= target.0);
        let waiting = rows.iter().filter(|(_, state, checkpoint)| !reached(checkpoint) && state != "paused");
        let (halted, going): (Vec<_>, Vec<_>) = waiting.partition(|(_, state, _)| state == "halted");
        if rows.len() == names.len() && going.is_empty() {
            return Ok(halted.into_iter().map(|(name, _, _)| name.clone()).collect());
        }
        tokio::time::sleep(LOOK).await;
    }
}
