//! Streams: appending to one, loading one, and the rows that are of one.

use std::num::NonZeroU32;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::asked::{Asked, MOST_EXACT, OfStream, limit, whole};
use super::room::Room;
use super::status::control;
use crate::control::StreamRows;
use crate::event::{Commit, CommitId, Event, NewEvent, StreamId, Version};
use crate::http::{Caller, Given, Problem, Shared};
use crate::store::ExpectedVersion;

/// The most events of a stream at once.
const MOST: u32 = 10_000;
/// How many the store is asked for at a time; and after about how many bytes it is not asked again.
const PIECE: u32 = 100;
const MOST_BYTES: usize = 4 << 20;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    from: Option<u64>,
    limit: Option<u32>,
}

#[derive(Debug, Serialize)]
pub(super) struct Loaded {
    stream_id: StreamId,
    version: Version,
    events: Vec<Event>,
}

/// A commit, and where it may go.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Append {
    #[serde(deserialize_with = "expected")]
    expected_version: ExpectedVersion,
    stream_type: String,
    commit_id: Option<CommitId>,
    events: Vec<Appending>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Appending {
    #[serde(rename = "type")]
    event_type: String,
    data: Value,
    #[serde(default = "empty")]
    metadata: Value,
}

#[derive(Debug, Serialize)]
pub(super) struct Appended {
    stream_id: StreamId,
    version: Version,
    commit_id: CommitId,
    already_there: bool,
}

/// The store is asked, not the log.
pub(super) async fn load(
    State(shared): State<Arc<Shared>>,
    Extension(room): Extension<Room>,
    OfStream(stream_id): OfStream,
    Asked(Part { from, limit: most }): Asked<Part>,
) -> Result<Json<Loaded>, Problem> {
    let most = limit(most, 1000, MOST)?;
    let _place = room.for_load()?;
    let from = Version(from.unwrap_or(1).min(MOST_EXACT));
    let mut loaded = shared.store.load_page(stream_id, from, piece(most)).await?;
    let mut bytes = size(&loaded.events);
    while bytes < MOST_BYTES
        && let Some(last) = loaded.events.last()
        && loaded.events.len() < most as usize
        && last.version < loaded.version
    {
        let next = piece(most - u32::try_from(loaded.events.len()).unwrap_or(most));
        let more = shared.store.load_page(stream_id, last.version.next(), next).await?;
        bytes += size(&more.events);
        loaded.version = more.version;
        if more.events.is_empty() {
            break;
        }
        loaded.events.extend(more.events);
    }
    Ok(Json(Loaded { stream_id, version: loaded.version, events: loaded.events }))
}

pub(super) async fn append(
    State(shared): State<Arc<Shared>>,
    OfStream(stream_id): OfStream,
    Given(append): Given<Append>,
) -> Result<(StatusCode, Json<Appended>), Problem> {
    let Append { expected_version, stream_type, commit_id, events } = append;
    let event = |it: Appending| NewEvent::from_json(it.event_type, it.data).with_metadata(it.metadata);
    let mut commit = Commit::new(stream_type, events.into_iter().map(event).collect());
    if let Some(id) = commit_id {
        commit = commit.with_id(id);
    }
    let commit_id = commit.id;
    let appended = shared.store.append_to_stream(stream_id, expected_version, commit).await?;
    let status = if appended.repeated { StatusCode::OK } else { StatusCode::CREATED };
    let (version, already_there) = (appended.version, appended.repeated);
    Ok((status, Json(Appended { stream_id, version, commit_id, already_there })))
}

pub(super) async fn rows(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    OfStream(stream): OfStream,
) -> Result<Json<StreamRows>, Problem> {
    Ok(Json(control(&shared, &caller).rows_of(stream.0).await?))
}

/// What to ask the store for, of so many that are wanted.
fn piece(most: u32) -> NonZeroU32 {
    NonZeroU32::new(most.min(PIECE)).unwrap_or(NonZeroU32::MIN)
}

fn size(events: &[Event]) -> usize {
    let of = |value: &Value| value.to_string().len();
    events.iter().map(|event| of(&event.data) + of(&event.metadata)).sum()
}

fn empty() -> Value {
    Value::Object(Map::new())
}

fn expected<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ExpectedVersion, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::String(text) if text == "none" => Ok(ExpectedVersion::NoStream),
        Value::String(text) if text == "any" => Ok(ExpectedVersion::Any),
        Value::Number(number) => whole(number)
            .map(|version| ExpectedVersion::Exact(Version(version)))
            .map_err(serde::de::Error::custom),
        _ => Err(serde::de::Error::custom("expected_version: it is not \"none\", \"any\" or a version")),
    }
}
