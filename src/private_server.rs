//! A PostgreSQL server of our own, in a folder of our own: for `projectord demo` and for the tests.
//!
//! It ends when this process does, however it ends: a shell holds the server and waits for the end of
//! its own standard input.

use std::fs;
use std::io::{self, Write};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use thiserror::Error;

/// Runs its arguments as a server; stops it when standard input ends.
const HOLD: &str = r#""$@" </dev/null & pid=$!; read -r word; [ "$word" = keep ] && exit; kill -INT $pid 2>/dev/null; wait $pid"#;
/// How long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(60);
const SUPERUSER: &str = "projectord";

/// Why there is no server.
#[derive(Debug, Error)]
pub enum PrivateServerError {
    /// The server's programs are not installed.
    #[error(
        "PostgreSQL's server programs were not found; install them (Debian, Ubuntu: apt-get install postgresql) or set PROJECTORD_PG_BIN to the folder that has initdb"
    )]
    NotInstalled,
    /// The folder cannot be used.
    #[error("cannot use {path}: {error}")]
    Folder {
        /// Which folder or file.
        path: PathBuf,
        /// What happened.
        error: io::Error,
    },
    /// A program of the server's failed.
    #[error("{what}: {output}")]
    Failed {
        /// What was tried.
        what: &'static str,
        /// What it printed.
        output: String,
    },
}

/// A running server. Dropping it stops it.
#[derive(Debug)]
pub struct PrivatePostgres {
    server: HeldServer,
    port: u16,
    password: String,
}

/// How the server treats the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    /// Flushes each commit, as a real one does.
    Durable,
    /// Flushes nothing: fast, and lost with the machine.
    Volatile,
}

impl PrivatePostgres {
    /// Makes a new cluster in `folder`, which is emptied first, and starts it on a free port of
    /// 127.0.0.1.
    ///
    /// # Errors
    /// When PostgreSQL is not installed, or the folder cannot be used.
    pub fn start(folder: &Path, disk: Disk) -> Result<Self, PrivateServerError> {
        let programs = programs().ok_or(PrivateServerError::NotInstalled)?;
        let used = |path: &Path| {
            let path = path.to_owned();
            move |error| PrivateServerError::Folder { path, error }
        };
        stop_kept(&folder.join("data"));
        if folder.exists() {
            fs::remove_dir_all(folder).map_err(used(folder))?;
        }
        fs::create_dir_all(folder).map_err(used(folder))?;
        let password_file = folder.join("password");
        let password = uuid::Uuid::new_v4().simple().to_string();
        fs::write(&password_file, &password).map_err(used(&password_file))?;
        fs::set_permissions(&password_file, fs::Permissions::from_mode(0o600))
            .map_err(used(&password_file))?;
        let user = server_user();
        for path in [folder, &password_file] {
            if let Some((uid, gid)) = user {
                chown(path, Some(uid), Some(gid)).map_err(used(path))?;
            }
        }

        let data = folder.join("data");
        let mut initdb = Command::new(programs.join("initdb"));
        initdb
            .args(["--no-sync", "--encoding=UTF8", "--locale=C", "--auth=scram-sha-256"])
            .arg(format!("--username={SUPERUSER}"))
            .arg(format!("--pwfile={}", password_file.display()))
            .arg("-D")
            .arg(&data);
        let output = as_user(&mut initdb, user, folder).output().map_err(used(&data))?;
        if !output.status.success() {
            let output = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(PrivateServerError::Failed { what: "initdb", output });
        }

        let port = free_port().map_err(used(folder))?;
        let mut server = Command::new("/bin/sh");
        server
            .args(["-c", HOLD, "projectord-postgres"])
            .arg(programs.join("postgres"))
            .arg("-D")
            .arg(&data)
            .args([
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                "unix_socket_directories=",
                "-c",
                &format!("port={port}"),
                "-c",
                "max_connections=200",
            ]);
        if disk == Disk::Volatile {
            server.args(["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"]);
        }
        let log = folder.join("log");
        let server = HeldServer::start(as_user(&mut server, user, folder), &log).map_err(used(&log))?;
        let server = Self { server, port, password };
        server.server.wait_for(|| ready(&programs, port), &log)?;
        Ok(server)
    }

