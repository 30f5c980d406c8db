//! `projection.toml`.

use std::collections::BTreeMap;

use serde::Deserialize;

/// What happens to a projection whose handler fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// It stops at the event, with the reason on record, until somebody resumes it.
    #[default]
    Halt,
    /// The event and all later ones of its stream are set aside, in order; everything else goes on.
    Park,
}

/// What a projection's rows do not cross, so that several workers can build them side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Partition {
    /// No two streams' events touch the same row.
    Stream,
}

/// The column that holds the stream which a row was made of, as `table.column`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct RowStream {
    /// The table.
    pub table: String,
    /// Its column.
    pub column: String,
}

impl TryFrom<String> for RowStream {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.split('.').collect::<Vec<_>>().as_slice() {
            [table, column] if !table.is_empty() && !column.is_empty() => {
                Ok(Self { table: (*table).into(), column: (*column).into() })
            }
            _ => Err(format!("row_stream is a table and a column, as in \"orders.id\", and not {text:?}")),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub(super) description: Option<String>,
    #[serde(default)]
    pub(super) on_error: OnError,
    pub(super) partition: Option<Partition>,
    pub(super) row_stream: Option<RowStream>,
    /// Event type or glob → file.
    #[serde(default)]
    pub(super) on: BTreeMap<String, String>,
}

/// Reads it; on failure the line, where known, and what is wrong.
pub(super) fn read(text: &str) -> Result<Manifest, (Option<usize>, String)> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        (line, error.message().to_owned())
    })
}
