//! What went wrong, as RFC 9457 has it: every error that is answered has this form.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{Response, StatusCode};
use axum::middleware::Next;
use axum::response::IntoResponse;
use serde_json::{Map, Value, json};
use tracing::error;

use crate::postgres::{Class, classify, describe};

const MEDIA_TYPE: &str = "application/problem+json";
/// The most text that is taken over from an answer that has another form.
const MOST_TEXT: usize = 4096;

/// An error, as it is answered.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    status: StatusCode,
    kind: Option<&'static str>,
    detail: String,
    extras: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// `detail` says what, and what to do.
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let headers = vec![(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE))];
        Self { status, kind: None, detail: detail.into(), extras: Map::new(), headers }
    }

    /// There is nothing of this name.
    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// A kind of its own, for programs to tell by: its type is `/problems/<kind>`.
    #[must_use]
    pub(super) fn kind(mut self, kind: &'static str) -> Self {
        self.kind = Some(kind);
        self
    }

    /// A member of its own.
    #[must_use]
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.extras.insert(name.into(), value.into());
        self
    }

    /// When it may be asked again.
    #[must_use]
    pub(super) fn retry_after(self, wait: Duration) -> Self {
        self.header(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)))
    }

    /// A header of its own.
    #[must_use]
    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        let mut members = json!({
            "type": self.kind.map_or("about:blank".into(), |kind| format!("/problems/{kind}")),
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let Some(members) = members.as_object_mut() {
            members.extend(self.extras);
        }
        let mut response = Response::new(Body::from(members.to_string()));
        *response.status_mut() = self.status;
        response.headers_mut().extend(self.headers.into_iter().map(|(name, value)| (Some(name), value)));
        response
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        let detail = format!("PostgreSQL: {}", describe(&error));
        match classify(&error) {
            Class::Away | Class::Again => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(Duration::from_secs(1))
            }
            Class::Fenced | Class::Statement => {
                error!(error = %describe(&error), "a request failed");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
            }
        }
    }
}

/// Gives every error this form: also those that the router and its extractors answer as text.
pub(super) async fn everywhere(request: Request, next: Next) -> Response<Body> {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let response = next.run(request).await;
    let status = response.status();
    // `/readyz` answers 503 with what it always has.
    let is_ours = |it: &HeaderValue| it == MEDIA_TYPE || it == "application/json";
    if response.headers().get(header::CONTENT_TYPE).is_some_and(is_ours)
        || !(status.is_client_error() || status.is_server_error())
    {
        return response;
    }
    let place = format!("{method} {}", short(uri.path()));
    let allow = response.headers().get(header::ALLOW).cloned();
    let text = to_bytes(response.into_body(), MOST_TEXT).await.unwrap_or_default();
    let detail = match (status, String::from_utf8_lossy(&text)) {
        (StatusCode::METHOD_NOT_ALLOWED, _) => format!("{place}: there is nothing to do so with; see Allow"),
        (_, text) if text.is_empty() => place,
        (_, text) => text.into_owned(),
    };
    let problem = Problem::new(status, detail);
    match allow {
        Some(allow) => problem.header(header::ALLOW, allow),
        None => problem,
    }
    .into_response()
}

/// There is nothing at this path.
pub(super) async fn nothing_here(request: Request) -> Problem {
    Problem::not_found(format!("there is nothing at {}", short(request.uri().path())))
}

/// As much of a path as somebody reads.
fn short(path: &str) -> String {
    match path.char_indices().nth(200) {
        Some((at, _)) => format!("{}…", &path[..at]),
        None => path.to_owned(),
    }
}
