//! The feeders of one projection: as many as there are generations beside the live one.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::PgPool;
use tokio::task::{Id, JoinSet};
use tracing::{Instrument, debug, error, info, info_span};

use super::feeder::Feeder;
use super::record::Aside;
use crate::postgres::describe;
use crate::shutdown::{Shutdown, Trigger};

/// How long readers of old rows may keep their tables from being dropped; then it is tried again.
const PATIENCE: Duration = Duration::from_secs(2);

/// Tasks by generation; each is told to stop and waited for.
#[derive(Debug, Default)]
pub(super) struct Feeders {
    running: HashMap<i64, Running>,
    /// Old rows that are being dropped, which may have to wait for readers; the live ones do not wait for it.
    dropping: HashMap<Id, i64>,
    tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Running {
    stop: Trigger,
    task: Id,
}

impl Feeders {
    /// Runs what the rows say, and nothing else. Those that have failed are left alone, unless `again`. Old rows
    /// whose time is over are dropped.
    pub(super) fn follow(
        &mut self,
        pool: &PgPool,
        projection: &str,
        rows: &[Aside],
        again: bool,
        feeder: impl Fn(Aside, Shutdown) -> Feeder,
    ) {
        while let Some(ended) = self.tasks.try_join_next_with_id() {
            let id = match ended {
                Ok((id, ())) => id,
                Err(failed) => {
                    error!(projection, "what works on a generation has panicked; it is started again");
                    failed.id()
                }
            };
            self.running.retain(|_, it| it.task != id);
            self.dropping.remove(&id);
        }
        let wanted = |generation: &i64| rows.iter().any(|row| row.generation == *generation && !row.is_over);
        for (_, gone) in self.running.extract_if(|generation, _| !wanted(generation)) {
            gone.stop.request();
        }
        for row in rows {
            if self.dropping.values().any(|generation| *generation == row.generation) {
                continue;
            }
            if row.is_over {
                let drop = drop_old(pool.clone(), projection.to_owned(), row.generation);
                let task = self.tasks.spawn(drop.in_current_span()).id();
                self.dropping.insert(task, row.generation);
            } else if !self.running.contains_key(&row.generation) && (row.error.is_none() || again) {
                let stop = Trigger::new();
                let span = info_span!("generation", generation = row.generation, state = row.state);
                let run = feeder(row.clone(), stop.subscribe()).run().instrument(span);
                let task = self.tasks.spawn(run).id();
                self.running.insert(row.generation, Running { stop, task });
            }
        }
    }

    /// Tells all to stop, and waits until they have: batches in hand are finished.
    pub(super) async fn stop(&mut self) {
        for (_, running) in self.running.drain() {
            running.stop.request();
        }
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn drop_old(pool: PgPool, projection: String, generation: i64) {
    let dropped = async {
        let mut tx = pool.begin().await?;
        let patience = format!("{}ms", PATIENCE.as_millis());
        sqlx::query("select set_config('lock_timeout', $1, true)").bind(patience).execute(&mut *tx).await?;
        sqlx::query("select projectord.drop_generation($1, $2)")
            .bind(projection)
            .bind(generation)
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    };
    match tokio::time::timeout(PATIENCE * 2, dropped).await {
        Ok(Ok(())) => info!(generation, "dropped the retired rows"),
        Ok(Err(error)) => debug!(generation, error = %describe(&error), "retired rows cannot be dropped yet"),
        Err(_) => debug!(generation, "retired rows cannot be dropped yet"),
    }
}
