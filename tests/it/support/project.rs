//! A project as a user would have it: a folder with projections, a database or two, the binary.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, PgPool};
use tempfile::TempDir;

use super::servers::{new_database, new_rethink_database};
use super::until;

/// A folder of its own, and databases of its own.
pub struct Project {
    pub folder: TempDir,
    pub postgres_url: String,
    pub store_url: Option<String>,
    pub pool: PgPool,
}

impl Project {
    /// The log is the store.
    pub async fn new() -> Self {
        let postgres_url = new_database().await;
        let pool = PgPoolOptions::new().max_connections(5).connect(&postgres_url).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("projections")).unwrap();
        Self { folder, postgres_url, store_url: None, pool }
    }

    /// The store is on RethinkDB.
    pub async fn on_rethinkdb() -> Self {
        Self { store_url: Some(new_rethink_database()), ..Self::new().await }
    }

    pub fn projections(&self) -> PathBuf {
        self.folder.path().join("projections")
    }

    /// Writes a file of a projection.
    pub fn write(&self, projection: &str, file: &str, text: &str) {
        let path = self.projections().join(projection).join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Copies a projection of the repository's: `projections/orders`, for one.
    pub fn copy(&self, from: &str) {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(from);
        let name = from.file_name().unwrap().to_str().unwrap().to_owned();
        for folder in [from.clone(), from.join("tests")].into_iter().filter(|folder| folder.is_dir()) {
            for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_file() {
                    let file = path.strip_prefix(&from).unwrap().to_str().unwrap();
                    self.write(&name, file, &std::fs::read_to_string(&path).unwrap());
                }
            }
        }
    }

    /// The binary, configured by its environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_projectord"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_remove("PROJECTORD_CONFIG")
            .env("PROJECTORD_HTTP__LISTEN", "")
            .env("PROJECTORD_POSTGRES__URL", &self.postgres_url)
            .env("PROJECTORD_PROJECTOR__POLL_INTERVAL", "500ms")
            .env("PROJECTORD_INGEST__SWEEP_INTERVAL", "500ms")
            .stdin(Stdio::null());
        if let Some(url) = &self.store_url {
            command.env("PROJECTORD_STORE__URL", url);
        }
        command
    }

    /// Runs the binary to its end; killed where that does not come.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let command = self.command(arguments);
        let mut bounded = Command::new("timeout");
        bounded.args(["--signal=KILL", "600"]).arg(command.get_program()).args(arguments);
        bounded.current_dir(self.folder.path()).stdin(Stdio::null());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => bounded.env(name, value),
                None => bounded.env_remove(name),
            };
        }
        bounded.output().unwrap()
    }

    /// Runs the binary to its end, which must be a good one; what it printed.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "projectord {}\n{out}\n{err}", arguments.join(" "));
        out
    }

    /// Starts the daemon. It ends when the answer is dropped.
    pub fn daemon(&self) -> Daemon {
        self.daemon_with(&[])
    }

    /// The same, with more in its environment.
    pub fn daemon_with(&self, more: &[(&str, &str)]) -> Daemon {
        let log = std::fs::File::options().create(true).append(true).open(self.log_file()).unwrap();
        let child = self
            .command(&["run"])
            .envs(more.iter().copied())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Daemon { child }
    }

    pub fn log_file(&self) -> PathBuf {
        self.folder.path().join("daemon.log")
    }

    /// What the daemons of this project have logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// The one value of the one row of a query, as text.
    pub async fn value(&self, sql: &str) -> String {
        let sql = AssertSqlSafe(format!("select ({sql})::text"));
        let (value,): (Option<String>,) = sqlx::query_as(sql).fetch_one(&self.pool).await.unwrap();
        value.unwrap_or_default()
    }

    /// Waits, within bounds, until the one value of a query is this.
    pub async fn until_value(&self, sql: &str, wanted: &str) {
        until(&format!("{sql} = {wanted}"), Duration::from_secs(30), async || {
            // The tables may not be there yet.
            let sql = AssertSqlSafe(format!("select ({sql})::text"));
            let row: Result<(Option<String>,), _> = sqlx::query_as(sql).fetch_one(&self.pool).await;
            row.is_ok_and(|(value,)| value.as_deref() == Some(wanted))
        })
        .await;
    }

    /// Waits until a projection is in this state.
    pub async fn until_state(&self, projection: &str, state: &str) {
        let sql = format!("select state from projectord.projections where name = '{projection}'");
        self.until_value(&sql, state).await;
    }

    /// All rows of a table, in order, as one text: to compare read models with.
    pub async fn rows(&self, table: &str) -> String {
        self.value(&format!(
            "select coalesce(string_agg(t::text, E'\\n' order by t::text), '') from {table} t"
        ))
        .await
    }
}

/// A running daemon.
pub struct Daemon {
    child: Child,
}

impl Daemon {
    /// One that was started otherwise.
    pub fn of(child: Child) -> Self {
        Self { child }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let status =
            Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// SIGTERM, and its exit code within the time.
    pub async fn stop(self, within: Duration) -> Option<i32> {
        self.signal("TERM");
        self.ended(within).await
    }

    /// Its exit code, once it has ended within the time.
    pub async fn ended(mut self, within: Duration) -> Option<i32> {
        let mut code = None;
        until("the daemon has ended", within, async || {
            let ended = self.child.try_wait().unwrap();
            code = ended.and_then(|status| status.code());
            ended.is_some()
        })
        .await;
        code
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
