//! The projectors that run, and what a reload does to them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use tracing::{error, info, warn};

use super::bells::Bells;
use crate::config::Config;
use crate::projection::{Problem, Projection, load_all};
use crate::projector::{Progress, Projector, known, refuse};
use crate::shutdown::Trigger;

/// How long a projector that panicked stays away.
const AFTER_PANIC: Duration = Duration::from_secs(5);

/// All projectors of this daemon.
pub(super) struct Fleet {
    config: Config,
    pool: PgPool,
    bells: Arc<Bells>,
    tasks: JoinSet<()>,
    running: HashMap<String, Running>,
    /// Projections whose folders cannot be used.
    refused: Vec<String>,
}

struct Running {
    projection: Projection,
    shutdown: Trigger,
    progress: watch::Receiver<Progress>,
    task: Id,
}

impl Fleet {
    pub(super) fn new(config: Config, pool: PgPool, bells: Arc<Bells>) -> Self {
        Self { config, pool, bells, tasks: JoinSet::new(), running: HashMap::new(), refused: Vec::new() }
    }

    /// Reads the projections' folders: starts what is new, restarts what has changed, stops what is
    /// gone. What cannot be read stays as it was.
    pub(super) async fn load(&mut self) -> Result<(), Problem> {
        let (projections, problems) = load_all(&self.config.projections.path)?;
        for problem in &problems {
            error!(problem = %problem, "projection not loaded");
        }
        let path = &self.config.projections.path;
        let of = |problem: &Problem| problem.projection(path);
        let broken = |name: &str| problems.iter().any(|problem| of(problem).as_deref() == Some(name));
        self.refused =
            problems.iter().filter_map(of).filter(|name| !self.running.contains_key(name)).collect();
        self.refused.dedup();
        for problem in problems.iter().rev() {
            if let Some(name) = of(problem).filter(|name| self.refused.contains(name)) {
                refuse(&self.pool, &name, &problem.to_string()).await;
            }
        }
        for name in known(&self.pool).await {
            if !broken(&name) && !projections.iter().any(|it| it.name == name) {
                refuse(&self.pool, &name, "its folder is gone; its read model stays as it is").await;
            }
        }
        let gone = |name: &String| !projections.iter().any(|it| it.name == **name) && !broken(name);
        for name in self.running.keys().filter(|name| gone(name)).cloned().collect::<Vec<_>>() {
            warn!(projection = name, "its folder is gone; its read model stays as it is");
            self.stop(&name);
        }
        for projection in projections {
            let name = projection.name.clone();
            match self.running.get(&name) {
                Some(running) if running.projection.fingerprint() == projection.fingerprint() => {}
                Some(_) => {
                    info!(projection = name, "its files have changed");
                    self.stop(&name);
                    self.start(projection, Duration::ZERO);
                }
                None => self.start(projection, Duration::ZERO),
            }
        }
        self.bells.control.ring();
        Ok(())
    }

    /// The projections whose folders cannot be used, and that do not run from earlier.
    pub(super) fn refused(&self) -> Vec<String> {
        self.refused.clone()
    }

    /// How far each projection is.
    pub(super) fn progress(&self) -> HashMap<String, watch::Receiver<Progress>> {
        self.running.iter().map(|(name, running)| (name.clone(), running.progress.clone())).collect()
    }

    /// Waits for a projector to end that was not told to, and starts it again.
    pub(super) async fn watch(&mut self) {
        let Some(ended) = self.tasks.join_next_with_id().await else {
            return std::future::pending().await;
        };
        let (id, panicked) = match ended {
            Ok((id, ())) => (id, false),
            Err(error) => (error.id(), true),
        };
        let Some(name) = self.running.iter().find(|(_, it)| it.task == id).map(|(name, _)| name.clone())
        else {
            return;
        };
        error!(projection = name, panicked, "a projector ended; starting it again");
        if let Some(running) = self.running.remove(&name) {
            self.start(running.projection, AFTER_PANIC);
        }
    }

    /// Tells all to stop, and waits until they have.
    pub(super) async fn drain(&mut self) {
        for running in self.running.values() {
            running.shutdown.request();
        }
        self.running.clear();
        while self.tasks.join_next().await.is_some() {}
    }

    fn start(&mut self, projection: Projection, after: Duration) {
        let shutdown = Trigger::new();
        let projector = Projector::new(
            projection.clone(),
            self.config.projector.clone(),
            self.config.projections.on_change,
            self.pool.clone(),
            self.bells.log.bell(),
            self.bells.control.bell(),
            shutdown.subscribe(),
        );
        let progress = projector.progress();
        let task = self.tasks.spawn(async move {
            tokio::time::sleep(after).await;
            projector.run().await;
        });
        let task = task.id();
        self.running.insert(projection.name.clone(), Running { projection, shutdown, progress, task });
    }

    fn stop(&mut self, name: &str) {
        if let Some(running) = self.running.remove(name) {
            running.shutdown.request();
        }
    }
}
