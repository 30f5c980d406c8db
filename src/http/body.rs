//! The bodies of requests: read as a whole before anything is done with them, within a size and a time, and never
//! more of them at once than there is memory for. Nothing reads the body of what only asks, so it is not read: it takes
//! no room from those who may change something.

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

use super::{Problem, access};

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
    if !access::is_change(request.method()) {
        return next.run(request).await;
    }
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
    let most = u32::try_from(length.div_ceil(1024)).unwrap_or(u32::MAX);
    let Ok(Ok(mut room)) = timeout(PATIENCE, bodies.room.acquire_many(most)).await else {
        let detail = "too many large bodies at once; try again";
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail);
        return problem.retry_after(Duration::from_secs(1)).into_response();
    };
    let (parts, body) = request.into_parts();
    match timeout(PATIENCE, to_bytes(body, bodies.most)).await {
        Ok(Ok(bytes)) => {
            // One that did not say its length was taken for the largest.
            drop(room.split(room.num_permits().saturating_sub(bytes.len().div_ceil(1024))));
            next.run(Request::from_parts(parts, Body::from(bytes))).await
        }
        // Either there was more of it, or the peer has gone and hears nothing of this.
        Ok(Err(_)) => too_large(),
        Err(_) => {
            let detail = format!("the body did not arrive within {PATIENCE:?}");
            Problem::new(StatusCode::REQUEST_TIMEOUT, detail).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::Method;
    use axum::middleware::from_fn_with_state;
    use axum::routing::any;
    use tower_service::Service;

    use super::*;

    /// Asks so often, of what never answers, without saying how long the bodies are; whether all have come there.
    async fn all_get_there(times: usize, method: Method) -> bool {
        let there = Arc::new(Semaphore::new(0));
        let arrived = Arc::clone(&there);
        let never = any(async move || {
            arrived.add_permits(1);
            std::future::pending::<()>().await;
        });
        let bodies = Bodies::of_at_most(20 << 20);
        let mut router = Router::new().fallback(never).layer(from_fn_with_state(bodies, read));
        for _ in 0..times {
            let request = Request::builder().method(&method).header(TRANSFER_ENCODING, "chunked");
            tokio::spawn(router.call(request.body(Body::from("{}")).unwrap()));
        }
        let all = u32::try_from(times).unwrap();
        timeout(Duration::from_secs(5), there.acquire_many(all)).await.is_ok()
    }

    #[tokio::test]
    async fn a_body_that_has_come_takes_no_more_room_than_it_is_long() {
        assert!(all_get_there(4 * AT_ONCE, Method::POST).await);
    }

    #[tokio::test]
    async fn what_only_asks_waits_for_no_room() {
        let bodies = Bodies::of_at_most(1024);
        let _none_left = bodies.room.acquire_many(4).await.unwrap();
        let mut router =
            Router::new().fallback(async || "answered").layer(from_fn_with_state(bodies.clone(), read));
        let request = Request::builder().method(Method::GET).header(CONTENT_LENGTH, "1024");
        let answer = timeout(Duration::from_secs(5), router.call(request.body(Body::empty()).unwrap())).await;
        assert_eq!(answer.unwrap().unwrap().status(), StatusCode::OK);
    }
}
