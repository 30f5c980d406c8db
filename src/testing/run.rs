//! A test, run: its events one at a time, in batches of three, and all at once. What is expected must be there,
//! and the same rows each time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::case::{Case, Expect, ExpectedError, Source};
use super::compare::{Expected, difference};
use super::read_model::{Applied, ReadModel};
use super::table::{Column, Table, quoted};
use super::{Given, TestError};
use crate::postgres::{Class, classify};
use crate::projection::{Compiled, Definition};
use crate::projector::Failure;

/// How the batches are cut, and what to call that. The first is what is expected held against.
const BATCHES: [(usize, &str); 3] =
    [(1, "one event at a time"), (3, "in batches of 3"), (usize::MAX, "all at once")];

/// How a test went.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// As `orders/first`.
    pub name: String,
    /// What was not as expected, each with its place first; none where it passed.
    pub failures: Vec<String>,
    /// How long it took.
    pub took: Duration,
}

impl Outcome {
    /// Whether everything was as expected.
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}

/// What one replay came to after so many events.
struct Seen {
    tables: BTreeMap<String, Table>,
    applied: Applied,
}

/// Runs a test. Nothing of it stays in the database.
///
/// # Errors
/// When PostgreSQL refuses the projection's SQL, or cannot be reached.
pub async fn run(
    connection: &mut PgConnection,
    projection: &Definition,
    case: &Case,
) -> Result<Outcome, TestError> {
    let begun = Instant::now();
    let mut stops: BTreeSet<usize> = case.expect.iter().map(|expect| expect.after).collect();
    stops.insert(case.given.events().len());
    let mut failures = Vec::new();
    let mut first: Vec<Seen> = Vec::new();
    'batches: for (batch, how) in BATCHES {
        let mut model = ReadModel::new(connection, projection, &case.given).await?;
        for (nth, stop) in stops.iter().enumerate() {
            model.apply(*stop, batch).await?;
            let seen = Seen { tables: model.tables().await?, applied: model.applied().clone() };
            if batch == 1 {
                let reached = seen.applied.events;
                for expect in case.expect.iter().filter(|it| it.after == *stop && it.after <= reached) {
                    failures.extend(check(&mut model, case, expect).await?);
                }
                first.push(seen);
            } else if let Some(differing) = differing(&first[nth], &seen, how, &case.given) {
                let file = case.file.display();
                failures.push(format!("{file}: after {}, {differing}", events(*stop)));
                // What follows would differ for the same reason.
                break 'batches;
            }
        }
        if batch == 1 {
            failures.extend(unexpected(case, &model.applied().failures));
        }
        model.remove().await?;
    }
    Ok(Outcome { name: case.name.clone(), failures, took: begun.elapsed() })
}

fn events(count: usize) -> String {
    format!("{count} {}", if count == 1 { "event" } else { "events" })
}

/// What is not as an expectation has it.
async fn check(model: &mut ReadModel<'_>, case: &Case, expect: &Expect) -> Result<Option<String>, TestError> {
    let (query, key_of, what) = match &expect.of {
        Source::Table(table) => {
            let place = format!("{}.{}", quoted(model.schema()), quoted(table));
            (format!("select * from {}", quoted(table)), Some(place), format!("table {table}"))
        }
        Source::Query(query) => (query.clone(), None, "query".into()),
    };
    let place = format!("{}:{}: {what} after {}", case.file.display(), expect.line, events(expect.after));
    let mut inner = model.transaction().begin().await?;
    let held = hold(&mut inner, case, expect, &query, key_of.as_deref()).await;
    inner.rollback().await?;
    match held {
        Ok(None) => Ok(None),
        Ok(Some(wrong)) => Ok(Some(format!("{place}: {wrong}"))),
        Err(error) if classify(&error) == Class::Away => Err(error.into()),
        Err(error) => Ok(Some(format!("{place}: {}", Failure::of(&error, &Compiled::default())))),
    }
}

async fn hold(
    tx: &mut sqlx::Transaction<'_, sqlx::Postgres>,
    case: &Case,
    expect: &Expect,
    query: &str,
    key_of: Option<&str>,
) -> Result<Option<String>, sqlx::Error> {
    let found = Table::of_query(tx, query, key_of).await?;
    if let Some(count) = expect.count.filter(|count| *count != found.rows.len()) {
        return Ok(Some(format!("{count} rows expected, {} found", found.rows.len())));
    }
    let Some(rows) = &expect.rows else { return Ok(None) };
    let names: Vec<&str> = found.columns.iter().map(|column| column.name.as_str()).collect();
    let named = rows.iter().filter_map(Value::as_object).flat_map(|row| row.keys());
    if let Some(unknown) = named.into_iter().find(|name| !names.contains(&name.as_str())) {
        return Ok(Some(format!("no column {unknown:?}; there are {}", names.join(", "))));
    }
    let rows: Result<Vec<Value>, String> =
        rows.iter().map(|row| with_uuids(row, &found.columns, &case.given)).collect();
    let rows = match rows {
        Ok(rows) => rows,
        Err(wrong) => return Ok(Some(wrong)),
    };
    let texts = found.expected(tx, &rows).await?;
    let expected: Vec<Expected> = rows
        .iter()
        .zip(texts)
        .map(|(row, texts)| {
            let named = |name: &&str| row.get(*name).is_some();
            names.iter().zip(texts).map(|(name, text)| named(name).then_some(text)).collect()
        })
        .collect();
    let in_order = matches!(expect.of, Source::Query(_));
    let differs = difference(&found, &expected, in_order, |column, value| shown(column, value, &case.given));
    Ok(differs.map(|differs| format!("the rows are others\n{differs}")))
}

