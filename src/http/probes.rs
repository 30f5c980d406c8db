//! What orchestrators ask: whether the process lives, and whether it does its part.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use super::{Problem, Shared};

#[derive(Debug, Serialize)]
pub(super) struct Live {
    live: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct Ready {
    ready: bool,
    reasons: Vec<String>,
}

/// Whether the main runtime still beats. No database is asked: that one is away is no reason to be started again.
pub(super) async fn livez(State(shared): State<Arc<Shared>>) -> Result<Json<Live>, Problem> {
    if shared.pulse.is_alive() {
        return Ok(Json(Live { live: true }));
    }
    let age = shared.pulse.age().as_secs();
    let detail =
        format!("the main runtime has done nothing for {age} s: a handler may block it; start it again");
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).with("live", false))
}

/// What the daemon has found of itself: see docs/operations.md.
pub(super) async fn readyz(State(shared): State<Arc<Shared>>) -> (StatusCode, Json<Ready>) {
    let reasons = shared.reasons();
    let ready = reasons.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Ready { ready, reasons }))
}
