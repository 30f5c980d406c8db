//! A test's file: events that are given, and what is expected of them.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::file::{ErrorEntry, ExpectEntry, File, GivenEntry, json, row, time};
use super::given::{Given, GivenEvent};
use super::lines;
use crate::projection::{Definition, OnError, Problem};

/// The folder in a projection's folder.
const FOLDER: &str = "tests";

/// A test of a projection.
#[derive(Debug, Clone)]
pub struct Case {
    /// As `orders/first`.
    pub name: String,
    /// The file.
    pub file: PathBuf,
    /// The events.
    pub given: Given,
    pub(super) expect: Vec<Expect>,
    pub(super) errors: Vec<ExpectedError>,
}

/// What rows are expected.
#[derive(Debug, Clone)]
pub(super) struct Expect {
    pub(super) line: usize,
    /// After how many events.
    pub(super) after: usize,
    pub(super) of: Source,
    /// Objects of columns.
    pub(super) rows: Option<Vec<Value>>,
    pub(super) count: Option<usize>,
}

/// Where the rows are.
#[derive(Debug, Clone)]
pub(super) enum Source {
    Table(String),
    Query(String),
}

/// An event that is expected to fail.
#[derive(Debug, Clone)]
pub(super) struct ExpectedError {
    pub(super) line: usize,
    pub(super) at: usize,
    pub(super) sqlstate: Option<String>,
    pub(super) message: Option<String>,
}

/// The tests in the projection's folder, in order of their files' names, and what is wrong with the others.
pub fn tests_of(projection: &Definition) -> (Vec<Case>, Vec<Problem>) {
    let folder = projection.folder.join(FOLDER);
    let (mut cases, mut problems) = (Vec::new(), Vec::new());
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return (cases, problems),
        Err(error) => {
            problems.push(Problem { file: folder, line: None, message: format!("cannot read it: {error}") });
            return (cases, problems);
        }
    };
    let is_test = |path: &Path| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        name.ends_with(".toml") && !name.starts_with(['.', '_'])
    };
    let files: BTreeSet<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| is_test(path)).collect();
    for file in files {
        match read(projection, &file) {
            Ok(case) => cases.push(case),
            Err(found) => problems.extend(found),
        }
    }
    (cases, problems)
}

