//! The log, a page at a time.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::asked::{Asked, limit, type_like};
use crate::event::Position;
use crate::http::{Problem, Shared};
use crate::log::{Filter, Found, From, Log, LogEvent};

/// The most events of a page.
const MOST: u32 = 1000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    after: Option<u64>,
    limit: Option<u32>,
    #[serde(rename = "type")]
    event_type: Option<String>,
    stream: Option<Uuid>,
    newest: Option<bool>,
}

/// A page; the next one begins after `read_to`, which moves on also where no event was let through.
#[derive(Debug, Serialize)]
pub(super) struct Page {
    events: Vec<LogEvent>,
    read_to: Position,
    head: Position,
}

pub(super) async fn events(
    State(shared): State<Arc<Shared>>,
    Asked(which): Asked<Which>,
) -> Result<Json<Page>, Problem> {
    let limit = limit(which.limit, 100, MOST)?;
    let filter = Filter { type_like: type_like(which.event_type.as_deref())?, stream: which.stream };
    let from = if which.newest == Some(true) { From::Newest } else { From::Oldest };
    let after = Position(which.after.unwrap_or(0));
    let log = Log::new(shared.pool.clone());
    let Found { events, read_to, head } = log.browse(after, limit, &filter, from).await?;
    Ok(Json(Page { events, read_to, head }))
}
