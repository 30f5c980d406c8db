//! What this daemon runs: ingest and the projectors whose leases it holds. Here is what a reload does to
//! them, what becomes of one that ends by itself, and how one is handed over.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::timeout;
use tracing::{error, info, warn};

use super::bells::Bells;
use crate::config::Config;
use crate::ingest::{self, Ingest};
use crate::lease::{Held, INGEST, Lease, release};
use crate::measure::Measures;
use crate::projection::{Definition, Problem, load_all};
use crate::projector::{Pace, Progress, Projector, Sessions, Settings, known, refuse};
use crate::shutdown::Trigger;
use crate::store::RethinkStore;

/// How long something that panicked stays away.
const AFTER_PANIC: Duration = Duration::from_secs(5);
/// How long PostgreSQL may take to be told something; meanwhile signals wait.
pub(super) const SHORT: Duration = Duration::from_secs(2);

/// All loops of this daemon.
pub(super) struct Fleet {
    config: Config,
    /// For the projectors.
    work: Sessions,
    /// For everything else.
    control: PgPool,
    bells: Arc<Bells>,
    store: Option<(RethinkStore, watch::Sender<ingest::Progress>)>,
    pace: Pace,
    measures: Measures,
    /// Projections in Rust, beside those that are folders.
    code: Vec<Definition>,
    projections: HashMap<String, Definition>,
    progress: HashMap<String, watch::Sender<Progress>>,
    /// What the leases allow.
    held: HashMap<String, Held>,
    running: HashMap<String, Running>,
    tasks: JoinSet<()>,
    able: watch::Sender<Vec<String>>,
    /// Projections whose folders cannot be used, and that do not run from earlier.
    refused: Vec<String>,
}

struct Running {
    lease: Lease,
    shutdown: Trigger,
    task: Id,
}

impl Fleet {
    /// Nothing runs yet. `store` is what ingest would copy, and who waits for that.
    pub(super) fn new(
        config: Config,
        code: Vec<Definition>,
        work: PgPool,
        control: PgPool,
        bells: Arc<Bells>,
        store: Option<(RethinkStore, watch::Sender<ingest::Progress>)>,
        measures: Measures,
    ) -> Self {
        Self {
            pace: Pace::new(config.rebuild.max_share),
            measures,
            config,
            code,
            work: Sessions::new(work),
            control,
            bells,
            store,
            projections: HashMap::new(),
            progress: HashMap::new(),
            held: HashMap::new(),
            running: HashMap::new(),
            tasks: JoinSet::new(),
            able: watch::Sender::default(),
            refused: Vec::new(),
        }
    }

    /// What this daemon could run, as folders come and go.
    pub(super) fn able(&self) -> watch::Receiver<Vec<String>> {
        self.able.subscribe()
    }

    /// Reads the projections' folders: takes up what is new, restarts what has changed, stops what is
    /// gone. What cannot be read stays as it was; how many problems there were.
    pub(super) async fn load(&mut self) -> Result<usize, Problem> {
        let path = &self.config.projections.path;
        let (mut projections, mut problems) = match self.code.is_empty() || path.exists() {
            true => load_all(path)?,
            false => (Vec::new(), Vec::new()),
        };
        for code in &self.code {
            if let Some(folder) = projections.iter().find(|it| it.name == code.name) {
                let message = "this program has a projection in Rust of that name, which is what runs";
                problems.push(Problem::new(&folder.folder, message));
            }
        }
        projections.retain(|it| !self.code.iter().any(|code| code.name == it.name));
        for code in &self.code {
            match code.clone().with_upcasters(path) {
                Ok(code) => projections.push(code),
                Err(problem) => problems.push(problem),
            }
        }
        for problem in &problems {
            error!(problem = %problem, "projection not loaded");
        }
        let of = |problem: &Problem| problem.projection(path);
        let broken = |name: &str| problems.iter().any(|problem| of(problem).as_deref() == Some(name));
        self.refused =
            problems.iter().filter_map(of).filter(|name| !self.projections.contains_key(name)).collect();
        self.refused.dedup();
        let told = async {
            for problem in problems.iter().rev() {
                if let Some(name) = of(problem).filter(|name| self.refused.contains(name)) {
                    refuse(&self.control, &name, &problem.to_string()).await;
                }
            }
            for name in known(&self.control).await {
                if !broken(&name) && !projections.iter().any(|it| it.name == name) {
                    refuse(&self.control, &name, "its folder is gone; its read model stays as it is").await;
                }
            }
        };
        drop(timeout(SHORT, told).await);
        let gone = |name: &String| !projections.iter().any(|it| it.name == **name) && !broken(name);
        for name in self.projections.keys().filter(|name| gone(name)).cloned().collect::<Vec<_>>() {
            warn!(projection = name, "its folder is gone; its read model stays as it is");
            self.projections.remove(&name);
            self.progress.remove(&name);
            self.stop(&name);
        }
        for projection in projections {
            let name = projection.name.clone();
            self.progress.entry(name.clone()).or_default();
            let before = self.projections.insert(name.clone(), projection.clone());
            if before.is_some_and(|before| !before.is_same(&projection)) {
                info!(projection = name, "its files have changed");
                self.stop(&name);
            }
        }
        self.able.send_replace(self.names());
        self.give_back_what_rests().await;
        self.run_what_is_held(Duration::ZERO);
        self.bells.control.ring();
        Ok(problems.len())
    }

