//! Whoever supervises the daemon hears how it is, and hears nothing where it does not get on.

use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use libtest_mimic::Trial;
use projectord::config::{Config, SecretUrl};
use projectord::daemon::{Daemon, Notify, Outcome};
use projectord::log::LogEvent;
use projectord::projection::{HandlerError, Projection};
use sqlx::PgConnection;
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::support::{self, Project, Way, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("notify::ready_reloading_and_stopping_are_said_when_they_are_so", says),
        trial("notify::a_server_that_is_away_is_said_and_the_watchdog_is_fed", away),
        trial("notify::a_handler_that_blocks_the_runtime_starves_the_watchdog", blocked),
        trial("notify::an_abstract_socket_is_heard_and_one_that_is_gone_stops_nothing", sockets),
    ]
}

/// What systemd would be.
struct Supervisor {
    socket: UnixDatagram,
    folder: TempDir,
}

impl Supervisor {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        Self { socket, folder }
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("notify")
    }

    /// The next thing that is said, within `patience`.
    fn hears(&self, patience: Duration) -> Option<String> {
        heard(&self.socket, patience)
    }

    /// Waits for this, within bounds; everything until then, with it.
    async fn until(&self, wanted: &str) -> Vec<String> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut all = Vec::new();
        loop {
            match self.hears(Duration::from_millis(200)) {
                Some(said) => {
                    all.push(said.clone());
                    if said.contains(wanted) {
                        return all;
                    }
                }
                None => tokio::task::yield_now().await,
            }
            assert!(Instant::now() < deadline, "not heard: {wanted}, but {all:?}");
        }
    }
}

fn heard(socket: &UnixDatagram, patience: Duration) -> Option<String> {
    socket.set_read_timeout(Some(patience)).unwrap();
    let mut bytes = [0; 4096];
    match socket.recv(&mut bytes) {
        Ok(n) => Some(String::from_utf8(bytes[..n].to_vec()).unwrap()),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
        Err(error) => panic!("{error}"),
    }
}

/// The daemon, supervised, with a watchdog of four seconds.
fn start(project: &Project, socket: &std::ffi::OsStr) -> support::Daemon {
    let log = std::fs::File::create(project.log_file()).unwrap();
    let mut run = project.command(&["run"]);
    run.env("NOTIFY_SOCKET", socket).env("WATCHDOG_USEC", "4000000").stdout(Stdio::null()).stderr(log);
    support::Daemon::of(run.spawn().unwrap())
}

async fn says() {
    let mut project = Project::new().await;
    project.copy("projections/orders");
    let mut way = Way::to(&project.postgres_url);
    project.postgres_url = way.url(&project.postgres_url);
    let supervisor = Supervisor::new();
    let daemon = start(&project, supervisor.path().as_os_str());
    let first = supervisor.until("STATUS=").await;
    assert_eq!(first.last().unwrap(), "STATUS=waiting for PostgreSQL");
    assert_eq!(supervisor.hears(Duration::from_secs(2)), None, "it is not ready, and not watched");
    way.open().await;
    supervisor.until("READY=1").await;
    project.until_state("orders", "live").await;
    supervisor.until("STATUS=ready").await;
    daemon.signal("HUP");
    let reload = supervisor.until("READY=1").await;
    let began = reload.iter().find(|said| said.starts_with("RELOADING=1\nMONOTONIC_USEC=")).unwrap();
    assert!(began.rsplit('=').next().unwrap().parse::<u64>().unwrap() > 0, "{began}");
    assert_eq!(daemon.stop(Duration::from_secs(10)).await, Some(0));
    let last = supervisor.until("STOPPING=1").await;
    assert!(!last.iter().any(|said| said.contains("READY=1")), "{last:?}");
}

