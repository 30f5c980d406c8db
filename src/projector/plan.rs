//! What a rebuild will take, before it begins: what has changed, how many events, how long, how much disk, and
//! what depends on the read model. Nothing stays of how that is found out.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sqlx::types::Json;
use sqlx::{Connection, PgConnection};

use super::Failure;
use super::build::GenerationError;
use super::build::{create, quoted, refused_by_sql};
use crate::projection::{Definition, OnError};

/// How many events are applied at a time while the rate is measured, and for how long.
const PIECE: i64 = 5_000;
const MEASURE: Duration = Duration::from_secs(2);

/// What is known before a rebuild.
#[derive(Debug)]
pub struct Plan {
    /// The generation that readers see; 0 where there is none.
    pub live: i64,
    /// Files that have changed since it was made, and how: `changed`, `new` or `gone`.
    pub files: Vec<(String, &'static str)>,
    /// Tables and columns, as `orders.status text`: those that go, and those that come.
    pub columns: (Vec<String>, Vec<String>),
    /// Events in the log, and those of them that a handler runs on.
    pub events: (i64, i64),
    /// Events a second, as measured with the new handlers on the first events of the log.
    pub rate: f64,
    /// Bytes of the live tables with their indexes; and of the new ones, estimated.
    pub bytes: (i64, i64),
    /// What lies outside and depends on the live tables.
    pub outside: Vec<String>,
}

impl Plan {
    /// How long the replay will take at the rate that was measured, by one worker.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub fn time(&self) -> Duration {
        Duration::from_secs_f64(self.events.0 as f64 / self.rate.max(1.0))
    }
}

/// Looks at a projection's files, its live rows and the log.
///
/// # Errors
/// [`GenerationError::Refused`] where the files cannot be built.
pub async fn plan(connection: &mut PgConnection, projection: &Definition) -> Result<Plan, GenerationError> {
    let name = projection.name.as_str();
    let live: Option<(i64, Json<BTreeMap<String, String>>)> = sqlx::query_as(
        "select p.generation, coalesce(o.files, '{}') from projectord.projections p
           left join projectord.sources o on o.projection = p.name and o.generation = p.generation
          where p.name = $1",
    )
    .bind(name)
    .fetch_optional(&mut *connection)
    .await?;
    let (live, Json(before)) = live.unwrap_or_default();
    let files = if live == 0 { Vec::new() } else { changes(&before, &projection.files()) };
    let events: (i64, i64) = sqlx::query_as(
        "select h.position, (select count(*) from projectord.events where type like any($1))
           from projectord.log_head h",
    )
    .bind(projection.handles())
    .fetch_one(&mut *connection)
    .await?;
    let outside: Vec<(String,)> = sqlx::query_as("select * from projectord.dependants($1)")
        .bind(name)
        .fetch_all(&mut *connection)
        .await?;
    let scratch = format!("{name}@plan");
    let mut tx = connection.begin().await?;
    create(&mut tx, projection, &scratch).await.map_err(|wrong| refused_by_sql(wrong, projection))?;
    let (here, there) = (columns(&mut tx, name).await?, columns(&mut tx, &scratch).await?);
    let of_live = size(&mut tx, name).await?;
    let empty = size(&mut tx, &scratch).await?;
    let (applied, rate) =
        measure(&mut tx, projection, &scratch, events.0).await.map_err(|error| failed(&error))?;
    let grown = size(&mut tx, &scratch).await? - empty;
    tx.rollback().await?;
    let estimate = match applied {
        0 => of_live,
        applied => empty + grown.saturating_mul(events.0) / applied,
    };
    let only = |a: &[String], b: &[String]| a.iter().filter(|it| !b.contains(it)).cloned().collect();
    Ok(Plan {
        live,
        files,
        columns: (only(&here, &there), only(&there, &here)),
        events,
        rate,
        bytes: (of_live, if files_alone(&here, &there) && of_live > 0 { of_live } else { estimate }),
        outside: outside.into_iter().map(|(it,)| it).collect(),
    })
}

