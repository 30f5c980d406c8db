//! Builds of a read model: its schema, its tables, its handlers compiled into a function. In the place of the
//! live one, or beside it.

use sqlx::types::Json;
use sqlx::{AssertSqlSafe, Executor, PgPool, Postgres, Transaction};
use thiserror::Error;

use super::Failure;
use super::check::line_of;
use crate::fault;
use crate::lease::Lease;
use crate::postgres::{Class, classify};
use crate::projection::{Compiled, Definition, Partition, compile, compile_alone};

/// What marks a schema as ours.
const MARK: &str = "projectord: read model";
/// A log that is shorter is built by one worker: sharing it out costs more than it gains.
const WORTH_SHARING: i64 = 10_000;

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

/// How a generation is to be built beside the live one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beside {
    /// It stays there when it has caught up, until somebody has looked.
    pub held: bool,
    /// Objects outside that depend on the live tables may be left behind.
    pub forced: bool,
    /// How many workers may share it.
    pub workers: u32,
}

/// Replaces generation `seen` of the read model by an empty one at checkpoint zero, in one transaction;
/// killed half-way, the old one stands as it was. Where somebody else has replaced it meanwhile, theirs
/// stands. Generations beside the live one are dropped.
///
/// # Errors
/// When the SQL is wrong, the schema is somebody else's, or objects outside depend on the tables.
pub async fn rebuild_in_place(
    pool: &PgPool,
    projection: &Definition,
    lease: Lease,
    seen: i64,
    forced: bool,
) -> Result<Generation, GenerationError> {
    let name = projection.name.as_str();
    let mut tx = pool.begin().await?;
    if let Some(other) = taken(&mut tx, name, lease, seen).await? {
        return Ok(other);
    }
    refuse_foreign_schema(&mut tx, name).await?;
    if !forced {
        refuse_dependants(&mut tx, name).await?;
    }
    fault::point("rebuild-drop");
    let next = next_generation(&mut tx, name).await?;
    drop_beside(&mut tx, name, "state <> 'live'").await?;
    // The old one stands aside until what was granted on it is granted on the new one.
    let old = format!("{name}@{}", next - 1);
    execute(&mut tx, format!("drop schema if exists {} cascade", quoted(&old))).await?;
    let (there,): (bool,) = sqlx::query_as("select to_regnamespace(quote_ident($1)) is not null")
        .bind(name)
        .fetch_one(&mut *tx)
        .await?;
    if there {
        execute(&mut tx, format!("alter schema {} rename to {}", quoted(name), quoted(&old))).await?;
    }
    create(&mut tx, projection, name).await.map_err(|error| refused_by_sql(error, projection))?;
    if there {
        sqlx::query("select projectord.carry_over($1, $2)").bind(&old).bind(name).execute(&mut *tx).await?;
        execute(&mut tx, format!("drop schema {} cascade", quoted(&old))).await?;
    }
    sqlx::query("delete from projectord.generations where projection = $1")
        .bind(name)
        .execute(&mut *tx)
        .await?;
    insert(&mut tx, projection, lease, next, "live", None).await?;
    sqlx::query(
        "update projectord.projections
            set generation = $2, error = null,
                rebuild_wanted = null, rebuild_forced = false, rebuild_error = null, declined = null
          where name = $1",
    )
    .bind(name)
    .bind(next)
    .execute(&mut *tx)
    .await?;
    fault::point("rebuild-commit");
    tx.commit().await?;
    fault::point("rebuild-committed");
    Ok(Generation(next))
}

