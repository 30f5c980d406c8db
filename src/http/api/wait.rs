//! Read your own writes: an answer when a read model has what was appended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::asked::{Asked, Name, bad, time};
use super::room::Room;
use super::status::control;
use crate::http::{Caller, Problem, Shared};

const USUAL: Duration = Duration::from_secs(5);
const MOST: Duration = Duration::from_secs(60);
/// How often to look: soon at first, and then less often.
const FIRST: Duration = Duration::from_millis(2);
const LAST: Duration = Duration::from_millis(50);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    stream: Uuid,
    version: u64,
    timeout: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Done {
    position: i64,
}

/// No connection is held between two looks.
pub(super) async fn wait(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Extension(room): Extension<Room>,
    Name(name): Name,
    Asked(Which { stream, version, timeout }): Asked<Which>,
) -> Result<Json<Done>, Problem> {
    let patience = time(timeout.as_deref(), USUAL, MOST)?;
    let version = match i64::try_from(version) {
        Ok(version) if version > 0 => version,
        _ => return Err(bad("version: the first event of a stream is version 1")),
    };
    let _place = room.for_stream()?;
    let control = control(&shared, &caller);
    let (deadline, mut shutdown) = (Instant::now() + patience, shared.shutdown.clone());
    let mut rest = FIRST;
    loop {
        let found = control.reflected(&name, stream, version).await?;
        match found.position {
            Some(_) if found.parked => {
                let detail = format!(
                    "version {version} of stream {stream} is parked in {name}; /api/v1/parked says why"
                );
                return Err(Problem::new(StatusCode::CONFLICT, detail).kind("parked"));
            }
            Some(position) if found.checkpoint >= position => return Ok(Json(Done { position })),
            place if Instant::now() >= deadline || shutdown.within(rest).await => {
                let detail = match place {
                    None => format!("the log does not have version {version} of stream {stream} yet"),
                    Some(place) => format!("{name} is at {}, and the event at {place}", found.checkpoint),
                };
                return Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, detail).kind("not-yet"));
            }
            _ => rest = (rest * 3 / 2).min(LAST),
        }
    }
}
