//! How to connect.

use std::io;
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::types::PgInterval;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool};
use thiserror::Error;
use tokio::time::timeout;

/// A connection that was used less long ago is taken as it is.
const RESTED: Duration = Duration::from_secs(1);
/// How long a short query may take, with getting a connection.
const SHORT: Duration = Duration::from_secs(8);
/// How long to wait for a connection of the pool.
const ACQUIRE: Duration = Duration::from_secs(5);
/// How long to look for the reason where there was none to be had.
const LOOK: Duration = Duration::from_secs(2);
/// How long one that has rested may take to answer.
const PING: Duration = Duration::from_millis(700);
/// What the driver knows in a URL, under one name each.
const PARAMETERS: [&str; 12] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
];

/// Whether anybody is at the other end of a session that has rested.
pub(crate) async fn answers(connection: &mut PgConnection) -> bool {
    timeout(PING, connection.ping()).await.is_ok_and(|answer| answer.is_ok())
}

/// How to connect to PostgreSQL, and what every session is set to.
#[derive(Debug, Clone)]
pub struct Options {
    connect: PgConnectOptions,
}

/// The URL is not one. The URL itself is not repeated, since it may hold a password.
#[derive(Debug, Error)]
#[error("not a PostgreSQL URL (postgres://user:password@host:port/database): {0}")]
pub struct UrlError(String);

impl FromStr for Options {
    type Err = UrlError;

    fn from_str(url: &str) -> Result<Self, UrlError> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(UrlError("it does not begin with postgres://".into()));
        }
        let connect = PgConnectOptions::from_str(url).map_err(|error| UrlError(error.to_string()))?;
        check_parameters(url)?;
        // TLS that was asked for is TLS with the server that was asked for; the others only look like it.
        let connect = match connect.get_ssl_mode() {
            PgSslMode::Require | PgSslMode::VerifyCa => connect.ssl_mode(PgSslMode::VerifyFull),
            _ => connect,
        };
        // A dead peer is noticed by the server after some 15 s, so that its locks go (the client side
        // has its own deadlines). JIT costs more than it gains on handlers called once a batch.
        let connect = connect.application_name("projectord").disable_statement_logging().options([
            ("tcp_keepalives_idle", "5"),
            ("tcp_keepalives_interval", "2"),
            ("tcp_keepalives_count", "4"),
            ("idle_in_transaction_session_timeout", "60s"),
            ("jit", "off"),
        ]);
        Ok(Self { connect })
    }
}

/// The URL's parameters are known, since the driver passes over those that it does not know, `sslmode` with a typo
/// among them; and the files that they name for TLS can be read.
fn check_parameters(url: &str) -> Result<(), UrlError> {
    let pairs = url.split_once('?').map_or("", |(_, query)| query).split('&').filter(|pair| !pair.is_empty());
    for (key, file) in pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))) {
        if !PARAMETERS.contains(&key) && !key.starts_with("options") {
            let known = PARAMETERS.join(", ");
            return Err(UrlError(format!("unknown parameter {key:?}; known are {known}, options")));
        }
        if matches!(key, "sslrootcert" | "sslcert" | "sslkey") && !file.contains('%') {
            std::fs::read(file).map_err(|error| UrlError(format!("{key}: {file}: {error}")))?;
        }
    }
    Ok(())
}

/// What a short query gives, or an error when it has no answer in time: a connection whose other end is gone
/// may never say so.
///
/// # Errors
/// Those of the query.
pub async fn bounded<T>(query: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    let silent = |_| sqlx::Error::Protocol(format!("no answer from PostgreSQL within {SHORT:?}"));
    timeout(SHORT, query).await.map_err(silent)?
}

/// A time, as PostgreSQL takes it.
pub(crate) fn interval(time: Duration) -> PgInterval {
    PgInterval { months: 0, days: 0, microseconds: i64::try_from(time.as_micros()).unwrap_or(i64::MAX) }
}

/// The reason behind an error of the pool, which keeps to itself why it could not connect: a connection
/// beside it is refused for the same reason, and says so. Any other error is given back as it is.
pub async fn why(pool: &PgPool, error: sqlx::Error) -> sqlx::Error {
    if !matches!(error, sqlx::Error::PoolTimedOut) {
        return error;
    }
    match timeout(LOOK, pool.connect_options().connect()).await {
        Ok(Err(reason)) => reason,
        // All connections are busy, or nobody answers.
        Ok(Ok(_)) | Err(_) => error,
    }
}

impl Options {
    /// Connects once, and ends that: whether the server lets us in, and why not.
    ///
    /// # Errors
    /// What the server, or the way to it, says.
    pub async fn check(&self) -> Result<(), sqlx::Error> {
        let silent = |_| sqlx::Error::Protocol(format!("no answer from PostgreSQL within {SHORT:?}"));
        let connected = timeout(SHORT, self.connect.connect()).await.map_err(silent)?;
        let connection = connected.map_err(|error| match error {
            sqlx::Error::Io(error) => {
                sqlx::Error::Io(io::Error::new(error.kind(), format!("{}: {error}", self.place())))
            }
            error => error,
        })?;
        connection.close().await
    }

    /// The same, with a limit on each statement.
    #[must_use]
    pub fn statement_timeout(mut self, limit: Duration) -> Self {
        self.connect = self.connect.options([("statement_timeout", limit.as_millis().to_string())]);
        self
    }

    /// `host:port/database`, without user and password.
    pub fn place(&self) -> String {
        let host = match self.connect.get_socket() {
            Some(path) => path.display().to_string(),
            None => self.connect.get_host().to_owned(),
        };
        format!("{host}:{}/{}", self.connect.get_port(), self.connect.get_database().unwrap_or(""))
    }

    /// A pool that connects when first asked.
    pub fn pool(&self, connections: u32) -> PgPool {
        PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE)
            // A connection whose other end is gone does not say so. One that has rested is asked, and not for
            // long: another is cheap.
            .test_before_acquire(false)
            .before_acquire(|connection, rest| {
                Box::pin(async move {
                    if rest.idle_for < RESTED {
                        return Ok(true);
                    }
                    Ok(answers(connection).await)
                })
            })
            // The pool itself asks too, and waits for ever.
            .after_release(|connection, _| {
                Box::pin(async move {
                    let silent = |_| sqlx::Error::Protocol("the connection has fallen silent".into());
                    timeout(PING, connection.ping()).await.map_err(silent)?.map(|()| true)
                })
            })
            .connect_lazy_with(self.connect.clone())
    }
}
