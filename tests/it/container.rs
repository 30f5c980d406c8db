//! The binary as a container has it: a user without rights and without a home, no environment but what is needed,
//! no folder to write to.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use libtest_mimic::Trial;
use projectord::private_server::free_port;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Daemon, Project, open_folder, text, trial, until};

pub fn trials() -> Vec<Trial> {
    vec![trial("container::it_needs_no_rights_no_home_and_no_folder_to_write_to", contained)]
}

const STREAM: &str = "6763e85f-f8d5-5bee-ad04-4ed1d6d49798";
/// Nobody, on most systems; it need not be known to this one.
const USER: &str = "65534";

/// What an image has: the binary, configuration, projections; nobody may write there.
struct Image {
    folder: TempDir,
    /// Where it is asked how it is.
    port: u16,
}

impl Image {
    fn of(project: &Project) -> Self {
        let folder = open_folder();
        let binary = folder.path().join("projectord");
        if std::fs::hard_link(env!("CARGO_BIN_EXE_projectord"), &binary).is_err() {
            std::fs::copy(env!("CARGO_BIN_EXE_projectord"), &binary).unwrap();
        }
        let work = folder.path().join("etc");
        copy(&project.projections(), &work.join("projections"));
        std::fs::write(work.join("postgres-url"), &project.postgres_url).unwrap();
        close(&work);
        Self { folder, port: free_port().unwrap() }
    }

    fn work(&self) -> PathBuf {
        self.folder.path().join("etc")
    }

    /// The binary in it. Only root can become somebody else; whoever is not root has no rights to begin with.
    fn command(&self, arguments: &[&str]) -> Command {
        let binary = self.folder.path().join("projectord");
        let is_root =
            std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
        let mut command = match is_root {
            true => {
                let mut command = Command::new("setpriv");
                command
                    .args(["--reuid", USER, "--regid", USER, "--clear-groups", "--no-new-privs"])
                    .args(["--inh-caps=-all", "--bounding-set=-all"])
                    .arg(binary);
                command
            }
            false => Command::new(binary),
        };
        // Where `setpriv` is, which the daemon does not ask for.
        let path = std::env::var_os("PATH").unwrap_or_default();
        command
            .args(arguments)
            .current_dir(self.work())
            .env_clear()
            .env("PATH", path)
            .env("PROJECTORD_POSTGRES__URL_FILE", "postgres-url")
            .env("PROJECTORD_HTTP__LISTEN", format!("127.0.0.1:{}", self.port))
            .stdin(Stdio::null());
        command
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for path in std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
        let target = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy(&path, &target),
            false => drop(std::fs::copy(&path, &target).unwrap()),
        }
    }
}

/// To read, and not to write.
fn close(folder: &Path) {
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        match path.is_dir() {
            true => close(&path),
            false => std::fs::set_permissions(&path, Permissions::from_mode(0o444)).unwrap(),
        }
    }
    std::fs::set_permissions(folder, Permissions::from_mode(0o555)).unwrap();
}

/// Every file below, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

/// What the probes of an orchestrator see.
async fn probe(port: u16, path: &str) -> String {
    let Ok(mut socket) = TcpStream::connect(("127.0.0.1", port)).await else {
        return "nobody is there".into();
    };
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    text(&answer).lines().next().unwrap_or("").to_owned()
}

async fn contained() {
    let project = Project::new().await;
    project.copy("projections/orders");
    let image = Image::of(&project);
    let before = files(&image.work());
    let output = project.folder.path().join("output");
    let log = std::fs::File::create(project.log_file()).unwrap();
    let mut run = image.command(&["run"]);
    let child = run.stdout(std::fs::File::create(&output).unwrap()).stderr(log).spawn().unwrap();
    let daemon = Daemon::of(child);
    project.until_state("orders", "live").await;
    let user = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let effective = |name: &str| {
        let line = user.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(2).unwrap_or("").to_owned()
    };
    assert_ne!(effective("Uid:"), "0", "{user}");

    until("it is ready", Duration::from_secs(30), async || {
        probe(image.port, "/readyz").await == "HTTP/1.1 200 OK"
    })
    .await;
    assert_eq!(probe(image.port, "/livez").await, "HTTP/1.1 200 OK");

    let order = ["append", STREAM, "OrderCreated", r#"{"user_id": 7, "total": 1}"#, "--stream-type", "order"];
    let appended = image.command(&order).output().unwrap();
    assert!(appended.status.success(), "{}", text(&appended.stderr));
    project.until_value("select count(*) from orders.orders", "1").await;

    assert_eq!(daemon.stop(Duration::from_secs(5)).await, Some(0), "{}", project.log());
    assert_eq!(files(&image.work()), before, "it wrote something");
    assert_eq!(std::fs::read_to_string(&output).unwrap(), "", "it logs to standard error");
    let log = project.log();
    assert!(!log.is_empty());
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["timestamp"].is_string() && line["level"].is_string(), "{line}");
    }
}
