//! Connections: taken as there is room, and cut off where a peer is too slow.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tower_service::Service;
use tracing::{error, warn};

use super::Problem;
use super::access::Local;
use super::io::Patient;
use crate::backoff::Backoff;
use crate::measure::HttpMeasure;
use crate::shutdown::Shutdown;

/// How long the head of a request may take, and a connection rest between two.
const HEAD: Duration = Duration::from_secs(10);
/// The same for a connection beyond those that there is room for.
const SPARE_HEAD: Duration = Duration::from_secs(2);
/// How long a peer may take nothing of an answer.
const TAKE: Duration = Duration::from_secs(30);
/// So many more connections are told that there are too many, and are answered whether the daemon lives; any beyond
/// wait to be accepted.
const SPARE: usize = 16;
/// The largest head of a request.
const MOST_HEAD: usize = 32 << 10;
/// The most headers.
const MOST_HEADERS: usize = 64;

/// Takes connections until it is told to stop; what is in hand then may take `drain`.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    most: usize,
    drain: Duration,
    measure: Arc<HttpMeasure>,
    mut shutdown: Shutdown,
) {
    let (room, spare) = (Arc::new(Semaphore::new(most)), Arc::new(Semaphore::new(SPARE)));
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
    let mut connections = JoinSet::new();
    loop {
        let (stream, permit, is_spare) = tokio::select! {
            () = shutdown.requested() => break,
            Some(ended) = connections.join_next() => {
                look_at("an HTTP connection broke off", &ended);
                continue;
            }
            next = next(&listener, &room, &spare, &mut backoff) => next,
        };
        measure.accepted.one();
        if is_spare {
            measure.too_many.one();
        }
        let connection = Connection {
            router: router.clone(),
            is_spare,
            measure: Arc::clone(&measure),
            shutdown: shutdown.clone(),
            _permit: permit,
        };
        connections.spawn(connection.converse(stream));
    }
    drop(listener);
    let drained = async {
        while let Some(ended) = connections.join_next().await {
            look_at("an HTTP connection broke off", &ended);
        }
    };
    if timeout(drain, drained).await.is_err() {
        warn!(connections = connections.len(), "HTTP connections were cut off");
    }
}

/// A task that panicked is a bug, and what it did is not done any more: that is `what`.
pub(super) fn look_at(what: &str, ended: &Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        error!(%error, "{what}");
    }
}

/// The next connection, once there is room for one more, and whether it is a spare one. An error, such as too many
/// open files, passes by waiting.
async fn next(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
    spare: &Arc<Semaphore>,
    backoff: &mut Backoff,
) -> (TcpStream, OwnedSemaphorePermit, bool) {
    let (permit, is_spare) = tokio::select! {
        biased;
        Ok(permit) = Arc::clone(room).acquire_owned() => (permit, false),
        Ok(permit) = Arc::clone(spare).acquire_owned() => (permit, true),
        else => std::future::pending().await,
    };
    let mut said = false;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                backoff.reset();
                // Room may have come while nobody did.
                return match Arc::clone(room).try_acquire_owned() {
                    Ok(better) if is_spare => (stream, better, false),
                    _ => (stream, permit, is_spare),
                };
            }
            Err(error) => {
                if !said {
                    warn!(%error, "cannot take an HTTP connection; trying again");
                    said = true;
                }
                tokio::time::sleep(backoff.next_wait()).await;
            }
        }
    }
}

/// A connection, and what it takes up.
struct Connection {
    router: Router,
    is_spare: bool,
    measure: Arc<HttpMeasure>,
    shutdown: Shutdown,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.measure.closed.one();
    }
}

impl Connection {
    /// To its end.
    async fn converse(self, stream: TcpStream) {
        let Ok(local) = stream.local_addr() else { return };
        // Answers are small, and somebody waits for each.
        let _ = stream.set_nodelay(true);
        let service = service_fn(|mut request: Request<Incoming>| {
            request.extensions_mut().insert(Local(local));
            let (mut router, measure) = (self.router.clone(), Arc::clone(&self.measure));
            let is_refused = self.is_spare && !matches!(request.uri().path(), "/livez" | "/readyz");
            async move {
                let answer = match is_refused {
                    true => Ok(too_many()),
                    false => router.call(request).await,
                };
                if let Ok(answer) = &answer {
                    measure.answers[usize::from(answer.status().as_u16() / 100 - 1).min(4)].one();
                }
                answer
            }
        });
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(if self.is_spare { SPARE_HEAD } else { HEAD })
            .max_headers(MOST_HEADERS)
            .max_header_size(MOST_HEAD)
            .max_buf_size(MOST_HEAD)
            .keep_alive(!self.is_spare);
        let connection = builder.serve_connection(TokioIo::new(Patient::new(stream, TAKE)), service);
        let mut connection = pin!(connection);
        let mut shutdown = self.shutdown.clone();
        // How a connection ends is the peer's business.
        tokio::select! {
            _ = &mut connection => {}
            () = shutdown.requested() => {
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
        }
    }
}

fn too_many() -> Response {
    let detail = "too many connections: [http] max_connections";
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail);
    problem.retry_after(Duration::from_secs(1)).into_response()
}