fn read(projection: &Definition, file: &Path) -> Result<Case, Vec<Problem>> {
    let problem = |line, message: String| Problem { file: file.to_owned(), line, message };
    let text = inside(projection, file)
        .and_then(|path| fs::read_to_string(path).map_err(|error| format!("cannot read it: {error}")))
        .map_err(|message| vec![problem(None, message)])?;
    let line_of = |span: Range<usize>| text[..span.start.min(text.len())].matches('\n').count() + 1;
    let parsed: File = toml::from_str(&text)
        .map_err(|error| vec![problem(error.span().map(line_of), error.message().to_owned())])?;
    let mut problems = Vec::new();
    let mut given = Given::new();
    for entry in parsed.given {
        let line = line_of(entry.span());
        if let Err(found) = add(projection, file, entry.into_inner(), &mut given) {
            problems.push(match found {
                Wrong::Here(message) => problem(Some(line), message),
                Wrong::There(problem) => problem,
            });
            // What follows would be counted wrongly.
            return Err(problems);
        }
    }
    let line = parsed.error.as_ref().map_or(1, |error| line_of(error.span()));
    let errors = File::errors(parsed.error).map_err(|message| vec![problem(Some(line), message)])?;
    let errors: Vec<ExpectedError> = errors
        .into_iter()
        .map(|ErrorEntry { at, sqlstate, message }| ExpectedError { line, at, sqlstate, message })
        .collect();
    let count = given.events().len();
    let halts = projection.on_error == OnError::Halt;
    let last = match errors.first() {
        Some(error) if halts => error.at.saturating_sub(1).min(count),
        _ => count,
    };
    let mut expect = Vec::new();
    for entry in parsed.expect {
        let line = line_of(entry.span());
        match expectation(entry.into_inner(), line, last, count) {
            Ok(found) => expect.push(found),
            Err(message) => problems.push(problem(Some(line), message)),
        }
    }
    for (nth, error) in errors.iter().enumerate() {
        if error.at == 0 || error.at > count {
            problems.push(problem(Some(error.line), format!("at = {}, of {count} events", error.at)));
        } else if halts && nth > 0 {
            let message =
                "the projection halts at the error before this one; with on_error = \"park\" it goes on";
            problems.push(problem(Some(error.line), message.into()));
        }
    }
    if expect.is_empty() && errors.is_empty() && problems.is_empty() {
        problems.push(problem(None, "it expects nothing: there is no [[expect]] and no [error]".into()));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(Case { name: format!("{}/{stem}", projection.name), file: file.to_owned(), given, expect, errors })
}

/// Where an entry is wrong: itself, or a file that it names.
enum Wrong {
    Here(String),
    There(Problem),
}

fn add(projection: &Definition, file: &Path, entry: GivenEntry, given: &mut Given) -> Result<(), Wrong> {
    let here = |message: &str| Wrong::Here(message.to_owned());
    if let Some(events) = &entry.events {
        if entry.stream.is_some()
            || entry.event_type.is_some()
            || entry.data.is_some()
            || entry.data_json.is_some()
        {
            return Err(here("either events, a file of them, or stream, type and data of one"));
        }
        let path = file.with_file_name(events);
        let problem = |message| Wrong::There(Problem { file: path.clone(), line: None, message });
        inside(projection, &path).map_err(problem)?;
        return lines::read(&path, given).map_err(Wrong::There);
    }
    let event = GivenEvent {
        stream: entry.stream.ok_or_else(|| here("no stream: a label, or a UUID"))?,
        stream_type: entry.stream_type,
        event_type: entry.event_type.ok_or_else(|| here("no type"))?,
        data: match (entry.data, entry.data_json) {
            (Some(_), Some(_)) => return Err(here("either data or data_json")),
            (Some(data), None) => json(data),
            (None, Some(text)) => serde_json::from_str(&text)
                .map_err(|error| Wrong::Here(format!("data_json is no JSON: {error}")))?,
            (None, None) => Value::Object(Map::new()),
        },
        metadata: entry.metadata.map(json),
        recorded_at: entry.recorded_at.map(time).transpose().map_err(Wrong::Here)?,
    };
    given.add(event).map_err(|refusal| Wrong::Here(lines::refused(&refusal)))
}

fn expectation(entry: ExpectEntry, line: usize, last: usize, count: usize) -> Result<Expect, String> {
    let of = match (entry.table, entry.query) {
        (Some(table), None) => Source::Table(table),
        (None, Some(query)) => Source::Query(query.trim().trim_end_matches(';').to_owned()),
        _ => return Err("either table or query".into()),
    };
    if entry.rows.is_none() && entry.count.is_none() {
        return Err("neither rows nor count; rows = [] is for none".into());
    }
    let after = entry.after.unwrap_or(last);
    if after > count {
        return Err(format!("after = {after}, of {count} events"));
    }
    if after > last {
        return Err(format!("after = {after}, and the projection halts at event {}", last + 1));
    }
    let rows = entry.rows.map(|rows| rows.into_iter().map(row).collect()).transpose()?;
    Ok(Expect { line, after, of, rows, count: entry.count })
}

/// Follows links; what leads out of the projection's folder is refused.
fn inside(projection: &Definition, path: &Path) -> Result<PathBuf, String> {
    let unreadable = |error: std::io::Error| format!("cannot read it: {error}");
    let (real, home) = (path.canonicalize(), projection.folder.canonicalize());
    let (real, home) = (real.map_err(unreadable)?, home.map_err(unreadable)?);
    if real.starts_with(home) { Ok(real) } else { Err("it lies outside the projection's folder".into()) }
}
