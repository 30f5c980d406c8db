//! Two generations of a read model held against each other, table by table and row by row, at the same position
//! of the log.

use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor, FromRow, PgConnection, PgPool};
use thiserror::Error;
use tokio::time::{Duration, sleep};

use crate::event::Position;
use crate::postgres::describe;

/// How often to try to meet both at one place; each moves on its own.
const TRIES: u32 = 500;
const AGAIN: Duration = Duration::from_millis(4);

/// What was found.
#[derive(Debug)]
pub struct Comparison {
    /// The position at which both were.
    pub position: Position,
    /// In order of name; those that only one of them has are in it.
    pub tables: Vec<TableDifference>,
}

/// One table in both.
#[derive(Debug)]
pub struct TableDifference {
    /// Its name.
    pub table: String,
    /// Rows in the live one, and in the next; none where there is no such table.
    pub rows: (Option<i64>, Option<i64>),
    /// The primary key's columns; none where a row is only told by all of it.
    pub key: Vec<String>,
    /// Columns that only the live one has, and only the next.
    pub columns: (Vec<String>, Vec<String>),
    /// How many rows differ.
    pub different: i64,
    /// The first of them.
    pub differing: Vec<RowDifference>,
}

/// A row as it is in each; none where it is not there.
#[derive(Debug, FromRow)]
pub struct RowDifference {
    /// As the live one has it.
    pub live: Option<Value>,
    /// As the next has it.
    pub next: Option<Value>,
}

