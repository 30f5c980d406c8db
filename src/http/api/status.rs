//! `status`, as a whole and for each projection.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Serialize;

use super::asked::Name;
use crate::control::{Control, ProjectionStatus, Status};
use crate::http::{Caller, Problem, Shared};

#[derive(Debug, Serialize)]
pub(super) struct Projections {
    projections: Vec<ProjectionStatus>,
}

/// As `projectord status --json` has it, at most a second old.
pub(super) async fn status(State(shared): State<Arc<Shared>>) -> Result<Json<Arc<Status>>, Problem> {
    let read = shared.status.read().await;
    read.map(Json).map_err(|error| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, error).retry_after(std::time::Duration::from_secs(1))
    })
}

pub(super) async fn projections(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Projections>, Problem> {
    Ok(Json(Projections { projections: control(&shared, &caller).projections(None).await? }))
}

pub(super) async fn projection(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Name(name): Name,
) -> Result<Json<ProjectionStatus>, Problem> {
    Ok(Json(control(&shared, &caller).projection(&name).await?))
}

/// The database in the hands of whoever asks: `http`, with the name of the token where one was given.
pub(super) fn control(shared: &Shared, Caller(token): &Caller) -> Control {
    let who = token.as_ref().map_or("http".into(), |name| format!("http {name}"));
    Control::new(shared.pool.clone(), who)
}
