//! What is refused before anything is written, and why.

use serde_json::Value;
use thiserror::Error;

use super::canonical::MAX_EXACT;
use super::{Commit, NewEvent, StreamId};
use crate::text::plain;

/// Longest event type and stream type, in bytes of UTF-8.
const MAX_TYPE_BYTES: usize = 200;
/// Deepest nesting of `data` and `metadata`.
const MAX_DEPTH: usize = 64;
/// RethinkDB interprets objects that have this key.
const RESERVED_KEY: &str = "$reql_type$";

/// How large a commit may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the commit's events as JSON; 1 MiB unless set, at most 16 MiB.
    pub max_bytes: usize,
    /// Events in one commit; 1,000 unless set, at most 10,000.
    pub max_events: usize,
}

impl Limits {
    /// The largest limits that can be configured: beyond these the stores themselves refuse.
    pub const HIGHEST: Self = Self { max_bytes: 16 << 20, max_events: 10_000 };
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_bytes: 1 << 20, max_events: 1_000 }
    }
}

/// Why a commit was refused. Nothing of it was written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("commit for stream {stream} refused: {place}{reason}")]
pub struct Refusal {
    /// The stream that it was meant for.
    pub stream: StreamId,
    /// Which event, field and key, as `event 2, data.items[3]: `; empty when it is the whole commit.
    pub place: String,
    /// What is wrong with it.
    pub reason: String,
    /// Whether the commit is over a limit on its size.
    pub too_large: bool,
}

/// Checks `commit` against every rule; the first one broken is the answer.
pub(super) fn check(stream: StreamId, commit: &Commit, limits: &Limits) -> Result<(), Refusal> {
    let refuse = |place: String, reason: String| Refusal { stream, place, reason, too_large: false };
    let over = |reason: String| Refusal { stream, place: String::new(), reason, too_large: true };

    check_type("stream type", &commit.stream_type).map_err(|reason| refuse(String::new(), reason))?;
    if commit.events.is_empty() {
        return Err(refuse(String::new(), "it has no events".into()));
    }
    if commit.events.len() > limits.max_events {
        return Err(over(format!("{} events, the limit is {}", commit.events.len(), limits.max_events)));
    }
    for (index, event) in commit.events.iter().enumerate() {
        let number = index + 1;
        check_type("event type", &event.event_type)
            .map_err(|reason| refuse(format!("event {number}: "), reason))?;
        for (field, value) in [("data", &event.data), ("metadata", &event.metadata)] {
            check_value(value, 1)
                .map_err(|wrong| refuse(format!("event {number}, {field}{}: ", wrong.place), wrong.reason))?;
        }
    }
    let bytes = bytes(&commit.events);
    if bytes > limits.max_bytes {
        return Err(over(format!("{bytes} bytes of events, the limit is {}", limits.max_bytes)));
    }
    Ok(())
}

/// How many bytes these events have as JSON.
pub(super) fn bytes(events: &[NewEvent]) -> usize {
    let event = |event: &NewEvent| event.event_type.len() + json_len(&event.data) + json_len(&event.metadata);
    events.iter().map(event).sum()
}

fn check_type(what: &str, text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err(format!("the {what} is empty"));
    }
    if text.len() > MAX_TYPE_BYTES {
        return Err(format!("the {what} has {} bytes, the limit is {MAX_TYPE_BYTES}", text.len()));
    }
    check_text(text).map_err(|reason| format!("the {what} {reason}"))
}

fn check_text(text: &str) -> Result<(), &'static str> {
    if text.contains('\0') {
        return Err("contains \\u0000, which PostgreSQL cannot keep");
    }
    Ok(())
}

/// What is wrong inside a value, and where: `.items[3]`.
struct Wrong {
    place: String,
    reason: String,
}

impl Wrong {
    fn here(reason: impl Into<String>) -> Self {
        Self { place: String::new(), reason: reason.into() }
    }

    /// The same, seen from one level further out.
    fn inside(self, step: &str) -> Self {
        Self { place: format!("{step}{}", self.place), ..self }
    }
}

fn check_value(value: &Value, depth: usize) -> Result<(), Wrong> {
    if depth > MAX_DEPTH {
        return Err(Wrong::here(format!("nested deeper than {MAX_DEPTH}")));
    }
    match value {
        Value::Null | Value::Bool(_) => Ok(()),
        Value::String(text) => check_text(text).map_err(|reason| Wrong::here(format!("the text {reason}"))),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (None, None) => Ok(()),
            (Some(small), _) if small.unsigned_abs() <= MAX_EXACT => Ok(()),
            _ => Err(Wrong::here(format!(
                "{number} is an integer beyond ±(2^53−1), which RethinkDB would round; send it as text"
            ))),
        },
        Value::Array(items) => items.iter().enumerate().try_for_each(|(index, item)| {
            check_value(item, depth + 1).map_err(|wrong| wrong.inside(&format!("[{index}]")))
        }),
        Value::Object(fields) => fields.iter().try_for_each(|(key, field)| {
            check_field(key, field, depth).map_err(|wrong| wrong.inside(&format!(".{}", shown(key))))
        }),
    }
}

fn check_field(key: &str, field: &Value, depth: usize) -> Result<(), Wrong> {
    check_text(key).map_err(|reason| Wrong::here(format!("the key {reason}")))?;
    if key == RESERVED_KEY {
        return Err(Wrong::here("this key is reserved by RethinkDB"));
    }
    check_value(field, depth + 1)
}

/// A key in a message: on one line, and not long.
fn shown(key: &str) -> String {
    const MOST: usize = 60;
    let end = key.char_indices().nth(MOST).map(|(at, _)| at);
    plain(&key[..end.unwrap_or(key.len())]) + if end.is_some() { "…" } else { "" }
}

/// The length of `value` as compact JSON, without writing it anywhere.
fn json_len(value: &Value) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Counting cannot fail, and a `Value` has text keys only.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}
