//! Whether this daemon does its part, measured from outside of what it believes: heads read by sessions of
//! its own, checkpoints as the database has them, on a thread of its own. What hangs the daemon, a handler
//! that blocks for one, must not hang whoever judges it.

use std::collections::HashMap;
use std::time::Duration;

use chrono::TimeDelta;
use sqlx::PgPool;
use tokio::runtime;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout};
use tracing::{info, warn};
use uuid::Uuid;

use crate::event::{StreamId, Version};
use crate::health::Health;
use crate::log::Log;
use crate::postgres::{Options, describe, why};
use crate::pulse::Pulse;
use crate::sabotage::{Bug, has};
use crate::shutdown::Shutdown;
use crate::store::rethinkdb::{CommitKey, Server};
use crate::store::{RethinkStore, Settings};

/// How often to look.
const LOOK: Duration = Duration::from_secs(3);
/// How long something may stand still with work before it. With the time between two looks, and the time
/// that a look may take, a stall is known within 30 s.
const STALL: Duration = Duration::from_secs(15);
/// How long one look may take.
const PATIENCE: Duration = Duration::from_secs(8);
/// Store commits are looked for in the log when they are this old, and no older than twice that.
const SETTLED: TimeDelta = TimeDelta::seconds(10);

/// Looks until it is told to stop, and writes down what it finds: into `health`, and into the daemon's row.
/// `looks` beats with each look that has come to an end. Ends when the thread does.
pub(super) async fn watch(
    postgres: Options,
    store: Option<(Server, Settings)>,
    daemon: Uuid,
    health: watch::Sender<Health>,
    looks: Pulse,
    shutdown: Shutdown,
) {
    let (running, ended) = oneshot::channel::<()>();
    let thread = std::thread::Builder::new().name("health".into()).spawn(move || {
        let _running = running;
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(look(postgres, store, daemon, health, looks, shutdown)),
            Err(error) => warn!(%error, "cannot watch the daemon's health"),
        }
    });
    match thread {
        // The sender is dropped with the thread, however it ends.
        Ok(_) => drop(ended.await),
        Err(error) => warn!(%error, "cannot watch the daemon's health"),
    }
}

/// A connection belongs to the runtime that made it, so these are made here.
async fn look(
    postgres: Options,
    store: Option<(Server, Settings)>,
    daemon: Uuid,
    health: watch::Sender<Health>,
    looks: Pulse,
    mut shutdown: Shutdown,
) {
    let pool = postgres.pool(2);
    let store = store.map(|(server, settings)| RethinkStore::new(server, settings));
    let mut stalls = Stalls::default();
    while !shutdown.within(LOOK).await {
        let mut reasons = match timeout(PATIENCE, Sample::read(&pool, daemon)).await {
            Ok(Ok(sample)) => stalls.judge(&sample, Instant::now()),
            Ok(Err(error)) => vec![format!("PostgreSQL: {}", describe(&why(&pool, error).await))],
            Err(_) => vec![format!("PostgreSQL does not answer within {PATIENCE:?}")],
        };
        if let Some(store) = &store {
            match timeout(PATIENCE, missing(&pool, store)).await {
                Ok(Ok(missing)) => reasons.extend(missing),
                Ok(Err(reason)) => reasons.push(reason),
                Err(_) => reasons.push(format!("RethinkDB does not answer within {PATIENCE:?}")),
            }
        }
        let found = Health { reasons };
        let changed = health.send_if_modified(|before| {
            let changed = before.is_ready() != found.is_ready();
            before.clone_from(&found);
            changed
        });
        match found.reasons.first() {
            Some(reason) if changed => warn!(reason, "not ready"),
            None if changed => info!("ready"),
            _ => {}
        }
        let written = sqlx::query("update projectord.daemons set ready = $2, reasons = $3 where id = $1")
            .bind(daemon)
            .bind(found.is_ready() || has(Bug::AlwaysReady))
            .bind(&found.reasons)
            .execute(&pool);
        // Where it cannot be written down, the daemon's row grows old, and that is seen too.
        drop(timeout(PATIENCE, written).await);
        looks.beat_once();
    }
}

/// The log's head, and what each projection that is to run has come to.
#[derive(Debug)]
struct Sample {
    head: i64,
    projections: Vec<Row>,
}