/// A row with the UUIDs that labels stand for.
fn with_uuids(row: &Value, columns: &[Column], given: &Given) -> Result<Value, String> {
    let mut row = row.clone();
    for column in columns.iter().filter(|column| column.type_name == "uuid") {
        let Some(value) = row.get_mut(&column.name) else { continue };
        let Some(text) = value.as_str() else { continue };
        match given.stream(text) {
            Some(stream) => *value = stream.to_string().into(),
            None if Uuid::try_parse(text).is_ok() => {}
            None => {
                return Err(format!(
                    "{} = {text:?} is no UUID, and no stream of the events given",
                    column.name
                ));
            }
        }
    }
    Ok(row)
}

/// A value as the test knows it: a stream by its label.
fn shown(column: &Column, value: &str, given: &Given) -> String {
    let stream = if column.type_name == "uuid" { Uuid::try_parse(value).ok() } else { None };
    stream.and_then(|stream| given.label(stream)).unwrap_or(value).to_owned()
}

/// What failed and should not have, and the other way about.
fn unexpected(case: &Case, failed: &[Failure]) -> Vec<String> {
    let at = |failure: &Failure| failure.event.as_ref().map_or(0, |event| event.position.0);
    let mut wrong = Vec::new();
    for failure in failed {
        let wanted = case.errors.iter().find(|wanted| wanted.at as u64 == at(failure));
        match wanted {
            None => wrong.push(format!("{}: {}", case.file.display(), told(failure, &case.given))),
            Some(wanted) if !is_as(failure, wanted) => {
                let ExpectedError { line, sqlstate, message, .. } = wanted;
                let sqlstate =
                    sqlstate.as_ref().map(|code| format!(" (SQLSTATE {code})")).unwrap_or_default();
                let message = message.as_deref().unwrap_or("any error");
                let file = case.file.display();
                wrong.push(format!(
                    "{file}:{line}: expected {message:?}{sqlstate}, found: {}",
                    told(failure, &case.given)
                ));
            }
            Some(_) => {}
        }
    }
    for wanted in &case.errors {
        if !failed.iter().any(|failure| at(failure) == wanted.at as u64) {
            let (file, line, at) = (case.file.display(), wanted.line, wanted.at);
            wrong.push(format!("{file}:{line}: event {at} was to fail, and it did not"));
        }
    }
    wrong
}

/// A failure, with the stream as the test knows it.
fn told(failure: &Failure, given: &Given) -> String {
    let stream = failure.event.as_ref().map(|event| event.stream_id);
    match stream.and_then(|stream| Some((stream, given.label(stream)?))) {
        Some((stream, label)) => failure.to_string().replace(&stream.to_string(), &format!("{label:?}")),
        None => failure.to_string(),
    }
}

fn is_as(failure: &Failure, wanted: &ExpectedError) -> bool {
    wanted.sqlstate.as_ref().is_none_or(|code| failure.sqlstate.as_ref() == Some(code))
        && wanted.message.as_ref().is_none_or(|part| failure.message.contains(part))
}

/// What a replay with other batches came to that the first did not.
fn differing(first: &Seen, other: &Seen, how: &str, given: &Given) -> Option<String> {
    const BECAUSE: &str =
        "the rows depend on where a batch ends, or on more than the events, as now() and random() do";
    let one = BATCHES[0].1;
    if first.applied != other.applied {
        let said = |applied: &Applied| match applied.failures.last() {
            None => "nothing fails".to_owned(),
            Some(failure) => failure.to_string(),
        };
        return Some(format!("{one}: {}; {how}: {}", said(&first.applied), said(&other.applied)));
    }
    for (name, table) in &first.tables {
        let Some(now) = other.tables.get(name) else {
            return Some(format!("table {name} is not there {how}, and is {one}: {BECAUSE}"));
        };
        if table == now {
            continue;
        }
        let expected: Vec<Expected> =
            table.rows.iter().map(|row| row.iter().cloned().map(Some).collect()).collect();
        if let Some(differs) = difference(now, &expected, false, |column, value| shown(column, value, given))
        {
            return Some(format!(
                "table {name} has other rows {how} (found) than {one} (expected): {BECAUSE}\n{differs}"
            ));
        }
    }
    let more = other.tables.keys().find(|name| !first.tables.contains_key(*name))?;
    Some(format!("table {more} is there {how}, and is not {one}: {BECAUSE}"))
}
