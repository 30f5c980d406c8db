//! One PostgreSQL and, where there is one, one RethinkDB for all tests; a database for each.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use projectord::private_server::{Disk, HeldServer, PrivatePostgres, free_port};
use sqlx::{Connection, Executor, PgConnection};
use tempfile::TempDir;
use uuid::Uuid;

struct Postgres {
    server: PrivatePostgres,
    _folder: TempDir,
}

struct Rethink {
    url: String,
    _server: HeldServer,
    _folder: TempDir,
}

static POSTGRES: Mutex<Option<Postgres>> = Mutex::new(None);
static RETHINK: Mutex<Option<Rethink>> = Mutex::new(None);

/// A new, empty database on the private server; its URL.
pub async fn new_database() -> String {
    let name = format!("t{}", Uuid::new_v4().simple());
    let (admin, url) = {
        let mut postgres = POSTGRES.lock().unwrap();
        let postgres = postgres.get_or_insert_with(|| {
            let folder = open_folder();
            let server = PrivatePostgres::start(&folder.path().join("pg"), Disk::Volatile).unwrap();
            Postgres { server, _folder: folder }
        });
        (postgres.server.url("postgres"), postgres.server.url(&name))
    };
    let mut connection = PgConnection::connect(&admin).await.unwrap();
    connection.execute(sqlx::AssertSqlSafe(format!("create database {name}"))).await.unwrap();
    url
}

/// Whether tests that need RethinkDB can run.
pub fn rethinkdb_is_here() -> bool {
    std::env::var_os("RETHINKDB_URL").is_some() || binary().is_some()
}

/// The URL of a new, empty RethinkDB database.
pub fn new_rethink_database() -> String {
    let base = match std::env::var("RETHINKDB_URL") {
        Ok(url) => url,
        Err(_) => RETHINK.lock().unwrap().get_or_insert_with(start_rethinkdb).url.clone(),
    };
    format!("{}/t{}", base.trim_end_matches('/'), Uuid::new_v4().simple())
}

/// Ends the servers; the folders go with them.
pub fn stop_servers() {
    drop(POSTGRES.lock().unwrap().take());
    drop(RETHINK.lock().unwrap().take());
}

fn start_rethinkdb() -> Rethink {
    let driver = free_port().unwrap();
    let (server, folder) = start_rethinkdb_on(driver);
    Rethink { url: format!("rethinkdb://127.0.0.1:{driver}"), _server: server, _folder: folder }
}

/// A RethinkDB of one's own, on this port.
pub fn start_rethinkdb_on(driver: u16) -> (HeldServer, TempDir) {
    start_rethinkdb_with(driver, &[])
}

/// The same, with more of its options.
pub fn start_rethinkdb_with(driver: u16, more: &[&str]) -> (HeldServer, TempDir) {
    let folder = open_folder();
    let cluster = free_port().unwrap();
    let log = folder.path().join("log");
    let (data, driver_port, cluster_port) =
        (folder.path().join("data"), driver.to_string(), cluster.to_string());
    let args = [
        "--directory",
        path_text(&data),
        "--bind",
        "127.0.0.1",
        "--no-http-admin",
        "--no-update-check",
        "--driver-port",
        &driver_port,
        "--cluster-port",
        &cluster_port,
        "--cache-size",
        "512",
    ];
    let args = [&args[..], more].concat();
    let server = HeldServer::hold(&binary().unwrap(), &args, &log).unwrap();
    server.wait_for(|| TcpStream::connect(("127.0.0.1", driver)).is_ok(), &log).unwrap();
    (server, folder)
}

fn binary() -> Option<PathBuf> {
    static BINARY: OnceLock<Option<PathBuf>> = OnceLock::new();
    BINARY
        .get_or_init(|| {
            let path = std::env::var_os("PATH")?;
            std::env::split_paths(&path).map(|folder| folder.join("rethinkdb")).find(|file| file.exists())
        })
        .clone()
}

/// A folder that other users may enter: as root, PostgreSQL runs as one of them.
pub fn open_folder() -> TempDir {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

fn path_text(path: &Path) -> &str {
    path.to_str().unwrap()
}
