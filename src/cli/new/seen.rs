//! What the log's events look like.

use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::guess::Kind;
use crate::log::LogEvent;
use crate::projection::Pattern;

/// How many of the newest events of a type are looked at.
const SAMPLE: i64 = 1_000;
/// Among how many of the newest events a stream is looked for that has something of everything.
const NEWEST: i64 = 50_000;
/// The most events of a first test.
const MOST_EVENTS: i64 = 20;

/// A type of event.
pub(super) struct Type {
    pub(super) name: String,
    /// How many there are.
    pub(super) events: i64,
    pub(super) keys: Vec<Key>,
}

/// A top-level key of a type's data.
pub(super) struct Key {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// Whether each event that was looked at has it.
    pub(super) always: bool,
}

/// The types that match, in order of their first events.
pub(super) async fn types(
    connection: &mut PgConnection,
    pattern: &Pattern,
) -> Result<Vec<Type>, sqlx::Error> {
    let names: Vec<(String, i64)> = sqlx::query_as(
        "select type, count(*) from projectord.events where type like $1 group by type order by min(position)",
    )
    .bind(pattern.to_like())
    .fetch_all(&mut *connection)
    .await?;
    let mut types = Vec::new();
    for (name, events) in names {
        let sample: Vec<(Value,)> = sqlx::query_as(
            "select data from projectord.events where type = $1 order by position desc limit $2",
        )
        .bind(&name)
        .bind(SAMPLE)
        .fetch_all(&mut *connection)
        .await?;
        types.push(Type { name, events, keys: keys(&sample) });
    }
    Ok(types)
}

fn keys(sample: &[(Value,)]) -> Vec<Key> {
    let mut keys: Vec<(Key, usize)> = Vec::new();
    for (name, value) in sample.iter().filter_map(|(data,)| data.as_object()).flatten() {
        let kind = Kind::of(value);
        match keys.iter_mut().find(|(key, _)| &key.name == name) {
            Some((key, seen)) => {
                key.kind = key.kind.with(kind);
                *seen += 1;
            }
            None => keys.push((Key { name: name.clone(), kind, always: true }, 1)),
        }
    }
    let whole = |(key, seen): (Key, usize)| Key { always: seen == sample.len(), ..key };
    keys.into_iter().map(whole).collect()
}

/// The events of a stream that has many of the types and few events: its first ones.
pub(super) async fn stream(
    connection: &mut PgConnection,
    pattern: &Pattern,
) -> Result<Vec<LogEvent>, sqlx::Error> {
    let (stream,): (Uuid,) = sqlx::query_as(
        "select stream_id
           from (select stream_id, type, version from projectord.events where type like $1
                  order by position desc limit $2) newest
          group by stream_id
          order by max(version) > $3, count(distinct type) desc, max(version), stream_id limit 1",
    )
    .bind(pattern.to_like())
    .bind(NEWEST)
    .bind(MOST_EVENTS)
    .fetch_one(&mut *connection)
    .await?;
    sqlx::query_as(
        "select position, stream_id, stream_type, version, type, data, metadata, commit_id, recorded_at
           from projectord.events where stream_id = $1 and version <= $2 order by version",
    )
    .bind(stream)
    .bind(MOST_EVENTS)
    .fetch_all(&mut *connection)
    .await
}
