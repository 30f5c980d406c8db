//! Builds of a read model: its schema, its tables, its handlers compiled into a function.

use sqlx::postgres::{PgDatabaseError, PgErrorPosition};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool, Postgres, Transaction};
use thiserror::Error;

use super::Failure;
use crate::fault;
use crate::lease::Lease;
use crate::postgres::{Class, classify};
use crate::projection::{Problem, Projection, compile, compile_alone};

/// What marks a schema as ours.
const MARK: &str = "projectord: read model";

/// One build of a read model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generation(pub i64);

/// Why a generation was not built. Nothing was changed.
#[derive(Debug, Error)]
pub enum GenerationError {
    /// The projection's SQL, or what depends on its tables, is in the way.
    #[error("{0}")]
    Refused(Failure),
    /// PostgreSQL could not be reached or refused.
    #[error(transparent)]
    Postgres(#[from] sqlx::Error),
}

/// Replaces generation `seen` of the read model by an empty one at checkpoint zero, in one transaction;
/// killed half-way, the old one stands as it was. Where somebody else has replaced it meanwhile, theirs
/// stands.
///
/// # Errors
/// When the SQL is wrong, the schema is somebody else's, or objects outside depend on the tables.
pub async fn rebuild_in_place(
    pool: &PgPool,
    projection: &Projection,
    lease: Lease,
    seen: i64,
) -> Result<Generation, GenerationError> {
    let name = projection.name.as_str();
    let mut tx = pool.begin().await?;
    let (last,): (i64,) =
        sqlx::query_as("select generation from projectord.projections where name = $1 for update")
            .bind(name)
            .fetch_one(&mut *tx)
            .await?;
    if last != seen || !is_owner(&mut tx, name, lease).await? {
        return Ok(Generation(last));
    }
    refuse_foreign_schema(&mut tx, name).await?;
    refuse_dependants(&mut tx, name).await?;
    fault::point("rebuild-drop");
    execute(&mut tx, format!("drop schema if exists {name} cascade")).await?;
    create(&mut tx, projection, name).await.map_err(|error| refused_by_sql(error, projection))?;
    execute(
        &mut tx,
        format!("comment on schema {name} is '{MARK} of the projection {name}; do not write here'"),
    )
    .await?;

    let generation = last + 1;
    sqlx::query("delete from projectord.generations where projection = $1")
        .bind(name)
        .execute(&mut *tx)
        .await?;
    sqlx::query(
        "insert into projectord.generations
                (projection, generation, fingerprint, handles, owner, epoch, seal, built_to)
         select $1, $2, $3, $4, $5, $6, projectord.seal($2, 0, 0, 0), position from projectord.log_head",
    )
    .bind(name)
    .bind(generation)
    .bind(projection.fingerprint())
    .bind(projection.handles())
    .bind(lease.owner)
    .bind(lease.epoch)
    .execute(&mut *tx)
    .await?;
    sqlx::query("update projectord.projections set generation = $2, rebuild_wanted = false where name = $1")
        .bind(name)
        .bind(generation)
        .execute(&mut *tx)
        .await?;
    fault::point("rebuild-commit");
    tx.commit().await?;
    fault::point("rebuild-committed");
    Ok(Generation(generation))
}

async fn is_owner(tx: &mut Transaction<'_, Postgres>, name: &str, lease: Lease) -> Result<bool, sqlx::Error> {
    let (ours,): (bool,) = sqlx::query_as(
        "select exists (select from projectord.leases where name = $1 and owner = $2 and epoch = $3)",
    )
    .bind(name)
    .bind(lease.owner)
    .bind(lease.epoch)
    .fetch_one(&mut **tx)
    .await?;
    Ok(ours)
}

/// Compiles a projection's SQL on the server, in a transaction that is rolled back.
///
/// # Errors
/// When PostgreSQL cannot be reached; what is wrong with the SQL is in the answer.
pub async fn check_sql(
    connection: &mut PgConnection,
    projection: &Projection,
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
    // Under its own name, since schema.sql may say it: grant usage on schema … to ….
    let mut tx = connection.begin().await?;
    let name = projection.name.as_str();
    let (there,): (bool,) =
        sqlx::query_as("select to_regnamespace($1) is not null").bind(name).fetch_one(&mut *tx).await?;
    if there {
        execute(&mut tx, format!("alter schema {name} rename to projectord_check")).await?;
    }
    let built = create(&mut tx, projection, name).await;
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

/// Which part of a projection PostgreSQL refused.
enum Wrong {
    Schema(sqlx::Error),
    Handlers(sqlx::Error),
    Other(sqlx::Error),
}

/// Makes schema, tables and function, with nothing else on the path.
async fn create(
    tx: &mut Transaction<'_, Postgres>,
    projection: &Projection,
    schema: &str,
) -> Result<(), Wrong> {
    let role = handler_role(tx, &projection.name).await.map_err(Wrong::Other)?;
    let belongs = role.as_ref().map(|role| format!(" authorization {role}")).unwrap_or_default();
    execute(tx, format!("create schema {schema}{belongs}")).await.map_err(Wrong::Other)?;
    if let Some(role) = &role {
        execute(tx, format!("set local role {role}")).await.map_err(Wrong::Other)?;
    }
    execute(tx, format!("set local search_path = {schema}, pg_temp")).await.map_err(Wrong::Other)?;
    execute(tx, projection.schema_sql.clone()).await.map_err(Wrong::Schema)?;
    // schema.sql may have set another path.
    execute(tx, format!("set local search_path = {schema}, pg_temp")).await.map_err(Wrong::Other)?;
    // Alone, a handler cannot leave the loop over the events.
    for handler in &projection.handlers {
        execute(tx, compile_alone(handler).0).await.map_err(Wrong::Handlers)?;
        execute(tx, "drop function pg_temp.projectord_check()".into()).await.map_err(Wrong::Other)?;
    }
    execute(tx, compile(projection).sql).await.map_err(Wrong::Handlers)?;
    if role.is_some() {
        let reader = format!(
            "grant usage on schema {schema} to projectord_reader;
             grant select on all tables in schema {schema} to projectord_reader;
             set local role none"
        );
        execute(tx, reader).await.map_err(Wrong::Other)?;
    }
    Ok(())
}

/// The role that the read model and its handlers belong to, where `deploy/roles.sql` was run.
async fn handler_role(tx: &mut Transaction<'_, Postgres>, name: &str) -> Result<Option<String>, sqlx::Error> {
    let (there,): (bool,) =
        sqlx::query_as("select to_regprocedure('projectord.handler_role(text)') is not null")
            .fetch_one(&mut **tx)
            .await?;
    if !there {
        return Ok(None);
    }
    let (role,): (String,) = sqlx::query_as("select quote_ident(projectord.handler_role($1))")
        .bind(name)
        .fetch_one(&mut **tx)
        .await?;
    Ok(Some(role))
}

/// Runs SQL that was put together from files and checked names.
async fn execute(tx: &mut Transaction<'_, Postgres>, sql: String) -> Result<(), sqlx::Error> {
    tx.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.map(drop)
}

fn refused_by_sql(wrong: Wrong, projection: &Projection) -> GenerationError {
    let (error, file) = match wrong {
        Wrong::Other(error) => return error.into(),
        Wrong::Schema(error) => (error, Some("schema.sql")),
        Wrong::Handlers(error) => (error, None),
    };
    if classify(&error) != Class::Statement {
        return error.into();
    }
    let mut failure = Failure::of(&error, &compile(projection));
    if let Some(file) = file {
        let line = line_of(&error, &projection.schema_sql, 0);
        failure.file = Some(line.map_or(file.into(), |line| format!("{file}:{line}")));
    }
    failure.hint = Some("`projectord check` shows the file and line; then reload or restart".into());
    GenerationError::Refused(failure)
}

/// An error of PostgreSQL's as a problem of a file. An error that is not about the SQL is passed on.
fn problem(
    error: &sqlx::Error,
    projection: &Projection,
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
fn line_of(error: &sqlx::Error, text: &str, start: usize) -> Option<usize> {
    let postgres = error.as_database_error()?.try_downcast_ref::<PgDatabaseError>()?;
    let Some(PgErrorPosition::Original(at)) = postgres.position() else {
        return None;
    };
    let before = at.checked_sub(1)?.checked_sub(start)?;
    let lines = text.lines().count().max(1);
    Some((text.chars().take(before).filter(|c| *c == '\n').count() + 1).min(lines))
}

async fn refuse_foreign_schema(
    tx: &mut Transaction<'_, Postgres>,
    name: &str,
) -> Result<(), GenerationError> {
    let comment: Option<(Option<String>,)> = sqlx::query_as(
        "select obj_description(oid, 'pg_namespace') from pg_catalog.pg_namespace where nspname = $1",
    )
    .bind(name)
    .fetch_optional(&mut **tx)
    .await?;
    match comment {
        Some((comment,)) if !comment.as_deref().unwrap_or("").starts_with(MARK) => {
            Err(GenerationError::Refused(Failure::saying(
                format!("the schema {name} exists and is not a read model of projectord's"),
                format!("rename the projection's folder, or the schema: alter schema {name} rename to …"),
            )))
        }
        _ => Ok(()),
    }
}

/// Dropping a table takes along what depends on it; what lies outside the read model is not ours to drop.
async fn refuse_dependants(tx: &mut Transaction<'_, Postgres>, name: &str) -> Result<(), GenerationError> {
    let dependants: Vec<(String,)> = sqlx::query_as(
        "with ours as (select oid from pg_catalog.pg_class where relnamespace = to_regnamespace($1))
         select distinct 'view ' || v.oid::regclass::text
           from pg_catalog.pg_depend d
           join pg_catalog.pg_rewrite r on r.oid = d.objid and d.classid = 'pg_catalog.pg_rewrite'::regclass
           join pg_catalog.pg_class v on v.oid = r.ev_class
          where d.refobjid in (select oid from ours) and v.relnamespace is distinct from to_regnamespace($1)
          union
         select distinct 'foreign key of ' || c.conrelid::regclass::text
           from pg_catalog.pg_constraint c
           join pg_catalog.pg_class t on t.oid = c.conrelid
          where c.contype = 'f' and c.confrelid in (select oid from ours)
            and t.relnamespace is distinct from to_regnamespace($1)
          order by 1",
    )
    .bind(name)
    .fetch_all(&mut **tx)
    .await?;
    if dependants.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = dependants.into_iter().map(|(dependant,)| dependant).collect();
    Err(GenerationError::Refused(Failure::saying(
        format!("objects outside depend on the read model: {}", list.join(", ")),
        "drop them, rebuild, and make them again",
    )))
}
