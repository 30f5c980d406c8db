//! The rows of read models that are of one stream, as far as their tables say so.

use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, FromRow};
use uuid::Uuid;

use super::{Control, ControlError};
use crate::postgres::sqlstate;

/// The most rows of a table.
const MOST: i64 = 20;
/// A table up to this size is searched also where no index helps.
const SMALL: i64 = 32 << 20;

/// A row of a read model.
#[derive(Debug, Serialize)]
pub struct StreamRow {
    /// The projection.
    pub projection: String,
    /// Its table.
    pub table: String,
    /// All of its columns, as `to_jsonb` writes them: 12.50 stays 12.50.
    pub row: Json<Box<RawValue>>,
}

/// What was found.
#[derive(Debug, Serialize)]
pub struct StreamRows {
    /// In order of projection and table.
    pub rows: Vec<StreamRow>,
    /// Columns that were not searched, as `orders.items.order_id`: the table is large, and they have no index.
    pub not_searched: Vec<String>,
}

/// A table with columns that can hold a stream's identifier.
#[derive(Debug, FromRow)]
struct Table {
    projection: String,
    name: String,
    /// As it is written in SQL.
    place: String,
    conditions: Vec<String>,
    left_out: Vec<String>,
}

impl Control {
    /// Rows of live read models that have a column of type `uuid` that is equal to `stream`; twenty of a table at most.
    ///
    /// # Errors
    /// See [`daemons`](Self::daemons).
    pub async fn rows_of(&self, stream: Uuid) -> Result<StreamRows, ControlError> {
        let tables: Vec<Table> = sqlx::query_as(
            "select g.projection, c.relname::text as name, format('%I.%I', n.nspname, c.relname) as place,
                    coalesce(array_agg(format('%I = $1', a.attname) order by a.attnum) filter (where s.is_quick), '{}')
                        as conditions,
                    coalesce(array_agg(format('%s.%s.%s', n.nspname, c.relname, a.attname) order by a.attnum)
                             filter (where not s.is_quick), '{}') as left_out
               from projectord.generations g
               join pg_catalog.pg_namespace n on n.nspname = g.schema_name
               join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relkind in ('r', 'p') and not c.relispartition
               join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
                and a.atttypid = 'uuid'::regtype
              cross join lateral (
                    select pg_table_size(c.oid) <= $1
                        or exists (select from pg_catalog.pg_index i
                                    where i.indrelid = c.oid and i.indisvalid and i.indpred is null
                                      and i.indkey[0] = a.attnum) as is_quick) s
              where g.state = 'live'
              group by g.projection, n.nspname, c.relname
              order by g.projection, c.relname",
        )
        .bind(SMALL)
        .fetch_all(&self.pool)
        .await?;
        let mut found = StreamRows { rows: Vec::new(), not_searched: Vec::new() };
        for Table { projection, name, place, conditions, left_out } in tables {
            found.not_searched.extend(left_out);
            if conditions.is_empty() {
                continue;
            }
            let conditions = conditions.join(" or ");
            let sql = format!("select to_jsonb(it) from {place} it where {conditions} limit $2");
            let rows: Result<Vec<(Json<Box<RawValue>>,)>, sqlx::Error> =
                sqlx::query_as(AssertSqlSafe(sql)).bind(stream).bind(MOST).fetch_all(&self.pool).await;
            match rows {
                Ok(rows) => found.rows.extend(rows.into_iter().map(|(row,)| StreamRow {
                    projection: projection.clone(),
                    table: name.clone(),
                    row,
                })),
                // Another generation has just taken its place, or it is not ours to read.
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(found)
    }
}

fn is_gone(error: &sqlx::Error) -> bool {
    matches!(sqlstate(error).as_deref(), Some("42P01" | "3F000" | "42703" | "42501"))
}
