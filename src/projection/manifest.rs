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

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub(super) description: Option<String>,
    #[serde(default)]
    pub(super) on_error: OnError,
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