/// The tables are the same: then the live ones say best how large they become.
fn files_alone(here: &[String], there: &[String]) -> bool {
    here == there
}

fn changes(before: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> Vec<(String, &'static str)> {
    let mut all: Vec<&String> = before.keys().chain(now.keys()).collect();
    all.sort();
    all.dedup();
    all.into_iter()
        .filter_map(|file| match (before.get(file), now.get(file)) {
            (Some(was), Some(is)) if was == is => None,
            (Some(_), Some(_)) => Some((file.clone(), "changed")),
            (None, _) => Some((file.clone(), "new")),
            (_, None) => Some((file.clone(), "gone")),
        })
        .collect()
}

/// Every column of every table of a schema, with its type.
async fn columns(connection: &mut PgConnection, schema: &str) -> Result<Vec<String>, sqlx::Error> {
    let rows: Vec<(String,)> = sqlx::query_as(
        "select format('%s.%s %s%s', c.relname, a.attname, replace(format_type(a.atttypid, a.atttypmod), $1 || '.', ''),
                       case when a.attnotnull then ' not null' else '' end)
           from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
           join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
          where n.nspname = $1 and c.relkind in ('r', 'p', 'v', 'm') and not c.relispartition order by c.relname, a.attnum",
    )
    .bind(schema)
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|(column,)| column).collect())
}

async fn size(connection: &mut PgConnection, schema: &str) -> Result<i64, sqlx::Error> {
    let (bytes,): (i64,) = sqlx::query_as(
        "select coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint from pg_catalog.pg_class c
           join pg_catalog.pg_namespace n on n.oid = c.relnamespace
          where n.nspname = $1 and c.relkind in ('r', 'm')",
    )
    .bind(schema)
    .fetch_one(connection)
    .await?;
    Ok(bytes)
}

/// Applies the first events of the log, piece by piece, for a while: how many, and how many a second. Those that
/// somebody has left out are left out; where one would be parked, it ends before.
#[expect(clippy::cast_precision_loss, reason = "an estimate")]
async fn measure(
    connection: &mut PgConnection,
    projection: &Definition,
    schema: &str,
    head: i64,
) -> Result<(i64, f64), sqlx::Error> {
    let skipped: Vec<(i64,)> =
        sqlx::query_as("select position from projectord.skipped where projection = $1")
            .bind(&projection.name)
            .fetch_all(&mut *connection)
            .await?;
    let skipped: Vec<i64> = skipped.into_iter().map(|(position,)| position).collect();
    let path = format!("{}, pg_temp", quoted(schema));
    sqlx::query("select set_config('search_path', $1, true)").bind(path).execute(&mut *connection).await?;
    let apply = format!("select {}.projectord_apply($1, $2, null, $3, null, null)", quoted(schema));
    let (begun, mut at, mut at_once) = (Instant::now(), 0, PIECE);
    while at < head && begun.elapsed() < MEASURE {
        let to = (at + at_once).min(head);
        let mut piece = connection.begin().await?;
        let applied = sqlx::query(sqlx::AssertSqlSafe(apply.as_str()))
            .bind(at)
            .bind(to)
            .bind(&skipped)
            .execute(&mut *piece)
            .await;
        match applied {
            Ok(_) => piece.commit().await?,
            // One by one up to the event that would be parked.
            Err(_) if projection.on_error == OnError::Park => {
                piece.rollback().await?;
                if at_once == 1 {
                    break;
                }
                at_once = (at_once / 10).max(1);
                continue;
            }
            Err(error) => return Err(error),
        }
        at = to;
    }
    Ok((at, at as f64 / begun.elapsed().as_secs_f64().max(1e-6)))
}

/// A handler that fails while the rate is measured will fail when it is built.
fn failed(error: &sqlx::Error) -> GenerationError {
    let failure = Failure::of(error, &crate::projection::Compiled::default());
    GenerationError::Refused(failure)
}