/// Begins a generation beside the live one, which is `seen`, empty at checkpoint zero. One that was being built
/// is dropped. Where somebody else has replaced the live one meanwhile, nothing is done.
///
/// # Errors
/// When the SQL is wrong.
pub async fn build_beside(
    pool: &PgPool,
    projection: &Definition,
    lease: Lease,
    seen: i64,
    how: Beside,
) -> Result<Generation, GenerationError> {
    let name = projection.name.as_str();
    let mut tx = pool.begin().await?;
    if let Some(other) = taken(&mut tx, name, lease, seen).await? {
        return Ok(other);
    }
    // Where its commit is lost, so is that it was asked for no more; and the live rows wait for this to end.
    execute(&mut tx, "set local synchronous_commit = off".into()).await?;
    let next = next_generation(&mut tx, name).await?;
    drop_beside(&mut tx, name, "state = 'building'").await?;
    let schema = format!("{name}@{next}");
    execute(&mut tx, format!("drop schema if exists {} cascade", quoted(&schema))).await?;
    create(&mut tx, projection, &schema).await.map_err(|error| refused_by_sql(error, projection))?;
    insert(&mut tx, projection, lease, next, "building", Some(how)).await?;
    if projection.partition == Some(Partition::Stream) && how.workers > 1 {
        sqlx::query(
            "insert into projectord.shares (projection, generation, share)
             select $1, $2, share from generate_series(0, $3 - 1) share, projectord.log_head h where h.position >= $4",
        )
        .bind(name)
        .bind(next)
        .bind(i32::try_from(how.workers).unwrap_or(i32::MAX))
        .bind(WORTH_SHARING)
        .execute(&mut *tx)
        .await?;
    }
    sqlx::query(
        "update projectord.projections
            set rebuild_wanted = null, rebuild_forced = false, rebuild_error = null, declined = null
          where name = $1",
    )
    .bind(name)
    .execute(&mut *tx)
    .await?;
    // Whoever follows the log meanwhile hears of it.
    execute(&mut tx, "select pg_notify('projectord_control', '')".into()).await?;
    fault::point("build-commit");
    tx.commit().await?;
    fault::point("build-committed");
    Ok(Generation(next))
}

/// The generation that readers see, where that is not `seen`, or the projection is not this owner's. Locks the
/// projection's row.
async fn taken(
    tx: &mut Transaction<'_, Postgres>,
    name: &str,
    lease: Lease,
    seen: i64,
) -> Result<Option<Generation>, sqlx::Error> {
    let (live, is_owner): (i64, bool) = sqlx::query_as(
        "select generation, exists (select from projectord.leases l where l.name = $1 and l.owner = $2 and l.epoch = $3)
           from projectord.projections where name = $1 for update",
    )
    .bind(name)
    .bind(lease.owner)
    .bind(lease.epoch)
    .fetch_one(&mut **tx)
    .await?;
    Ok((live != seen || !is_owner).then_some(Generation(live)))
}

async fn next_generation(tx: &mut Transaction<'_, Postgres>, name: &str) -> Result<i64, sqlx::Error> {
    let (next,): (i64,) = sqlx::query_as(
        "select 1 + greatest(p.generation, (select max(g.generation) from projectord.generations g where g.projection = $1))
           from projectord.projections p where p.name = $1",
    )
    .bind(name)
    .fetch_one(&mut **tx)
    .await?;
    Ok(next)
}

/// Drops generations that readers do not see.
async fn drop_beside(
    tx: &mut Transaction<'_, Postgres>,
    name: &str,
    which: &'static str,
) -> Result<(), sqlx::Error> {
    let sql = format!(
        "select projectord.drop_generation(projection, generation) from projectord.generations
          where projection = $1 and {which}"
    );
    sqlx::query(AssertSqlSafe(sql)).bind(name).execute(&mut **tx).await.map(drop)
}

async fn insert(
    tx: &mut Transaction<'_, Postgres>,
    projection: &Definition,
    lease: Lease,
    generation: i64,
    state: &str,
    beside: Option<Beside>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "with build as (
             insert into projectord.generations
                    (projection, generation, state, schema_name, fingerprint, owner, epoch, held, forced, seal, built_to)
             select $1, $2, $3, case $3 when 'live' then $1 else $1 || '@' || $2 end, $4, $7, $8, $9, $10,
                    projectord.seal($2, 0, 0, 0), position from projectord.log_head
             returning projection, generation)
         insert into projectord.sources (projection, generation, files, handles)
         select projection, generation, $5, $6 from build",
    )
    .bind(&projection.name)
    .bind(generation)
    .bind(state)
    .bind(projection.fingerprint())
    .bind(Json(projection.files()))
    .bind(projection.handles())
    .bind(lease.owner)
    .bind(lease.epoch)
    .bind(beside.is_some_and(|how| how.held))
    .bind(beside.is_some_and(|how| how.forced))
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// Which part of a projection PostgreSQL refused.
pub(crate) enum Wrong {
    Schema(sqlx::Error),
    /// One handler, by file and line.
    Handler(sqlx::Error, String, Option<usize>),
    /// All of them together.
    Handlers(sqlx::Error),
    Other(sqlx::Error),
}

