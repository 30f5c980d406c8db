//! A projection's SQL held against PostgreSQL, with nothing left of it.

use sqlx::postgres::{PgDatabaseError, PgErrorPosition};
use sqlx::{Connection, PgConnection};

use super::build::{Wrong, create, execute};
use crate::postgres::{Class, classify};
use crate::projection::{Definition, Problem, compile_alone};

/// Compiles a projection's SQL on the server, in a transaction that is rolled back.
///
/// # Errors
/// When PostgreSQL cannot be reached; what is wrong with the SQL is in the answer.
pub async fn check_sql(
    connection: &mut PgConnection,
    projection: &Definition,
) -> Result<Vec<Problem>, sqlx::Error> {
    let mut problems = Vec::new();
    for handler in &projection.handlers {
        let mut tx = connection.begin().await?;
        let (sql, start) = compile_alone(handler);
        if let Err(error) = execute(&mut tx, sql).await {
            problems.push(problem(&error, projection, &handler.file, &handler.sql, start)?);
        }
        tx.rollback().await?;
    }
    let mut tx = connection.begin().await?;
    let built = create(&mut tx, projection, &format!("{}@check", projection.name)).await;
    tx.rollback().await?;
    match built {
        Err(Wrong::Schema(error)) => {
            problems.push(problem(&error, projection, "schema.sql", &projection.schema_sql, 0)?);
        }
        // Unless a handler alone was found wrong, it is the handlers together.
        Err(Wrong::Handlers(error)) if problems.is_empty() => {
            problems.push(problem(&error, projection, "", "", 0)?);
        }
        Err(Wrong::Other(error)) => return Err(error),
        Err(Wrong::Handlers(_)) | Ok(()) => {}
    }
    Ok(problems)
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
    let hint = database.try_downcast_ref::<PgDatabaseError>().and_then(PgDatabaseError::hint);
    let hint = hint.map(|hint| format!("; hint: {hint}")).unwrap_or_default();
    let code = database.code().unwrap_or_default();
    Ok(Problem {
        file: projection.folder.join(file),
        line: line_of(error, text, start),
        message: format!("{} (SQLSTATE {code}){hint}", database.message()),
    })
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
