//! Every path, and what stands before each: who may ask, what a request may look like, how an error is answered.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::header::{CACHE_CONTROL, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;

use super::access::{self, Access};
use super::body::{self, Bodies};
use super::{Shared, api, dashboard, history, metrics, probes, problem};

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// All of it. The layer that is added last sees a request first.
pub(super) fn router(shared: Arc<Shared>, access: Arc<Access>, bodies: Bodies) -> Router {
    Router::new()
        .route("/livez", get(probes::livez))
        .route("/readyz", get(probes::readyz))
        .route("/metrics", get(metrics::metrics))
        .route("/api/v1/history", get(history::history))
        .merge(api::router())
        .merge(dashboard::router())
        .fallback(problem::nothing_here)
        // The layer below bounds a body, by what is configured.
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(bodies, body::read))
        .layer(from_fn_with_state(access, access::check))
        .layer(from_fn(problem::everywhere))
        .layer(from_fn(headers))
        .with_state(shared)
}

/// What every answer says, unless it says otherwise itself.
async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (RESOURCE_POLICY, "same-origin"),
        (CACHE_CONTROL, "no-store"),
    ] {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
