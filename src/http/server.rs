//! The server: an address that is bound before anything else is begun, and a thread that answers there.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};
use uuid::Uuid;

use super::access::Access;
use super::body::Bodies;
use super::history::{self, History};
use super::latest::Latest;
use super::measured::Measured;
use super::{Shared, routes, serve};
use crate::config::{Config, Http};
use crate::health::Health;
use crate::measure::Measures;
use crate::postgres::Options;
use crate::projection::Definition;
use crate::projector::Bell;
use crate::pulse::Pulse;
use crate::shutdown::Shutdown;
use crate::store::rethinkdb::Server as RethinkServer;
use crate::store::{EventStore, PostgresStore, RethinkStore, Settings};

/// Connections to PostgreSQL for requests.
const CONNECTIONS: u32 = 2;
/// How much the thread gives way to others.
#[cfg(target_os = "linux")]
const NICE: i32 = 5;
/// Connections to the store.
const STORE_CONNECTIONS: usize = 2;

/// A server that has its address, and answers nothing yet.
#[derive(Debug)]
pub(crate) struct Server {
    listener: TcpListener,
    access: Access,
    config: Http,
}

/// What it works with; see [`Shared`].
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) postgres: Options,
    /// None where the log is the store.
    pub(crate) store: Option<RethinkServer>,
    pub(crate) config: Config,
    pub(crate) code: Vec<Definition>,
    pub(crate) daemon: Uuid,
    pub(crate) health: watch::Receiver<Health>,
    pub(crate) pulse: Pulse,
    /// Rings when the log is longer.
    pub(crate) bell: Bell,
    pub(crate) measures: Measures,
    /// How long requests in hand may take to end.
    pub(crate) drain: Duration,
}

impl Server {
    /// Takes the configured address, if there is one.
    ///
    /// # Errors
    /// Where it cannot be had, or where other machines reach it and need no token; for a reader.
    pub(crate) fn bind(config: &Http) -> Result<Option<Self>, String> {
        let listen = &config.listen;
        if listen.is_empty() {
            return Ok(None);
        }
        let problem = |error: io::Error| match error.kind() {
            io::ErrorKind::AddrInUse => format!(
                "http.listen: {listen} is taken, perhaps by another daemon; set [http] listen to another address, or \
                 to \"\" for none"
            ),
            _ => format!("http.listen: {listen}: {error}; set [http] listen to an address of this machine"),
        };
        let listener = TcpListener::bind(listen).map_err(problem)?;
        listener.set_nonblocking(true).map_err(problem)?;
        let access = Access::new(config, listener.local_addr().map_err(problem)?)?;
        Ok(Some(Self { listener, access, config: config.clone() }))
    }

    /// Answers until it is told to stop, on a thread of its own; ends when that does.
    pub(crate) async fn run(self, parts: Parts, shutdown: Shutdown) {
        let (running, ended) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("http".into()).spawn(move || {
            let _running = running;
            // Where there is not enough of the processor for both, projections come first. Of this thread alone, which
            // is how Linux has it.
            #[cfg(target_os = "linux")]
            let _ = rustix::process::nice(NICE);
            match runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime.block_on(self.answer(parts, shutdown)),
                Err(error) => warn!(%error, "cannot answer over HTTP"),
            }
        });
        match thread {
            // The sender is dropped with the thread, however it ends.
            Ok(_) => drop(ended.await),
            Err(error) => warn!(%error, "cannot answer over HTTP"),
        }
    }

    /// A connection belongs to the runtime that made it, so these are made here.
    async fn answer(self, parts: Parts, shutdown: Shutdown) {
        let address: io::Result<SocketAddr> = self.listener.local_addr();
        let listener = match tokio::net::TcpListener::from_std(self.listener) {
            Ok(listener) => listener,
            Err(error) => return warn!(%error, "cannot answer over HTTP"),
        };
        if let Ok(address) = address {
            info!(%address, "answering over HTTP");
        }
        let Parts { postgres, store, config, code, daemon, health, pulse, bell, measures, drain } = parts;
        let settings = config.store.settings();
        let settings = Settings { connections: settings.connections.min(STORE_CONNECTIONS), ..settings };
        let store: Arc<dyn EventStore> = match store {
            Some(server) => Arc::new(Measured::new(RethinkStore::new(server, settings), measures.append())),
            None => Arc::new(Measured::new(PostgresStore::new(&postgres, settings), measures.append())),
        };
        let pool = postgres.pool(CONNECTIONS);
        let status = Latest::new(postgres.pool(1), config.store.clone());
        let shutting_down = shutdown.clone();
        let shared = Arc::new(Shared {
            pool,
            store,
            status,
            history: History::default(),
            measures,
            config,
            code,
            daemon,
            health,
            bell,
            pulse,
            shutdown,
        });
        let recording = history::record(Arc::clone(&shared));
        let http = shared.measures.http();
        let bodies = Bodies::of_at_most(self.config.max_body_bytes);
        let router = routes::router(shared, Arc::new(self.access), bodies);
        let serving = serve::serve(listener, router, self.config.max_connections, drain, http, shutting_down);
        // Curves that end are no reason to answer nothing.
        let mut tasks = JoinSet::new();
        tasks.spawn(recording);
        let mut serving = pin!(serving);
        tokio::select! {
            () = &mut serving => {}
            Some(ended) = tasks.join_next() => {
                serve::look_at("the history is not kept any more", &ended);
                serving.await;
            }
        }
    }
}
