//! Private servers that flush to disk, and a daemon to measure.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use projectord::private_server::{Disk, HeldServer, PrivatePostgres, free_port};
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, PgPool};
use tempfile::TempDir;

use crate::report::Report;

/// What stands beside the projection that is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// Others like it.
    Alike,
    /// The same, and one more, which takes 20 ms for each event.
    Slow,
    /// Others that want events of another type.
    Seldom,
}

pub struct Servers {
    postgres: PrivatePostgres,
    rethinkdb: Option<(String, Option<HeldServer>)>,
    folder: TempDir,
}

impl Servers {
    pub async fn start(report: &mut Report) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("its rights");
        let postgres = PrivatePostgres::start(&folder.path().join("pg"), Disk::Durable).expect("PostgreSQL");
        let rethinkdb = start_rethinkdb(&folder);
        if rethinkdb.is_none() {
            report.left_out("everything on RethinkDB: put `rethinkdb` on PATH or set RETHINKDB_URL");
        }
        Self { postgres, rethinkdb, folder }
    }

    /// A new, empty database; its URL and a pool.
    pub async fn database(&self, name: &str) -> (String, PgPool) {
        let admin = PgPool::connect(&self.postgres.url("postgres")).await.expect("PostgreSQL");
        sqlx::query(AssertSqlSafe(format!("create database {name}")))
            .execute(&admin)
            .await
            .expect("a database");
        let url = self.postgres.url(name);
        let pool = PgPoolOptions::new().max_connections(20).connect(&url).await.expect("the database");
        (url, pool)
    }

    /// The URL of a RethinkDB database, where there is a server.
    pub fn rethink_url(&self, name: &str) -> Option<String> {
        let name = format!("bench_{name}_{}", std::process::id());
        self.rethinkdb.as_ref().map(|(url, _)| format!("{url}/{name}"))
    }

    /// A folder of so many projections, each with a row for each event that it wants; `visible` wants `Measured`, and
    /// announces its rows.
    pub fn projections(&self, name: &str, count: usize, others: Others) -> String {
        let folder = self.folder.path().join(name.replace([' ', '/', ','], "_"));
        let write = |projection: &str, event_type: &str, more: &str| {
            let folder = folder.join(projection);
            std::fs::create_dir_all(&folder).expect("a folder");
            let schema = "create table visible (stream_id uuid primary key, version bigint not null);";
            let handler = format!("insert into visible values (event.stream_id, event.version); {more}");
            std::fs::write(folder.join("schema.sql"), schema).expect("a file");
            std::fs::write(folder.join(event_type).with_extension("sql"), handler).expect("a file");
        };
        let others_want = if others == Others::Seldom { "Seldom" } else { "Measured" };
        // Announced when the batch commits: that is when readers see the row.
        write("visible", "Measured", "perform pg_notify('visible', event.stream_id::text);");
        (1..count).for_each(|nth| write(&format!("other_{nth}"), others_want, ""));
        if others == Others::Slow {
            write("slow", "Measured", "perform pg_sleep(0.02);");
        }
        folder.to_str().expect("a path in UTF-8").to_owned()
    }

    /// Starts the daemon on a database, with the projections of a folder.
    pub fn daemon(&self, postgres: &str, store: Option<&str>, projections: &str) -> Daemon {
        self.daemon_with(postgres, store, projections, &[])
    }

    /// The same, with more in its environment.
    pub fn daemon_with(
        &self,
        postgres: &str,
        store: Option<&str>,
        projections: &str,
        more: &[(&str, &str)],
    ) -> Daemon {
        let projections = match projections {
            "" => {
                let none = self.folder.path().join("none");
                std::fs::create_dir_all(&none).expect("a folder");
                none
            }
            folder => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder),
        };
        let mut command = Command::new(env!("CARGO_BIN_EXE_projectord"));
        command.arg("run").current_dir(self.folder.path()).stdin(Stdio::null()).stderr(Stdio::null());
        command.env("PROJECTORD_HTTP__LISTEN", "");
        command.env("PROJECTORD_POSTGRES__URL", postgres).env("PROJECTORD_PROJECTIONS__PATH", projections);
        if let Some(url) = store {
            command.env("PROJECTORD_STORE__URL", url);
        }
        command.envs(more.iter().copied());
        Daemon(command.spawn().expect("the daemon"))
    }
}

fn start_rethinkdb(folder: &TempDir) -> Option<(String, Option<HeldServer>)> {
    if let Ok(url) = std::env::var("RETHINKDB_URL") {
        return Some((url.trim_end_matches('/').to_owned(), None));
    }
    let path = std::env::var_os("PATH")?;
    let binary =
        std::env::split_paths(&path).map(|folder| folder.join("rethinkdb")).find(|file| file.exists())?;
    let (driver, cluster) = (free_port().ok()?, free_port().ok()?);
    let (data, log) = (folder.path().join("rethinkdb"), folder.path().join("rethinkdb.log"));
    let (driver_port, cluster_port) = (driver.to_string(), cluster.to_string());
    let args = [
        "--directory",
        data.to_str()?,
        "--bind",
        "127.0.0.1",
        "--no-http-admin",
        "--no-update-check",
        "--driver-port",
        &driver_port,
        "--cluster-port",
        &cluster_port,
    ];
    let server = HeldServer::hold(&binary, &args, &log).ok()?;
    server.wait_for(|| TcpStream::connect(("127.0.0.1", driver)).is_ok(), &log).expect("RethinkDB");
    Some((format!("rethinkdb://127.0.0.1:{driver}"), Some(server)))
}

/// A running daemon; it ends when this is dropped.
pub struct Daemon(Child);

impl Daemon {
    /// The seconds of processor that it has taken so far.
    pub fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap_or_default();
        let fields = stat.rsplit(") ").next().unwrap_or_default();
        // In user's and in system's mode, in hundredths.
        fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
    }

    /// The memory that it holds now, in MB.
    pub fn rss(&self) -> f64 {
        self.status("VmRSS")
    }

    /// The most memory that it has held so far, in MB.
    pub fn peak_rss(&self) -> f64 {
        self.status("VmHWM")
    }

    fn status(&self, field: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until a query gives this number; how long that took.
pub async fn until(pool: &PgPool, sql: &'static str, wanted: i64) -> Duration {
    let begun = Instant::now();
    loop {
        let row: Result<(i64,), _> = sqlx::query_as(sql).fetch_one(pool).await;
        if row.is_ok_and(|(value,)| value >= wanted) {
            return begun.elapsed();
        }
        assert!(begun.elapsed() < Duration::from_secs(600), "not within ten minutes: {sql}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
