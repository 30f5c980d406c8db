//! A projection's SQL held against PostgreSQL, with nothing left of it.

mod names;
mod replay;
mod row_stream;
mod sample;
mod upcasters;

use sqlx::postgres::{PgDatabaseError, PgErrorPosition};
use sqlx::{Connection, PgConnection};

use super::build::{Wrong, create_over, execute};
use crate::postgres::{Class, classify, sqlstate};
use crate::projection::{Definition, Problem, compile, compile_alone, compile_over};

/// What a look at a projection's SQL has found.
#[derive(Debug, Default)]
pub struct Checked {
    /// What would fail.
    pub problems: Vec<Problem>,
    /// What would make the rows of a rebuild other rows.
    pub warnings: Vec<Problem>,
    /// How many statements only show what they do when they run.
    pub unseen: usize,
    /// How many events of the log were run through the handlers.
    pub sampled: usize,
}

impl Checked {
    fn problem(&mut self, problem: Problem) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    fn warn(&mut self, warning: Problem) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }
}

/// Compiles a projection's SQL on the server, in a transaction that is rolled back. Where its tables and functions
/// can be made, every name in its handlers is looked up, and the newest `sample` events of each type that it
/// handles are run through them, after what their streams had before.
///
/// # Errors
/// When PostgreSQL cannot be reached; what is wrong with the SQL is in the answer.
pub async fn check_sql(
    connection: &mut PgConnection,
    projection: &Definition,
    sample: Option<u32>,
) -> Result<Checked, sqlx::Error> {
    let mut checked = Checked::default();
    for handler in &projection.handlers {
        let mut tx = connection.begin().await?;
        let (sql, start) = compile_alone(handler);
        // Types of the read model's own are there later.
        let is_type = |error: &sqlx::Error| sqlstate(error).as_deref() == Some("42704");
        if let Err(error) = execute(&mut tx, sql).await
            && !is_type(&error)
        {
            checked.problem(problem(&error, projection, &handler.file, &handler.sql, start)?);
        }
        tx.rollback().await?;
    }
    let mut tx = connection.begin().await?;
    upcasters::look(&mut tx, projection, &mut checked).await?;
    let schema = format!("{}@check", projection.name);
    let compiled = match sample {
        Some(newest) => {
            sample::take(&mut tx, projection, newest).await?;
            compile_over(projection, sample::TABLE)
        }
        None => compile(projection),
    };
    match create_over(&mut tx, projection, &schema, compiled.clone()).await {
        Ok(()) => {
            row_stream::look(&mut tx, projection, &schema, &mut checked).await?;
            replay::look(&mut tx, projection, &schema, &mut checked).await?;
            names::look(&mut tx, projection, &mut checked).await?;
            if sample.is_some() && checked.problems.is_empty() {
                sample::run(&mut tx, projection, &schema, &compiled, &mut checked).await?;
            }
        }
        Err(Wrong::Schema(error)) => {
            checked.problem(problem(&error, projection, "schema.sql", &projection.schema_sql, 0)?);
        }
        Err(Wrong::Handler(error, file, line)) if checked.problems.is_empty() => {
            checked.problem(Problem { line, ..problem(&error, projection, &file, "", 0)? });
        }
        // Unless a handler alone was found wrong, it is the handlers together.
        Err(Wrong::Handlers(error)) if checked.problems.is_empty() => {
            checked.problem(problem(&error, projection, "", "", 0)?);
        }
        Err(Wrong::Handler(..) | Wrong::Handlers(_)) => {}
        Err(Wrong::Other(error)) => return Err(error),
    }
    tx.rollback().await?;
    Ok(checked)
}

/// An error of PostgreSQL's as a problem of a file. An error that is not about the SQL is passed on.
fn problem(
    error: &sqlx::Error,
    projection: &Definition,
    file: &str,
    text: &str,
    start: usize,
) -> Result<Problem, sqlx::Error> {
    let Some(database) = error.as_database_error().filter(|_| classify(error) == Class::Statement) else {
        return Err(sqlx::Error::Protocol(error.to_string()));
    };
    let message = said(database.try_downcast_ref::<PgDatabaseError>(), database.message());
    Ok(Problem { file: projection.folder.join(file), line: line_of(error, text, start), message })
}

/// An error's message, SQLSTATE and hint.
fn said(error: Option<&PgDatabaseError>, message: &str) -> String {
    let hint =
        error.and_then(PgDatabaseError::hint).map(|hint| format!("; hint: {hint}")).unwrap_or_default();
    let code = error.map(PgDatabaseError::code).unwrap_or_default();
    format!("{message} (SQLSTATE {code}){hint}")
}

/// The line of `text`, which begins at character `start` of what was sent, that an error points at.
pub(super) fn line_of(error: &sqlx::Error, text: &str, start: usize) -> Option<usize> {
    let postgres = error.as_database_error()?.try_downcast_ref::<PgDatabaseError>()?;
    let Some(PgErrorPosition::Original(at)) = postgres.position() else {
        return None;
    };
    let before = at.checked_sub(1)?.checked_sub(start)?;
    let lines = text.lines().count().max(1);
    Some((text.chars().take(before).filter(|c| *c == '\n').count() + 1).min(lines))
}