/// Why two generations were not compared.
#[derive(Debug, Error)]
pub enum CompareError {
    /// They are never at one place of the log, or one of them is gone.
    #[error("{0}")]
    Apart(String),
    /// PostgreSQL refused or could not be reached.
    #[error("{}", describe(.0))]
    Postgres(#[from] sqlx::Error),
}

impl Comparison {
    /// Whether readers would see no difference.
    pub fn is_same(&self) -> bool {
        self.tables.iter().all(TableDifference::is_same)
    }
}

impl TableDifference {
    /// Whether it has the same columns and the same rows in both.
    pub fn is_same(&self) -> bool {
        self.different == 0 && self.columns.0.is_empty() && self.columns.1.is_empty() && {
            let (live, next) = self.rows;
            live.is_some() == next.is_some()
        }
    }
}

/// Holds the generation `next` against the live one; of each table, at most `most` rows that differ are told.
/// Live batches wait for some milliseconds, until both are seen at one place.
///
/// # Errors
/// [`CompareError::Apart`] where the two never meet.
pub async fn compare(
    pool: &PgPool,
    projection: &str,
    live: i64,
    next: i64,
    most: i64,
) -> Result<Comparison, CompareError> {
    let mut reader = pool.acquire().await?;
    let position = meet(pool, &mut reader, projection, live, next).await?;
    let compared = tables(&mut reader, projection, &format!("{projection}@{next}"), most).await;
    reader.execute("rollback").await?;
    Ok(Comparison { position, tables: compared? })
}

/// A snapshot in which both are at the same position. Their rows are locked for as long as it takes to begin it.
async fn meet(
    pool: &PgPool,
    reader: &mut PgConnection,
    projection: &str,
    live: i64,
    next: i64,
) -> Result<Position, CompareError> {
    for _ in 0..TRIES {
        let mut tx = pool.begin().await?;
        let rows: Vec<(i64, i64)> = sqlx::query_as(
            "select generation, checkpoint from projectord.generations
              where projection = $1 and generation = any($2) order by state = 'live' desc for update",
        )
        .bind(projection)
        .bind([live, next].as_slice())
        .fetch_all(&mut *tx)
        .await?;
        let at = |generation| rows.iter().find(|row| row.0 == generation).map(|row| row.1);
        let (Some(here), Some(there)) = (at(live), at(next)) else {
            let message = format!("generations {live} and {next} of {projection} are not there any more");
            return Err(CompareError::Apart(message));
        };
        if here == there {
            reader.execute("begin isolation level repeatable read read only").await?;
            // The first query takes the snapshot.
            reader.execute("select from projectord.log_head").await?;
            return Ok(Position::from_sql(here));
        }
        tx.rollback().await?;
        sleep(AGAIN).await;
    }
    Err(CompareError::Apart(format!(
        "generations {live} and {next} of {projection} are never at the same place; is one of them halted?"
    )))
}

/// A table as the catalogue has it.
#[derive(Debug, FromRow)]
struct Table {
    name: String,
    live: Option<Vec<String>>,
    next: Option<Vec<String>>,
    key: Vec<String>,
}

async fn tables(
    reader: &mut PgConnection,
    live: &str,
    next: &str,
    most: i64,
) -> Result<Vec<TableDifference>, sqlx::Error> {
    let all: Vec<Table> = sqlx::query_as(
        "with tables as (
             select c.oid, c.relname, n.nspname,
                    (select array_agg(a.attname::text order by a.attnum) from pg_catalog.pg_attribute a
                      where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as columns
               from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
              where n.nspname in ($1, $2) and c.relkind in ('r', 'p') and not c.relispartition
         )
         select coalesce(l.relname, n.relname)::text as name, l.columns as live, n.columns as next,
                coalesce((select array_agg(a.attname::text order by k.nth)
                            from pg_catalog.pg_index i
                           cross join unnest(i.indkey::int2[]) with ordinality k (attnum, nth)
                            join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
                           where i.indrelid = l.oid and i.indisprimary), '{}') as key
           from (select * from tables where nspname = $1) l
           full join (select * from tables where nspname = $2) n on n.relname = l.relname
          order by 1",
    )
    .bind(live)
    .bind(next)
    .fetch_all(&mut *reader)
    .await?;
    let mut found = Vec::new();
    for table in all {
        found.push(rows(reader, live, next, table, most).await?);
    }
    Ok(found)
}

async fn rows(
    reader: &mut PgConnection,
    live: &str,
    next: &str,
    table: Table,
    most: i64,
) -> Result<TableDifference, sqlx::Error> {
    let Table { name, live: here, next: there, key } = table;
    let (mine, theirs) = (here.as_deref().unwrap_or_default(), there.as_deref().unwrap_or_default());
    let only =
        |a: &[String], b: &[String]| a.iter().filter(|it| !b.contains(it)).cloned().collect::<Vec<String>>();
    let common: Vec<&String> = mine.iter().filter(|it| theirs.contains(it)).collect();
    let columns = match (&here, &there) {
        (Some(_), Some(_)) => (only(mine, theirs), only(theirs, mine)),
        _ => Default::default(),
    };
    let (mine, theirs) =
        (format!("{}.{}", ident(live), ident(&name)), format!("{}.{}", ident(next), ident(&name)));
    let mut rows = (None, None);
    let mut digests = Vec::new();
    for (table, is_there, rows) in
        [(&mine, here.is_some(), &mut rows.0), (&theirs, there.is_some(), &mut rows.1)]
    {
        if is_there {
            // Whatever type a column has, its text tells; and texts have a digest.
            let values: Vec<String> =
                common.iter().map(|column| format!("t.{}::text", ident(column))).collect();
            let sql = format!(
                "select count(*), coalesce(sum(hash_record_extended(row({}), 0)::numeric), 0)::text from {table} t",
                values.join(", ")
            );
            let (count, digest): (i64, String) =
                sqlx::query_as(AssertSqlSafe(sql)).fetch_one(&mut *reader).await?;
            *rows = Some(count);
            digests.push((count, digest));
        }
    }
    let mut difference =
        TableDifference { table: name, rows, key, columns, different: 0, differing: Vec::new() };
    if digests.len() == 2 && digests[0] != digests[1] {
        let sql = differing(&mine, &theirs, &common, &difference.key);
        let found: Vec<(Option<Value>, Option<Value>, i64)> =
            sqlx::query_as(AssertSqlSafe(sql)).bind(most).fetch_all(&mut *reader).await?;
        difference.different = found.first().map_or(0, |row| row.2);
        difference.differing =
            found.into_iter().map(|(live, next, _)| RowDifference { live, next }).collect();
    }
    Ok(difference)
}

/// The rows that differ: paired by the primary key where there is one, or each for itself.
fn differing(live: &str, next: &str, common: &[&String], key: &[String]) -> String {
    let list =
        |of: &str| common.iter().map(|it| format!("{of}.{}", ident(it))).collect::<Vec<_>>().join(", ");
    let object = |of: &str| format!("(select to_jsonb(it) from (select {}) it)", list(of));
    if key.is_empty() || !key.iter().all(|column| common.contains(&column)) {
        let (mine, theirs) = (object("l"), object("n"));
        return format!(
            "with live as (select {mine} as row from {live} l), next as (select {theirs} as row from {next} n)
             select live, next, count(*) over () from (
                 (select row as live, null::jsonb as next from (select row from live except all select row from next) a)
                 union all
                 (select null, row from (select row from next except all select row from live) b)) d
              order by coalesce(live, next)::text limit $1"
        );
    }
    let on: Vec<String> = key.iter().map(|it| format!("l.{0} = n.{0}", ident(it))).collect();
    let order: Vec<String> = key.iter().map(|it| format!("coalesce(l.{0}, n.{0})", ident(it))).collect();
    let texts =
        |of: &str| common.iter().map(|it| format!("{of}.{}::text", ident(it))).collect::<Vec<_>>().join(", ");
    let absent = |of: &str| format!("{of}.{} is null", ident(&key[0]));
    format!(
        "select case when {no_l} then null else {l} end, case when {no_n} then null else {n} end, count(*) over ()
           from {live} l full join {next} n on {on}
          where {no_l} or {no_n} or row({lt}) is distinct from row({nt})
          order by {order} limit $1",
        no_l = absent("l"),
        no_n = absent("n"),
        l = object("l"),
        n = object("n"),
        on = on.join(" and "),
        lt = texts("l"),
        nt = texts("n"),
        order = order.join(", "),
    )
}

/// A name in SQL.
fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