#[derive(Debug, Clone, sqlx::FromRow)]
struct Row {
    name: String,
    state: String,
    wanted: String,
    checkpoint: i64,
    /// Whether this daemon owns it, or could and nobody does.
    is_ours: bool,
}

impl Sample {
    async fn read(pool: &PgPool, daemon: Uuid) -> Result<Self, sqlx::Error> {
        // The head as it is in the events themselves, and not as anybody says that it is.
        let (head,): (i64,) = sqlx::query_as("select coalesce(max(position), 0) from projectord.events")
            .fetch_one(pool)
            .await?;
        let projections = sqlx::query_as(
            "select p.name, p.state, p.wanted, coalesce(g.checkpoint, 0) as checkpoint,
                    coalesce(l.owner = $1 or l.owner is null and p.name = any(d.able), false) as is_ours
               from projectord.projections p
               left join projectord.generations g on g.projection = p.name and g.generation = p.generation
               left join projectord.leases l on l.name = p.name
               left join projectord.daemons d on d.id = $1",
        )
        .bind(daemon)
        .fetch_all(pool)
        .await?;
        Ok(Self { head, projections })
    }
}

/// Since when each checkpoint stands where it does although there is work.
#[derive(Debug, Default)]
struct Stalls(HashMap<String, (i64, Instant)>);

impl Stalls {
    fn judge(&mut self, sample: &Sample, now: Instant) -> Vec<String> {
        let mut reasons = Vec::new();
        let mut standing = HashMap::new();
        for row in sample.projections.iter().filter(|row| row.is_ours && row.wanted == "running") {
            let Row { name, state, checkpoint, .. } = row;
            if state == "halted" {
                reasons.push(format!("{name} is halted"));
            } else if *checkpoint < sample.head {
                let since = match self.0.get(name) {
                    Some((before, since)) if before == checkpoint => *since,
                    _ => now,
                };
                standing.insert(name.clone(), (*checkpoint, since));
                if now - since >= STALL {
                    reasons.push(format!(
                        "{name} stands at {checkpoint} since {:?}, and the log's head is {}",
                        Duration::from_secs((now - since).as_secs()),
                        sample.head
                    ));
                }
            }
        }
        self.0 = standing;
        reasons
    }
}

/// Whether commits of the store that ingest must have seen are missing from the log.
async fn missing(pool: &PgPool, store: &RethinkStore) -> Result<Option<String>, String> {
    let history = store.history();
    let now = history.now().await.map_err(|error| error.to_string())?;
    let keys = history.keys_recorded_between(now - SETTLED * 2, now - SETTLED).await;
    let keys: Vec<CommitKey> = keys.map_err(|error| error.to_string())?;
    let places: Vec<(StreamId, Version)> = keys.iter().map(|key| (key.stream, key.last)).collect();
    let logged = Log::new(pool.clone()).commits_at(&places).await.map_err(|error| describe(&error))?;
    let lacking = logged.iter().filter(|commit| commit.is_none()).count();
    let age = SETTLED.num_seconds();
    Ok((lacking > 0).then(|| format!("ingest: {lacking} commits older than {age} s are not in the log")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(head: i64, checkpoint: i64, state: &str) -> Sample {
        let (name, state, wanted) = ("orders".into(), state.into(), "running".into());
        Sample { head, projections: vec![Row { name, state, wanted, checkpoint, is_ours: true }] }
    }

    #[test]
    fn a_checkpoint_that_stands_although_there_is_work_is_a_stall_whatever_its_state_says() {
        let mut stalls = Stalls::default();
        let begun = Instant::now();
        assert!(stalls.judge(&sample(10, 5, "live"), begun).is_empty());
        assert!(stalls.judge(&sample(20, 6, "live"), begun + STALL).is_empty(), "it moved");
        assert_eq!(stalls.judge(&sample(30, 6, "live"), begun + STALL * 2).len(), 1);
        assert!(stalls.judge(&sample(30, 30, "live"), begun + STALL * 2).is_empty(), "it caught up");
        assert!(stalls.judge(&sample(30, 30, "live"), begun + STALL * 9).is_empty(), "no work is no stall");
        assert_eq!(stalls.judge(&sample(30, 30, "halted"), begun).len(), 1);
    }
}
