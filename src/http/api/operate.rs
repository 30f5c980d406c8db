//! What an operator does, and what is on record of that. The daemon acts on it; the answer says what will be done.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::asked::{Asked, Name, is_name, limit, whole};
use super::status::control;
use crate::control::{Aside, Operation};
use crate::http::{Caller, Given, Problem, Shared};
use crate::projector::Rebuild;

/// The most that is listed at once.
const MOST: u32 = 1000;

/// A body that has nothing to say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
pub(super) struct How {
    in_place: bool,
    held: bool,
    force: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    stream: Option<Uuid>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct At {
    #[serde(deserialize_with = "whole")]
    position: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    projection: Option<String>,
    limit: Option<u32>,
    after: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recent {
    projection: Option<String>,
    limit: Option<u32>,
}

/// What was said to whoever acts.
#[derive(Debug, Serialize)]
pub(super) struct Said {
    said: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    asked: Option<u64>,
}

#[derive(Debug, Serialize)]
pub(super) struct Parked {
    parked: Vec<Aside>,
}

#[derive(Debug, Serialize)]
pub(super) struct Operations {
    operations: Vec<Operation>,
}

type Answer = Result<(StatusCode, Json<Said>), Problem>;

fn said(said: String) -> Answer {
    Ok((StatusCode::ACCEPTED, Json(Said { said, asked: None })))
}

pub(super) async fn pause(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Name(name): Name,
    Given(Nothing {}): Given<Nothing>,
) -> Answer {
    said(control(&shared, &caller).pause(&name).await?)
}

pub(super) async fn resume(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Name(name): Name,
    Given(Nothing {}): Given<Nothing>,
) -> Answer {
    said(control(&shared, &caller).resume(&name).await?)
}

pub(super) async fn rebuild(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Name(name): Name,
    Given(How { in_place, held, force }): Given<How>,
) -> Answer {
    let how = match (in_place, held) {
        (true, true) => {
            let detail = "what is built in the place of the live rows cannot be held beside them";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
        }
        (true, false) => Rebuild::InPlace,
        (false, true) => Rebuild::Held,
        (false, false) => Rebuild::Beside,
    };
    let control = control(&shared, &caller);
    control.what_it_takes(&name, force, shared.config.rebuild.keep_old).await?;
    control.rebuild(&name, how, force).await?;
    said(format!("{name} will be rebuilt"))
}

pub(super) async fn cancel(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Name(name): Name,
    Given(Nothing {}): Given<Nothing>,
) -> Answer {
    said(control(&shared, &caller).cancel(&name).await?)
}

pub(super) async fn swap(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Name(name): Name,
    Given(Nothing {}): Given<Nothing>,
) -> Answer {
    said(control(&shared, &caller).swap(&name, false).await?)
}

pub(super) async fn undo(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Name(name): Name,
    Given(Nothing {}): Given<Nothing>,
) -> Answer {
    let (control, kept) = (control(&shared, &caller), shared.config.rebuild.keep_old);
    let live = control.generation(&name).await?;
    let old = control.retired(&name, kept).await?.generation;
    said(control.undo(&name, live, old, kept).await?)
}

pub(super) async fn retry(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Name(name): Name,
    Given(Which { stream }): Given<Which>,
) -> Answer {
    let asked = control(&shared, &caller).retry(&name, stream).await?;
    let said = format!("{asked} parked events of {name} will be tried again");
    Ok((StatusCode::ACCEPTED, Json(Said { said, asked: Some(asked) })))
}

pub(super) async fn skip(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Name(name): Name,
    Given(At { position }): Given<At>,
) -> Answer {
    let control = control(&shared, &caller);
    let position = i64::try_from(position).unwrap_or(i64::MAX);
    control.skippable(&name, position).await?;
    said(control.skip(&name, position).await?)
}

/// In order of position. `after` is the last one of the page before; a page ends with all of its last position.
pub(super) async fn parked(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Asked(Page { projection, limit: most, after }): Asked<Page>,
) -> Result<Json<Parked>, Problem> {
    let (most, name) = (limit(most, 100, MOST)?, named(projection.as_deref())?);
    let after = i64::try_from(after.unwrap_or(0)).unwrap_or(i64::MAX);
    Ok(Json(Parked { parked: control(&shared, &caller).parked(name, after, Some(most)).await? }))
}

/// The newest come first.
pub(super) async fn operations(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Asked(Recent { projection, limit: most }): Asked<Recent>,
) -> Result<Json<Operations>, Problem> {
    let (most, name) = (limit(most, 50, MOST)?, named(projection.as_deref())?);
    Ok(Json(Operations { operations: control(&shared, &caller).operations(name, most).await? }))
}

fn named(projection: Option<&str>) -> Result<Option<&str>, Problem> {
    match projection {
        Some(name) if !is_name(name) => Err(Problem::not_found("no projection can have this name")),
        name => Ok(name),
    }
}
