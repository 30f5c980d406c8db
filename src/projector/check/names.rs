//! The names in handlers. PL/pgSQL looks up none before it runs a statement; so each is explained, with the
//! variables that are in scope there, and PostgreSQL finds every table, column and function, and runs nothing.

use sqlx::postgres::{PgDatabaseError, PgErrorPosition};
use sqlx::{Acquire, Postgres, Transaction};

use super::super::build::{execute, handler_role};
use super::{Checked, problem, said};
use crate::postgres::{Class, classify, sqlstate};
use crate::projection::{
    Definition, EVENT, Handler, PROBE, Problem, Statement, mentions, over_nothing, statements,
};

/// What a handler that makes tables and functions of its own may be said to lack, before it has run.
const MISSING: [&str; 5] = ["42P01", "42703", "42883", "42704", "3F000"];
/// The longest that the first values of variables may take.
const PATIENCE: &str = "set local statement_timeout = '10s'";

/// Looks up the names in every handler.
pub(super) async fn look(
    tx: &mut Transaction<'_, Postgres>,
    projection: &Definition,
    checked: &mut Checked,
) -> Result<(), sqlx::Error> {
    let role = handler_role(tx, &projection.name).await?;
    let as_role = role.map(|role| format!("set local role {role};")).unwrap_or_default();
    let event = "position bigint, stream_id uuid, stream_type text, version bigint, type text, data jsonb, \
                 metadata jsonb, recorded_at timestamptz";
    execute(tx, format!("{as_role} create type {EVENT} as ({event}); {PATIENCE}")).await?;
    for handler in &projection.handlers {
        if handler.is_batch() {
            look_at_batch(tx, projection, handler, checked).await?;
            continue;
        }
        let found = statements(&handler.sql);
        checked.unseen += found.unseen;
        // Its own schema by name: there only once the read model is.
        let own = mentions(&handler.sql).iter().any(|it| it.qualifier.as_deref() == Some(&projection.name));
        for statement in &found.plain {
            if statement.rows_for_nobody {
                checked.problem(Problem {
                    file: projection.folder.join(&handler.file),
                    line: Some(statement.line),
                    message: "nobody takes the rows of this query, and PostgreSQL refuses to run it: \
                              perform …, or select … into a variable"
                        .into(),
                });
                continue;
            }
            let mut inner = tx.begin().await?;
            let explained = explain(&mut inner, handler, statement).await;
            inner.rollback().await?;
            if let Err(error) = explained {
                judge(&error, projection, handler, statement, found.makes_names || own, checked)?;
            }
        }
    }
    execute(tx, "set local role none; set local statement_timeout = 0".into()).await
}

/// The statement over a batch of no events, explained as it is.
async fn look_at_batch(
    tx: &mut Transaction<'_, Postgres>,
    projection: &Definition,
    handler: &Handler,
    checked: &mut Checked,
) -> Result<(), sqlx::Error> {
    let (text, more) = over_nothing(&handler.sql);
    let explain = "explain ";
    let mut inner = tx.begin().await?;
    let explained = execute(&mut inner, format!("{explain}{text}")).await;
    inner.rollback().await?;
    match explained {
        Ok(()) => {}
        Err(error)
            if sqlstate(&error).is_some_and(|code| code.starts_with("42") || code.starts_with("3F")) =>
        {
            checked.problem(problem(&error, projection, &handler.file, &handler.sql, explain.len() + more)?);
        }
        Err(error) if classify(&error) == Class::Away => return Err(error),
        Err(_) => checked.unseen += 1,
    }
    Ok(())
}

async fn explain(
    tx: &mut Transaction<'_, Postgres>,
    handler: &Handler,
    statement: &Statement,
) -> Result<(), sqlx::Error> {
    let body = statement.probe(&handler.sql);
    let mut tag = String::from("$projectord$");
    while body.contains(&tag) {
        tag.insert(1, '_');
    }
    let create =
        format!("create function pg_temp.{PROBE}() returns void language plpgsql as {tag}{body}{tag}");
    execute(tx, create).await?;
    execute(tx, format!("select pg_temp.{PROBE}()")).await
}

/// An error of the statement's own is a problem; one that comes of there being no event yet is none.
fn judge(
    error: &sqlx::Error,
    projection: &Definition,
    handler: &Handler,
    statement: &Statement,
    makes_names: bool,
    checked: &mut Checked,
) -> Result<(), sqlx::Error> {
    let postgres = error.as_database_error().and_then(|it| it.try_downcast_ref::<PgDatabaseError>());
    let Some(postgres) = postgres.filter(|_| classify(error) != Class::Away) else {
        return Err(sqlx::Error::Protocol(error.to_string()));
    };
    let code = postgres.code();
    let (mut lines_in, mut by_parser) = (0, false);
    if let Some(PgErrorPosition::Internal { position, query }) = postgres.position() {
        by_parser = query.starts_with("explain ");
        lines_in = query.chars().take(position.saturating_sub(1)).filter(|c| *c == '\n').count();
    }
    let is_its_own = by_parser || code.starts_with("42") || code.starts_with("3F");
    if !is_its_own || makes_names && MISSING.contains(&code) {
        checked.unseen += 1;
        return Ok(());
    }
    let first = postgres.r#where().and_then(line_in_context).unwrap_or(statement.line);
    let lines = handler.sql.lines().count().max(1);
    checked.problem(Problem {
        file: projection.folder.join(&handler.file),
        line: Some((first + lines_in).min(lines)),
        message: said(Some(postgres), postgres.message()),
    });
    Ok(())
}

/// The handler's line that the context names; the function has one more before it.
fn line_in_context(context: &str) -> Option<usize> {
    let (_, rest) = context.split_once(&format!("{PROBE}() line "))?;
    rest.split_whitespace().next()?.parse::<usize>().ok()?.checked_sub(1)
}
