//! From connecting to the end.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use super::bells::{Bells, listen};
use super::builder::Daemon;
use super::fleet::Fleet;
use super::prepare::prepare;
use super::reload::reload;
use super::signals::{Request, Requests};
use super::{caught_up, health, keeper};
use crate::config::Config;
use crate::fault;
use crate::health::Health;
use crate::http;
use crate::ingest;
use crate::lease::{Identity, leave};
use crate::measure::Measures;
use crate::postgres::{MigrateError, Options};
use crate::projection::{Definition, Problem, load_all};
use crate::pulse::Pulse;
use crate::shutdown::Trigger;
use crate::store::RethinkStore;
use crate::store::rethinkdb::Server;

/// When the daemon ends of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Never.
    Forever,
    /// When every projection has reached the log's head as it was at the start.
    UntilCaughtUp,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Somebody said so.
    Stopped,
    /// Every projection is where it should be.
    CaughtUp,
    /// These projections are halted.
    Halted(Vec<String>),
}

/// Why it did not start, or could not go on.
#[derive(Debug, Error)]
pub enum RunError {
    /// The projections' folder cannot be read.
    #[error("{0}")]
    Projections(Problem),
    /// The configuration holds a URL that is none.
    #[error("{0}")]
    Config(String),
    /// PostgreSQL refused the daemon's own schema.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// A signal handler could not be set, or PostgreSQL went away from a job.
    #[error("{0}")]
    Failed(String),
}

