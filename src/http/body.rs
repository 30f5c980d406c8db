//! The bodies of requests: read as a whole before anything is done with them, within a size and a time, and never
//! more of them at once than there is memory for.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::Problem;

/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(15);
/// How many of the largest bodies there may be at once.
const AT_ONCE: usize = 4;

/// What bodies may take.
#[derive(Debug, Clone)]
pub(super) struct Bodies {
    most: usize,
    /// In KiB.
    room: Arc<Semaphore>,
}

impl Bodies {
    pub(super) fn of_at_most(bytes: usize) -> Self {
        Self { most: bytes, room: Arc::new(Semaphore::new(bytes.div_ceil(1024) * AT_ONCE)) }
    }
}

/// Reads the body, and hands the request on with it.
pub(super) async fn read(State(bodies): State<Bodies>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let length = match length {
        None if headers.contains_key(TRANSFER_ENCODING) => bodies.most,
        None | Some(0) => return next.run(request).await,
        Some(length) => length,
    };
    let too_large = || {
        let most = bodies.most;
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is larger than {most} bytes: [http] max_body_bytes"),
        )
        .into_response()
    };
    if length > bodies.most {
        return too_large();
    }
    let room = u32::try_from(length.div_ceil(1024)).unwrap_or(u32::MAX);
    let Ok(Ok(_room)) = timeout(PATIENCE, bodies.room.acquire_many(room)).await else {
        let detail = "too many large bodies at once; try again";
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail);
        return problem.retry_after(Duration::from_secs(1)).into_response();
    };
    let (parts, body) = request.into_parts();
    match timeout(PATIENCE, to_bytes(body, bodies.most)).await {
        Ok(Ok(bytes)) => next.run(Request::from_parts(parts, Body::from(bytes))).await,
        // Either there was more of it, or the peer has gone and hears nothing of this.
        Ok(Err(_)) => too_large(),
        Err(_) => {
            let detail = format!("the body did not arrive within {PATIENCE:?}");
            Problem::new(StatusCode::REQUEST_TIMEOUT, detail).into_response()
        }
    }
}
