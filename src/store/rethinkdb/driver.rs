//! The one place that talks through the `reql` driver, and keeps its hazards in.
//!
//! A session runs one query at a time, and a future dropped in the middle of a query would leave its
//! answer on the wire for the next one. So each query runs to its end in a task of its own, under a
//! deadline; after a deadline or a broken connection the *session* is thrown away. Sessions are pooled;
//! a feed has one for itself.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use reql::cmd::connect;
use reql::{Availability, Command, Driver, Error, Runtime, Session, r};
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use super::server::Server;
use super::tunnel;

/// The longest that connecting may take.
const CONNECT: Duration = Duration::from_secs(5);
/// The longest that one query may take, unless it says otherwise.
pub(super) const QUERY: Duration = Duration::from_secs(8);

/// What to do about a failed query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryErrorKind {
    /// The server is away or did not say what became of the query: try again.
    Away,
    /// User or password is wrong, or a right is missing.
    Denied,
    /// A database, table or index is missing: `setup` makes them.
    Missing,
    /// The query, or what it found, is wrong: it will fail again.
    Wrong,
    /// The answer is not what was asked for.
    Unread,
}

/// A query that failed.
#[derive(Debug, Clone, Error)]
#[error("{message}")]
pub struct QueryError {
    /// What to do about it.
    pub kind: QueryErrorKind,
    /// What happened, with the server's place and never a password.
    pub message: String,
}

impl QueryError {
    pub(super) fn wrong(message: impl Into<String>) -> Self {
        Self { kind: QueryErrorKind::Wrong, message: message.into() }
    }
}

/// Sessions with one server.
pub(super) struct Pool {
    server: Server,
    permits: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Session>>>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({})", self.server)
    }
}