/// Makes schema, tables and function, with nothing else on the path.
pub(super) async fn create(
    tx: &mut Transaction<'_, Postgres>,
    projection: &Definition,
    schema: &str,
) -> Result<(), Wrong> {
    create_over(tx, projection, schema, compile(projection)).await
}

/// The same, with a function that was compiled otherwise.
pub(crate) async fn create_over(
    tx: &mut Transaction<'_, Postgres>,
    projection: &Definition,
    schema: &str,
    compiled: Compiled,
) -> Result<(), Wrong> {
    let schema = quoted(schema);
    let role = handler_role(tx, &projection.name).await.map_err(Wrong::Other)?;
    let belongs = role.as_ref().map(|role| format!(" authorization {role}")).unwrap_or_default();
    let name = &projection.name;
    let begin = format!(
        "create schema {schema}{belongs};
         comment on schema {schema} is '{MARK} of the projection {name}; do not write here'"
    );
    execute(tx, begin).await.map_err(Wrong::Other)?;
    if let Some(role) = &role {
        execute(tx, format!("set local role {role}")).await.map_err(Wrong::Other)?;
    }
    execute(tx, format!("set local search_path = {schema}, pg_temp")).await.map_err(Wrong::Other)?;
    execute(tx, projection.schema_sql.clone()).await.map_err(Wrong::Schema)?;
    // schema.sql may have set another path.
    execute(tx, format!("set local search_path = {schema}, pg_temp")).await.map_err(Wrong::Other)?;
    // Alone, a handler cannot leave the loop over the events. Those in Rust are none of the database's business.
    for handler in projection.handlers.iter().filter(|_| projection.code.is_none()) {
        let (sql, start) = compile_alone(handler);
        execute(tx, sql).await.map_err(|error| {
            let line = line_of(&error, &handler.sql, start);
            Wrong::Handler(error, handler.file.clone(), line)
        })?;
        execute(tx, "drop function pg_temp.projectord_check()".into()).await.map_err(Wrong::Other)?;
    }
    if !compiled.sql.is_empty() {
        execute(tx, compiled.sql).await.map_err(Wrong::Handlers)?;
    }
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
pub(super) async fn handler_role(
    tx: &mut Transaction<'_, Postgres>,
    name: &str,
) -> Result<Option<String>, sqlx::Error> {
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

/// A schema's name in SQL: of a-z, 0-9, _ and @, so that quotes are enough.
pub(super) fn quoted(schema: &str) -> String {
    format!("\"{schema}\"")
}

/// Runs SQL that was put together from files and checked names.
pub(crate) async fn execute(tx: &mut Transaction<'_, Postgres>, sql: String) -> Result<(), sqlx::Error> {
    tx.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.map(drop)
}

pub(super) fn refused_by_sql(wrong: Wrong, projection: &Definition) -> GenerationError {
    let (error, place) = match wrong {
        Wrong::Other(error) => return error.into(),
        Wrong::Schema(error) => {
            let line = line_of(&error, &projection.schema_sql, 0);
            (error, Some(("schema.sql".to_owned(), line)))
        }
        Wrong::Handler(error, file, line) => (error, Some((file, line))),
        Wrong::Handlers(error) => (error, None),
    };
    if classify(&error) != Class::Statement {
        return error.into();
    }
    let mut failure = Failure::of(&error, &compile(projection));
    if let Some((file, line)) = place {
        failure.file = Some(line.map_or(file.clone(), |line| format!("{file}:{line}")));
    }
    failure.hint = Some("`projectord check` shows the file and line; then reload or restart".into());
    GenerationError::Refused(failure)
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
    let dependants: Vec<(String,)> =
        sqlx::query_as("select * from projectord.dependants($1)").bind(name).fetch_all(&mut **tx).await?;
    if dependants.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = dependants.into_iter().map(|(dependant,)| dependant).collect();
    Err(GenerationError::Refused(Failure::saying(
        format!("objects outside depend on the read model: {}", list.join(", ")),
        "drop them, rebuild, and make them again; or rebuild with --force, which drops them",
    )))
}
