//! The keys of a test's file, and its values as JSON.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value};
use toml::Spanned;

/// What a row says of a column that is to be null: TOML has no word for it.
pub(super) const IS_NULL: &str = " is null";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(rename = "description")]
    _description: Option<String>,
    #[serde(default)]
    pub(super) given: Vec<Spanned<GivenEntry>>,
    #[serde(default)]
    pub(super) expect: Vec<Spanned<ExpectEntry>>,
    #[serde(default)]
    /// One table, or with `on_error = "park"` several.
    pub(super) error: Option<Spanned<toml::Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GivenEntry {
    pub(super) stream: Option<String>,
    pub(super) stream_type: Option<String>,
    #[serde(rename = "type")]
    pub(super) event_type: Option<String>,
    pub(super) data: Option<toml::Value>,
    pub(super) data_json: Option<String>,
    pub(super) metadata: Option<toml::Value>,
    pub(super) recorded_at: Option<toml::Value>,
    pub(super) events: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectEntry {
    pub(super) after: Option<usize>,
    pub(super) table: Option<String>,
    pub(super) query: Option<String>,
    pub(super) rows: Option<Vec<toml::Table>>,
    pub(super) count: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ErrorEntry {
    pub(super) at: usize,
    pub(super) sqlstate: Option<String>,
    pub(super) message: Option<String>,
}

impl File {
    /// The errors that are expected, and where they stand.
    pub(super) fn errors(error: Option<Spanned<toml::Value>>) -> Result<Vec<ErrorEntry>, String> {
        let tables = match error.map(Spanned::into_inner) {
            None => Vec::new(),
            Some(toml::Value::Array(tables)) => tables,
            Some(one) => vec![one],
        };
        tables
            .into_iter()
            .map(|table| table.try_into().map_err(|error: toml::de::Error| error.message().to_owned()))
            .collect()
    }
}

/// A row as an object; `"column is null" = true` is null.
pub(super) fn row(table: toml::Table) -> Result<Value, String> {
    let mut row = Map::new();
    for (key, value) in table {
        match (key.strip_suffix(IS_NULL), value) {
            (Some(column), toml::Value::Boolean(true)) => row.insert(column.to_owned(), Value::Null),
            (Some(column), _) => return Err(format!("\"{column}{IS_NULL}\" is true, or a value is given")),
            (None, value) => row.insert(key, json(value)),
        };
    }
    Ok(Value::Object(row))
}

/// A date or time is its text.
pub(super) fn json(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(truth) => truth.into(),
        toml::Value::Datetime(time) => Value::String(time.to_string()),
        toml::Value::Array(items) => items.into_iter().map(json).collect(),
        toml::Value::Table(fields) => {
            Value::Object(fields.into_iter().map(|(key, value)| (key, json(value))).collect())
        }
    }
}

/// A time with its zone.
pub(super) fn time(value: toml::Value) -> Result<DateTime<Utc>, String> {
    let text = json(value);
    let text = text.as_str().unwrap_or_default();
    DateTime::parse_from_rfc3339(&text.replacen(' ', "T", 1))
        .map(|time| time.with_timezone(&Utc))
        .map_err(|_| "recorded_at is a time with its zone, as in 2024-01-01T12:00:00Z".into())
}