impl Pool {
    pub(super) fn new(server: Server, connections: usize) -> Self {
        Self { server, permits: Arc::new(Semaphore::new(connections.max(1))), idle: Arc::default() }
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// Runs `command` and gives all its rows.
    pub(super) async fn rows(&self, command: Command) -> Result<Vec<Value>, QueryError> {
        self.rows_as(command).await
    }

    /// Runs `command` and gives all its rows as what is asked for. The driver reads them into that; into values first,
    /// and from those into something else, would build them twice more.
    pub(super) async fn rows_as<T>(&self, command: Command) -> Result<Vec<T>, QueryError>
    where
        T: DeserializeOwned + Send + Unpin + 'static,
    {
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok();
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let (pool, server) = (Arc::clone(&self.idle), self.server.clone());
        // Runs on if the caller goes away, so that the session is left in order.
        let query = tokio::spawn(async move {
            let _permit = permit;
            let session = match idle {
                Some(session) => session,
                None => open(&server).await?,
            };
            let outcome = timeout(QUERY, command.run::<_, T>(&session).try_collect()).await;
            let (rows, reusable) = match outcome {
                Ok(Ok(rows)) => (Ok(rows), true),
                Ok(Err(error)) => {
                    let answered = matches!(error, Error::Runtime(_));
                    if !answered {
                        drop_idle(&pool);
                    }
                    (Err(explain(&error, &server)), answered)
                }
                Err(_) => {
                    drop_idle(&pool);
                    (Err(away(&server, &format!("no answer within {QUERY:?}"))), false)
                }
            };
            if reusable && !session.is_broken() {
                pool.lock().unwrap_or_else(PoisonError::into_inner).push(session);
            }
            rows
        });
        query.await.map_err(|error| QueryError::wrong(format!("the query's task ended: {error}")))?
    }

    /// Runs `command` and gives its one row.
    pub(super) async fn row(&self, command: Command) -> Result<Value, QueryError> {
        Ok(self.rows(command).await?.pop().unwrap_or(Value::Null))
    }

    /// Opens a feed in a session of its own, of which so many rows may wait. The receiver ends after an error or,
    /// silently, when the feed does; both mean: open another and read again.
    pub(super) async fn feed(
        &self,
        command: Command,
        waiting: usize,
    ) -> Result<mpsc::Receiver<Result<Value, QueryError>>, QueryError> {
        let (server, idle) = (self.server.clone(), Arc::clone(&self.idle));
        let session = open(&server).await?;
        let (sender, receiver) = mpsc::channel(waiting);
        tokio::spawn(async move {
            let Ok(connection) = session.connection() else {
                return;
            };
            // The driver ends the feed when any clone of its connection goes, so none is made.
            let mut rows = command.run::<_, Value>(connection);
            loop {
                let row = tokio::select! {
                    row = rows.next() => row,
                    () = sender.closed() => None,
                };
                if !matches!(row, Some(Ok(_) | Err(Error::Runtime(_)))) {
                    drop_idle(&idle);
                }
                let Some(row) = row else { return };
                let row = row.map_err(|error| explain(&error, &server));
                let ended = row.is_err();
                if sender.send(row).await.is_err() || ended {
                    return;
                }
            }
        });
        Ok(receiver)
    }
}

/// Whatever took a session along has the idle ones too.
fn drop_idle(idle: &Mutex<Vec<Session>>) {
    idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

async fn open(server: &Server) -> Result<Session, QueryError> {
    let (host, port) = match &server.tls {
        None => (server.host.clone(), server.port),
        Some(tls) => match timeout(CONNECT, tunnel::open(&server.host, server.port, tls)).await {
            Ok(Ok(port)) => ("127.0.0.1".to_owned(), port),
            Ok(Err(reason)) => return Err(away(server, &reason)),
            Err(_) => return Err(away(server, &format!("no connection within {CONNECT:?}"))),
        },
    };
    let options = connect::Options::default()
        .host(host)
        .port(port)
        .user(server.user.clone())
        .password(server.password.clone())
        .db(server.database.clone());
    match timeout(CONNECT, r.connect(options)).await {
        Ok(Ok(session)) => Ok(session),
        Ok(Err(error)) => Err(match &error {
            Error::Driver(Driver::Auth(_)) => explain(&error, server),
            // A server that is starting or going answers with less than a handshake.
            _ => away(server, &error.to_string()),
        }),
        Err(_) => Err(away(server, &format!("no connection within {CONNECT:?}"))),
    }
}

fn away(server: &Server, what: &str) -> QueryError {
    QueryError { kind: QueryErrorKind::Away, message: format!("cannot reach RethinkDB at {server}: {what}") }
}

/// What an error of the driver means. Every kind, in one place.
fn explain(error: &Error, server: &Server) -> QueryError {
    let (kind, hint) = match error {
        Error::Driver(Driver::Auth(_)) => {
            (QueryErrorKind::Denied, "; check user and password in [store] url")
        }
        Error::Driver(Driver::Json(_)) => (QueryErrorKind::Unread, ""),
        Error::Driver(_) => return away(server, &error.to_string()),
        Error::Compile(_) => (QueryErrorKind::Wrong, ""),
        Error::Runtime(runtime) => match runtime {
            // Only "operation failed" is a definite failure; the others may have happened. All are
            // safe to repeat, since a commit is repeated under its own id. A missing table is one of
            // them, and nothing but the words tells it from a table whose servers are away.
            Runtime::Availability(Availability::OpFailed(message)) if message.contains("does not exist") => {
                (QueryErrorKind::Missing, "")
            }
            Runtime::Availability(_) | Runtime::Internal(_) | Runtime::ResourceLimit(_) => {
                (QueryErrorKind::Away, "")
            }
            Runtime::Permission(_) => {
                (QueryErrorKind::Denied, "; the user needs read and write on the database")
            }
            Runtime::NonExistence(_) => (QueryErrorKind::Missing, ""),
            Runtime::QueryLogic(_) | Runtime::User(_) => (QueryErrorKind::Wrong, ""),
        },
    };
    QueryError { kind, message: format!("RethinkDB at {server}: {}{hint}", error.to_string().trim_end()) }
}
