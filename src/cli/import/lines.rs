//! Lines into pieces: consecutive events of one stream, and where they belong.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::event::{Commit, CommitId, Limits, NewEvent, StreamId, Version};
use crate::text::plain;

/// Under which commit ids are derived from content.
const NAMESPACE: Uuid = Uuid::from_u128(0x6b0d_2f3c_59a1_5e3a_9f0e_7c4b_1d2a_8e55);
/// A line that is longer is no event that any store would take.
const LONGEST_LINE: u64 = 40 << 20;
/// What some editors write before the first line.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What is read, and what to call it.
pub(super) struct Source {
    pub(super) name: String,
    reader: Box<dyn BufRead + Send>,
}

impl Source {
    /// What is in memory already.
    #[cfg(feature = "testing")]
    pub(super) fn of_bytes(name: &str, bytes: Vec<u8>) -> Self {
        Self { name: name.into(), reader: Box::new(io::Cursor::new(bytes)) }
    }
}

/// Consecutive events of one stream, in one commit.
pub(super) struct Piece {
    pub(super) stream: StreamId,
    /// The stream's version before them.
    pub(super) at: Version,
    pub(super) commit: Commit,
    /// The line of the first.
    pub(super) line: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    stream_id: StreamId,
    stream_type: Option<String>,
    #[serde(rename = "type")]
    event_type: String,
    data: Value,
    #[serde(default = "no_metadata")]
    metadata: Value,
}

fn no_metadata() -> Value {
    Value::Object(Map::new())
}

/// Opens a file or standard input; gzip is recognised by its first bytes.
pub(super) fn open(path: &Path) -> Result<Source, String> {
    let name = if path == Path::new("-") { "standard input".into() } else { path.display().to_string() };
    let problem = |error: io::Error| format!("{name}: {error}");
    let raw: Box<dyn Read + Send> = match path == Path::new("-") {
        true => Box::new(io::stdin()),
        false => Box::new(File::open(path).map_err(problem)?),
    };
    let mut reader = BufReader::with_capacity(1 << 16, raw);
    let gzip = reader.fill_buf().map_err(problem)?.starts_with(&[0x1f, 0x8b]);
    let reader: Box<dyn BufRead + Send> =
        if gzip { Box::new(BufReader::new(MultiGzDecoder::new(reader))) } else { Box::new(reader) };
    Ok(Source { name, reader })
}

/// Reads all lines and hands on pieces of at most `batch` events, until `hand_on` says no more. How many
/// lines there were; or the line that is wrong, and why.
pub(super) fn read(
    mut source: Source,
    stream_type: Option<&str>,
    batch: usize,
    limits: Limits,
    hand_on: impl Fn(Piece) -> bool,
) -> Result<u64, String> {
    let mut versions: HashMap<StreamId, u64> = HashMap::new();
    let mut open: Option<Piece> = None;
    let mut number = 0;
    let mut text = Vec::new();
    let outcome = loop {
        text.clear();
        number += 1;
        let place = |what: String| format!("{}:{number}: {what}", source.name);
        match (&mut source.reader).take(LONGEST_LINE).read_until(b'\n', &mut text) {
            Ok(0) => break Ok(number - 1),
            Ok(length) if length as u64 == LONGEST_LINE => break Err(place("the line is too long".into())),
            Ok(_) => {}
            Err(error) => break Err(place(format!("cannot read on: {error}"))),
        }
        let line = text.strip_prefix(BYTE_ORDER_MARK).filter(|_| number == 1).unwrap_or(&text).trim_ascii();
        if line.is_empty() {
            continue;
        }
        let (stream, commit) = match parse(line, stream_type, &limits) {
            Ok(parsed) => parsed,
            Err(what) => break Err(place(what)),
        };
        let version = versions.entry(stream).or_insert(0);
        let at = Version(*version);
        *version += 1;
        match &mut open {
            Some(piece) if joins(piece, stream, &commit, batch, &limits) => {
                piece.commit.events.extend(commit.events);
            }
            open => {
                let piece = Piece { stream, at, commit, line: number };
                if let Some(done) = open.replace(piece)
                    && !hand_on(named(done))
                {
                    return Ok(number);
                }
            }
        }
    };
    if let Some(last) = open {
        hand_on(named(last));
    }
    outcome
}

fn parse(text: &[u8], stream_type: Option<&str>, limits: &Limits) -> Result<(StreamId, Commit), String> {
    if !text.starts_with(b"{") {
        return Err("not an event: it is no JSON object".into());
    }
    let line: Line = serde_json::from_slice(text).map_err(|error| not_an_event(&error))?;
    let stream_type =
        line.stream_type.as_deref().or(stream_type).ok_or("no stream_type; give one with --stream-type")?;
    let event = NewEvent::from_json(line.event_type, line.data).with_metadata(line.metadata);
    let commit = Commit::new(stream_type, vec![event]);
    let commit = commit
        .prepare(line.stream_id, limits)
        .map_err(|refusal| format!("{}{}", refusal.place, refusal.reason))?;
    Ok((line.stream_id, commit))
}

/// The line's number in the file is said elsewhere; here it is always the first.
fn not_an_event(error: &serde_json::Error) -> String {
    let column = error.column();
    let text = error.to_string();
    let reason = text.strip_suffix(&format!(" at line 1 column {column}")).unwrap_or(&text);
    format!("not an event: {}, at column {column}", plain(reason))
}

fn joins(piece: &Piece, stream: StreamId, commit: &Commit, batch: usize, limits: &Limits) -> bool {
    piece.stream == stream
        && piece.commit.events.len() < batch
        && piece.commit.stream_type == commit.stream_type
        && {
            let mut together = piece.commit.clone();
            together.events.extend(commit.events.iter().cloned());
            together.prepare(stream, limits).is_ok()
        }
}

/// Gives the commit an id that follows from what it says and where.
fn named(mut piece: Piece) -> Piece {
    let mut text = format!("{}@{}", piece.stream, piece.at);
    for NewEvent { event_type, data, metadata } in &piece.commit.events {
        text.push_str(&format!("\n{event_type}\n{data}\n{metadata}"));
    }
    piece.commit.id = CommitId(Uuid::new_v5(&NAMESPACE, text.as_bytes()));
    piece
}