/// Runs the daemon, until a signal or until `stop` is done.
pub(super) async fn run_until(daemon: Daemon, stop: impl Future<Output = ()>) -> Result<Outcome, RunError> {
    let Daemon { config, file, level, mode, code, notify } = daemon;
    let mut requests =
        Requests::new().map_err(|error| RunError::Failed(format!("cannot handle signals: {error}")))?;
    let options: Options = config
        .postgres
        .url
        .reveal()
        .parse()
        .map_err(|error| RunError::Config(format!("postgres.url: {error}")))?;
    info!(version = env!("CARGO_PKG_VERSION"), postgres = options.place(), store = %store_name(&config), "starting");
    fault::arm();
    // What can fail without a network fails first.
    let code = code.into_iter().map(Definition::try_from).collect::<Result<Vec<_>, _>>();
    let code = code.map_err(RunError::Projections)?;
    if code.is_empty() || config.projections.path.exists() {
        load_all(&config.projections.path).map_err(RunError::Projections)?;
    }
    // A job beside a daemon that runs needs no address.
    let http = match mode {
        Mode::Forever => http::Server::bind(&config.http).map_err(RunError::Config)?,
        Mode::UntilCaughtUp => None,
    };
    let server: Option<Server> = match &config.store.url {
        None => None,
        Some(url) => {
            Some(url.reveal().parse().map_err(|error| RunError::Config(format!("store.url: {error}")))?)
        }
    };
    let settings = config.store.settings();
    let patient = options.clone().statement_timeout(Duration::from_secs(30));
    let who = Identity::of_this_process();
    let shutdown = Trigger::new();
    let (found, health) = watch::channel(Health::unknown());
    let mut tasks = JoinSet::new();
    // From here on it is answered whether the daemon lives, also while PostgreSQL is away.
    let (pulse, measures) = (Pulse::new(), Measures::default());
    tasks.spawn(named("pulse", pulse.clone().beat(shutdown.subscribe())));
    let bells = Arc::new(Bells::default());
    let (answering, http_ended) = oneshot::channel::<()>();
    if let Some(http) = http {
        let parts = http::Parts {
            postgres: patient.clone(),
            store: server.clone(),
            config: config.clone(),
            code: code.clone(),
            daemon: who.id,
            health: health.clone(),
            pulse: pulse.clone(),
            bell: bells.log.bell(),
            measures: measures.clone(),
            drain: config.shutdown.drain * 3 / 4,
        };
        let running = http.run(parts, shutdown.subscribe());
        tasks.spawn(named("http", async move {
            running.await;
            drop(answering);
        }));
    } else {
        // Nobody is waited for.
        drop(answering);
    }
    let control = patient.pool(6);
    let work = options.statement_timeout(config.projector.batch_timeout).pool(config.postgres.connections);
    notify.status("waiting for PostgreSQL");
    tokio::pin!(stop);
    let stopped = tokio::select! {
        ready = prepare(&control) => ready.map(|()| false)?,
        () = asked_to_stop(&mut requests) => true,
        () = &mut stop => true,
    };
    if stopped {
        notify.stopping();
        shutdown.request();
        tokio::select! {
            _ = tokio::time::timeout(config.shutdown.drain, http_ended) => {}
            // A second signal ends the process in there.
            () = asked_to_stop(&mut requests) => {}
        }
        return Ok(Outcome::Stopped);
    }

    #[cfg(feature = "sabotage")]
    crate::sabotage::spoil(&control)
        .await
        .map_err(|error| RunError::Failed(crate::postgres::describe(&error)))?;

    let (progress, store_read) = watch::channel(match config.store.url {
        Some(_) => ingest::Progress::Reading,
        None => ingest::Progress::Complete,
    });
    let store = server.clone().map(|server| (RethinkStore::new(server, settings.clone()), progress));
    let server = server.map(|server| (server, settings));
    let looks = Pulse::new();
    let watching_health = health::watch(patient, server, who.id, found, looks.clone(), shutdown.subscribe());
    let mut fleet =
        Fleet::new(config.clone(), code, work, control.clone(), Arc::clone(&bells), store, measures);
    fleet.load().await.map_err(RunError::Projections)?;
    let (held, mut leases) = watch::channel(Vec::new());
    let keeper = keeper::beat(
        control.clone(),
        who.clone(),
        fleet.able(),
        bells.control.bell(),
        held,
        shutdown.subscribe(),
    );
    tasks.spawn(named("listener", listen(control.clone(), who.id, Arc::clone(&bells))));
    tasks.spawn(named("keeper", keeper));
    tasks.spawn(named("health", watching_health));
    notify.ready();
    let _fed = notify.watch(pulse, looks, health);

    let projections = fleet.progress();
    let caught_up = async {
        match mode {
            Mode::Forever => std::future::pending().await,
            Mode::UntilCaughtUp => caught_up::wait(&control, who.id, projections, store_read).await,
        }
    };
    tokio::pin!(caught_up);
    let outcome = loop {
        tokio::select! {
            request = requests.next() => match request {
                Request::Stop => break Ok(Outcome::Stopped),
                Request::Reload => {
                    notify.reloading();
                    reload(&mut fleet, &control, who.id, file.as_deref(), level.as_ref()).await;
                    notify.ready();
                }
            },
            () = &mut stop => break Ok(Outcome::Stopped),
            done = &mut caught_up => break match done {
                Ok(halted) => match [halted, fleet.refused()].concat() {
                    none if none.is_empty() => Ok(Outcome::CaughtUp),
                    halted => Ok(Outcome::Halted(halted)),
                },
                Err(reason) => Err(RunError::Failed(reason)),
            },
            Ok(()) = leases.changed() => {
                let held = leases.borrow_and_update().clone();
                fleet.follow_leases(held).await;
            }
            ended = fleet.ended() => fleet.after_end(ended).await,
            Some(ended) = tasks.join_next() => {
                let name = ended.unwrap_or("a task, by a panic");
                error!(task = name, "ended unexpectedly; stopping");
                break Err(RunError::Failed(format!("{name} ended unexpectedly")));
            }
        }
    };
    notify.stopping();
    shutdown.request();
    let drained = async {
        fleet.drain().await;
        // Where PostgreSQL is away, the leases end by themselves.
        let _ = leave(&control, &who).await;
        // Requests in hand are answered.
        drop(http_ended.await);
        tasks.shutdown().await;
    };
    tokio::select! {
        done = tokio::time::timeout(config.shutdown.drain, drained) => match done {
            Ok(()) => info!("stopped"),
            Err(_) => warn!("stopped before everything in hand was finished; it is rolled back"),
        },
        // A second signal ends the process in there.
        () = asked_to_stop(&mut requests) => {}
    }
    outcome
}

async fn asked_to_stop(requests: &mut Requests) {
    while requests.next().await != Request::Stop {}
}

async fn named(name: &'static str, task: impl Future<Output = ()>) -> &'static str {
    task.await;
    name
}

fn store_name(config: &Config) -> String {
    config.store.url.as_ref().map_or("the log itself".into(), ToString::to_string)
}