    /// Runs what the leases allow, and nothing else.
    pub(super) async fn follow_leases(&mut self, held: Vec<Held>) {
        self.held = held.into_iter().map(|held| (held.name.clone(), held)).collect();
        for name in self.running.keys().cloned().collect::<Vec<_>>() {
            match self.held.get(&name) {
                Some(held) if held.hand_over => {
                    if !self.running[&name].shutdown.subscribe().is_requested() {
                        info!(name, "handed over to a daemon that has less to do");
                        self.running[&name].shutdown.request();
                    }
                }
                Some(held) if held.lease == self.running[&name].lease => {}
                _ => {
                    warn!(name, "the lease is lost");
                    self.stop(&name);
                }
            }
        }
        self.give_back_what_rests().await;
        self.run_what_is_held(Duration::ZERO);
    }

    /// The projections whose folders cannot be used, and that do not run from earlier.
    pub(super) fn refused(&self) -> Vec<String> {
        self.refused.clone()
    }

    /// How far each projection is, as far as this daemon runs it.
    pub(super) fn progress(&self) -> HashMap<String, watch::Receiver<Progress>> {
        self.progress.iter().map(|(name, progress)| (name.clone(), progress.subscribe())).collect()
    }

    /// Waits for something to end. Nothing is lost where the wait is given up.
    pub(super) async fn ended(&mut self) -> Result<(Id, ()), JoinError> {
        match self.tasks.join_next_with_id().await {
            Some(ended) => ended,
            None => std::future::pending().await,
        }
    }

    /// What ended without being told to is started again; what is handed over is given back.
    pub(super) async fn after_end(&mut self, ended: Result<(Id, ()), JoinError>) {
        let (id, panicked) = match ended {
            Ok((id, ())) => (id, false),
            Err(error) => (error.id(), true),
        };
        let Some(name) = self.running.iter().find(|(_, it)| it.task == id).map(|(name, _)| name.clone())
        else {
            return;
        };
        self.running.remove(&name);
        if self.held.get(&name).is_some_and(|held| held.hand_over) {
            self.give_back_what_rests().await;
            return;
        }
        error!(name, panicked, "ended by itself; starting it again");
        self.run_what_is_held(AFTER_PANIC);
    }

    /// Tells all to stop, and waits until they have.
    pub(super) async fn drain(&mut self) {
        for running in self.running.values() {
            running.shutdown.request();
        }
        self.running.clear();
        while self.tasks.join_next().await.is_some() {}
    }

    /// Gives back what is handed over and has ended.
    async fn give_back_what_rests(&mut self) {
        let rests = |held: &&Held| held.hand_over && !self.running.contains_key(&held.name);
        for held in self.held.values().filter(rests).cloned().collect::<Vec<_>>() {
            self.held.remove(&held.name);
            // Where it cannot be given back, the keeper says so again.
            drop(timeout(SHORT, release(&self.control, &held.name, held.lease)).await);
        }
    }

    fn names(&self) -> Vec<String> {
        let ingest = self.store.is_some().then(|| INGEST.to_owned());
        self.projections.keys().cloned().chain(ingest).collect()
    }

    fn run_what_is_held(&mut self, after: Duration) {
        for (name, held) in self.held.clone() {
            if !held.hand_over && !self.running.contains_key(&name) {
                self.start(&name, held.lease, after);
            }
        }
    }

    fn start(&mut self, name: &str, lease: Lease, after: Duration) {
        let shutdown = Trigger::new();
        let task = if let (INGEST, Some((store, progress))) = (name, &self.store) {
            let ingest = Ingest::new(
                store.clone(),
                self.control.clone(),
                lease,
                self.config.ingest.clone(),
                progress.clone(),
                shutdown.subscribe(),
            );
            self.tasks.spawn(later(after, ingest.measured(self.measures.ingest()).run()))
        } else if let Some(projection) = self.projections.get(name) {
            let projector = Projector::new(
                projection.clone(),
                lease,
                Settings {
                    config: self.config.projector.clone(),
                    rebuild: self.config.rebuild.clone(),
                    on_change: self.config.projections.on_change,
                },
                self.work.clone(),
                self.bells.log.bell(),
                self.bells.control.bell(),
                self.pace.clone(),
                self.progress.entry(name.to_owned()).or_default().clone(),
                shutdown.subscribe(),
            );
            self.tasks.spawn(later(after, projector.measured(self.measures.projection(name)).run()))
        } else {
            return;
        };
        self.running.insert(name.to_owned(), Running { lease, shutdown, task: task.id() });
    }

    fn stop(&mut self, name: &str) {
        if let Some(running) = self.running.remove(name) {
            running.shutdown.request();
        }
    }
}

async fn later(after: Duration, task: impl Future<Output = ()>) {
    tokio::time::sleep(after).await;
    task.await;
}