    /// How to connect to `database`, as superuser.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{SUPERUSER}:{}@127.0.0.1:{}/{database}", self.password, self.port)
    }

    /// Stops the server and waits until it has.
    pub fn stop(mut self) {
        self.server.tell("stop");
    }

    /// Leaves the server running when we end. The next one to be started in its folder ends it.
    pub fn keep(mut self) {
        self.server.tell("keep");
    }
}

/// A server held by a shell that stops it when we end.
#[derive(Debug)]
pub struct HeldServer {
    shell: Child,
}

impl HeldServer {
    /// Starts `command`, a shell that runs [`HOLD`], with its output in `log`.
    fn start(command: &mut Command, log: &Path) -> io::Result<Self> {
        let log = fs::File::create(log)?;
        let shell = command
            // Ctrl-C in the terminal is for us; we stop the server when we are ready.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Self { shell })
    }

    /// Holds `program` with `args`, its output in `log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn hold(program: &Path, args: &[&str], log: &Path) -> io::Result<Self> {
        Self::start(
            Command::new("/bin/sh").args(["-c", HOLD, "projectord-server"]).arg(program).args(args),
            log,
        )
    }

    /// Waits, within bounds, until `ready` says so.
    ///
    /// # Errors
    /// With the end of the server's log, when it does not.
    pub fn wait_for(&self, ready: impl Fn() -> bool, log: &Path) -> Result<(), PrivateServerError> {
        let deadline = Instant::now() + PATIENCE;
        while !ready() {
            if Instant::now() > deadline {
                let output = fs::read_to_string(log).unwrap_or_default();
                return Err(PrivateServerError::Failed { what: "the server did not start", output });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn tell(&mut self, word: &str) {
        if let Some(mut stdin) = self.shell.stdin.take() {
            let _ = writeln!(stdin, "{word}");
            let _ = self.shell.wait();
        }
    }
}

impl Drop for HeldServer {
    fn drop(&mut self) {
        self.tell("stop");
    }
}

/// Ends a server that was left running in `data`.
fn stop_kept(data: &Path) {
    let Ok(lines) = fs::read_to_string(data.join("postmaster.pid")) else {
        return;
    };
    let pid = lines.lines().next().and_then(|pid| pid.parse().ok()).and_then(rustix::process::Pid::from_raw);
    let Some(pid) = pid else { return };
    // The number may be another process's by now.
    let command = PathBuf::from(format!("/proc/{}/cmdline", pid.as_raw_nonzero()));
    let is_ours = || {
        let command = fs::read(&command).unwrap_or_default();
        String::from_utf8_lossy(&command).contains(&*data.to_string_lossy())
    };
    if !is_ours() {
        return;
    }
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
    let deadline = Instant::now() + PATIENCE;
    while is_ours() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A port of 127.0.0.1 that was free a moment ago.
///
/// # Errors
/// When there is none.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// The folder that has `initdb`: what the environment says, or where Debian and others keep it.
fn programs() -> Option<PathBuf> {
    let named = std::env::var_os("PROJECTORD_PG_BIN").map(PathBuf::from);
    let on_path = std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let mut packaged: Vec<PathBuf> = ["/usr/lib/postgresql", "/opt/homebrew/opt"]
        .iter()
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .collect();
    packaged.sort();
    named
        .into_iter()
        .chain(packaged.into_iter().rev())
        .chain(on_path.unwrap_or_default())
        .find(|folder| folder.join("initdb").exists() && folder.join("postgres").exists())
}

/// The server refuses to run as root; then it runs as `postgres`, or as `nobody`.
fn server_user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").ok()?;
    ["postgres", "nobody"].iter().find_map(|wanted| {
        let line = users.lines().find(|line| line.split(':').next() == Some(wanted))?;
        let mut ids = line.split(':').skip(2).map(str::parse);
        Some((ids.next()?.ok()?, ids.next()?.ok()?))
    })
}

fn as_user<'a>(command: &'a mut Command, user: Option<(u32, u32)>, folder: &Path) -> &'a mut Command {
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    command.current_dir(folder)
}

/// Whether the user that the server runs as may come to `folder` at all: root's home is closed to it.
pub fn reachable(folder: &Path) -> bool {
    server_user().is_none()
        || folder
            .ancestors()
            .filter_map(|folder| fs::metadata(folder).ok())
            .all(|it| it.permissions().mode() & 1 == 1)
}

fn ready(programs: &Path, port: u16) -> bool {
    Command::new(programs.join("pg_isready"))
        .args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()])
        .status()
        .is_ok_and(|status| status.success())
}