async fn away() {
    let mut project = Project::new().await;
    let mut way = Way::to(&project.postgres_url);
    way.open().await;
    project.postgres_url = way.url(&project.postgres_url);
    let supervisor = Supervisor::new();
    let _daemon = start(&project, supervisor.path().as_os_str());
    supervisor.until("STATUS=ready").await;
    way.cut().await;
    supervisor.until("STATUS=not ready: PostgreSQL").await;
    for _ in 0..8 {
        supervisor.until("WATCHDOG=1").await;
    }
    way.open().await;
    supervisor.until("STATUS=ready").await;
}

/// A projection in Rust whose handler does not come back until it is let go.
struct Blocks {
    entered: Sender<()>,
    go: Arc<Mutex<Receiver<()>>>,
}

#[async_trait]
impl Projection for Blocks {
    fn name(&self) -> &str {
        "blocks"
    }

    fn revision(&self) -> &str {
        "1"
    }

    fn schema_sql(&self) -> &str {
        "create table seen (position bigint);"
    }

    fn handles(&self) -> &[&str] {
        &["Moved"]
    }

    async fn apply(&self, _events: &[LogEvent], _rows: &mut PgConnection) -> Result<(), HandlerError> {
        let _ = self.entered.send(());
        let _ = self.go.lock().unwrap().recv();
        Ok(())
    }
}

async fn blocked() {
    let project = Project::new().await;
    let supervisor = Supervisor::new();
    let (entered, has_entered) = channel();
    let (release, go) = channel::<()>();
    let mut config = Config::default();
    config.postgres.url = SecretUrl::from(project.postgres_url.as_str());
    config.projections.path = project.projections();
    config.http.listen = String::new();
    let notify = Notify::to(supervisor.path().as_os_str(), Some(Duration::from_secs(4))).unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    // A runtime of its own, with one thread to block.
    let daemon = std::thread::spawn(move || {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let projection = Blocks { entered, go: Arc::new(Mutex::new(go)) };
        let daemon = Daemon::builder(config).projection(projection).notify(notify);
        runtime.block_on(daemon.run_until(async move { drop(stopped.await) }))
    });
    supervisor.until("READY=1").await;
    for _ in 0..5 {
        supervisor.until("WATCHDOG=1").await;
    }
    let moved = ["append", "6763e85f-f8d5-5bee-ad04-4ed1d6d49798", "Moved", "{}", "--stream-type", "account"];
    project.ok(&moved);
    has_entered.recv_timeout(Duration::from_secs(30)).unwrap();
    // It is fed until the last beat is old, and then no more: a supervisor that waits for 4 s has heard nothing for
    // longer.
    let deadline = Instant::now() + Duration::from_secs(30);
    let starved = loop {
        match supervisor.hears(Duration::from_secs(6)) {
            None => break true,
            Some(_) if Instant::now() > deadline => break false,
            Some(_) => {}
        }
    };
    assert!(starved, "the watchdog is fed by a daemon that hangs");
    drop(release);
    supervisor.until("WATCHDOG=1").await;
    drop(stop);
    let ended = tokio::task::spawn_blocking(|| daemon.join().unwrap()).await.unwrap();
    assert_eq!(ended.unwrap(), Outcome::Stopped);
}

async fn sockets() {
    let project = Project::new().await;
    let name = format!("projectord-{}", uuid::Uuid::new_v4());
    let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let daemon = start(&project, format!("@{name}").as_ref());
    let deadline = Instant::now() + Duration::from_secs(60);
    while heard(&socket, Duration::from_millis(200)).as_deref() != Some("READY=1") {
        assert!(Instant::now() < deadline, "not ready");
    }
    // Who listened is gone: the daemon goes on.
    drop(socket);
    let other = Project::new().await;
    let nobody = start(&other, "/nonexistent/notify".as_ref());
    other.until_value("select bool_and(ready) from projectord.daemons", "true").await;
    assert_eq!(nobody.stop(Duration::from_secs(10)).await, Some(0));
    assert_eq!(daemon.stop(Duration::from_secs(10)).await, Some(0));
}
