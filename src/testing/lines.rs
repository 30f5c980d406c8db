//! Events from a file of NDJSON, plain or gzip, as `projectord stream --json`, `tail --json` print them and
//! `import` reads them.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use chrono::{DateTime, Utc};
use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::given::{Given, GivenEvent};
use crate::projection::Problem;
use crate::text::plain;

/// A test needs no more.
const LARGEST: u64 = 256 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(alias = "stream")]
    stream_id: String,
    stream_type: Option<String>,
    #[serde(rename = "type")]
    event_type: String,
    data: Value,
    metadata: Option<Value>,
    recorded_at: Option<DateTime<Utc>>,
    // Counted, whatever a line says.
    #[serde(rename = "position")]
    _position: Option<IgnoredAny>,
    #[serde(rename = "version")]
    _version: Option<IgnoredAny>,
    #[serde(rename = "commit_id")]
    _commit_id: Option<IgnoredAny>,
}

/// Adds the file's events; or says which line is wrong.
pub(super) fn read(path: &Path, given: &mut Given) -> Result<(), Problem> {
    let problem = |line, message: String| Problem { file: path.to_owned(), line, message };
    let unreadable = |error: io::Error| problem(None, format!("cannot read it: {error}"));
    let mut file = BufReader::new(File::open(path).map_err(unreadable)?);
    let gzip = file.fill_buf().map_err(unreadable)?.starts_with(&[0x1f, 0x8b]);
    let raw: Box<dyn Read> = if gzip { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let mut reader = BufReader::new(raw.take(LARGEST));
    let mut text = String::new();
    let mut read = 0_u64;
    for number in 1.. {
        text.clear();
        let here = |message: String| problem(Some(number), message);
        read += reader.read_line(&mut text).map_err(|error| here(format!("cannot read on: {error}")))? as u64;
        if text.is_empty() {
            break;
        }
        if read >= LARGEST {
            return Err(here(format!("it has more than {} MiB; a test needs fewer events", LARGEST >> 20)));
        }
        let line = text.trim_start_matches('\u{feff}').trim();
        if line.is_empty() {
            continue;
        }
        let line: Line = serde_json::from_str(line).map_err(|error| here(not_an_event(&error)))?;
        let Line { stream_id, stream_type, event_type, data, metadata, recorded_at, .. } = line;
        let event = GivenEvent { stream: stream_id, stream_type, event_type, data, metadata, recorded_at };
        given.add(event).map_err(|refusal| here(refused(&refusal)))?;
    }
    Ok(())
}

/// The line's number in the file is said elsewhere; here it is always the first.
fn not_an_event(error: &serde_json::Error) -> String {
    let column = error.column();
    let text = error.to_string();
    let reason = text.strip_suffix(&format!(" at line 1 column {column}")).unwrap_or(&text);
    format!("not an event: {}, at column {column}", plain(reason))
}

/// Why the store would not take an event, without which of the commit's it is: there is one.
pub(super) fn refused(refusal: &crate::event::Refusal) -> String {
    let place = refusal.place.strip_prefix("event 1").unwrap_or(&refusal.place);
    format!("{}{}", place.trim_start_matches([',', ':', ' ']), refusal.reason)
}
