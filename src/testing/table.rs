//! Rows as texts: of a read model's tables, of a query, and of what a test expects of them.

use std::collections::BTreeMap;

use serde_json::Value;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, Postgres, Transaction};

/// What a query's rows are kept in for a moment.
const FOUND: &str = "pg_temp.projectord_found";

/// A row: the text of each column, none for null.
pub(super) type Row = Vec<Option<String>>;

/// A column, and what is to be known of its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) type_name: String,
}

/// Rows with their columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) columns: Vec<Column>,
    /// The places of the columns that tell one row from another, where that is known.
    pub(super) key: Vec<usize>,
    pub(super) rows: Vec<Row>,
}

impl Table {
    /// All rows of all tables of a schema, by name; the rows in an order of their own.
    pub(super) async fn all(
        tx: &mut Transaction<'_, Postgres>,
        schema: &str,
    ) -> Result<BTreeMap<String, Self>, sqlx::Error> {
        let names: Vec<(String,)> = sqlx::query_as(
            "select c.relname::text from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
              where n.nspname = $1 and c.relkind in ('r', 'p', 'm') and not c.relispartition",
        )
        .bind(schema)
        .fetch_all(&mut **tx)
        .await?;
        let mut tables = BTreeMap::new();
        for (name,) in names {
            let place = format!("{}.{}", quoted(schema), quoted(&name));
            let mut table = Self::read(tx, &place, &place, "").await?;
            table.rows.sort();
            tables.insert(name, table);
        }
        Ok(tables)
    }

    /// The rows of a query, in its order; and what each expected row is, as a row of the same columns.
    ///
    /// # Errors
    /// When PostgreSQL refuses the query, or cannot take a value for its column. The caller rolls back.
    pub(super) async fn of_query(
        tx: &mut Transaction<'_, Postgres>,
        query: &str,
        key_of: Option<&str>,
    ) -> Result<Self, sqlx::Error> {
        let make = format!(
            "create temporary table projectord_found on commit drop as
             select row_number() over () as projectord_row, q.* from (\n{query}\n) q"
        );
        sqlx::query(AssertSqlSafe(make)).persistent(false).execute(&mut **tx).await?;
        let mut table = Self::read(tx, FOUND, key_of.unwrap_or(FOUND), "order by projectord_row").await?;
        // Its first column is the place.
        table.columns.remove(0);
        table.key.iter_mut().for_each(|place| *place = place.saturating_sub(1));
        table.rows.iter_mut().for_each(|row| drop(row.remove(0)));
        Ok(table)
    }

    /// Expected rows, given as JSON objects, as rows of the columns of the query before this.
    pub(super) async fn expected(
        &self,
        tx: &mut Transaction<'_, Postgres>,
        rows: &[Value],
    ) -> Result<Vec<Row>, sqlx::Error> {
        let cells: Vec<String> = self.columns.iter().map(|column| text_of("r", column)).collect();
        let sql = format!(
            "select array[{}]::text[]
               from jsonb_array_elements($1) with ordinality e (value, place),
                    jsonb_populate_record(null::{FOUND}, e.value) r
              order by e.place",
            cells.join(", ")
        );
        let rows: Vec<(Row,)> = sqlx::query_as(AssertSqlSafe(sql))
            .persistent(false)
            .bind(Json(rows))
            .fetch_all(&mut **tx)
            .await?;
        Ok(rows.into_iter().map(|(row,)| row).collect())
    }

    async fn read(
        tx: &mut Transaction<'_, Postgres>,
        place: &str,
        key_of: &str,
        order: &str,
    ) -> Result<Self, sqlx::Error> {
        let columns: Vec<(String, String)> = sqlx::query_as(
            "select attname::text, atttypid::regtype::text from pg_catalog.pg_attribute
              where attrelid = $1::regclass and attnum > 0 and not attisdropped order by attnum",
        )
        .bind(place)
        .fetch_all(&mut **tx)
        .await?;
        let columns: Vec<Column> =
            columns.into_iter().map(|(name, type_name)| Column { name, type_name }).collect();
        let keys: Vec<(String,)> = sqlx::query_as(
            "select a.attname::text from pg_catalog.pg_index i
               join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = any(i.indkey)
              where i.indrelid = $1::regclass and i.indisprimary
              order by array_position(i.indkey::int2[], a.attnum)",
        )
        .bind(key_of)
        .fetch_all(&mut **tx)
        .await?;
        let place_of = |name: &String| columns.iter().position(|column| &column.name == name);
        let key = keys.iter().filter_map(|(name,)| place_of(name)).collect();
        let cells: Vec<String> = columns.iter().map(|column| text_of("t", column)).collect();
        let sql = format!("select array[{}]::text[] from {place} t {order}", cells.join(", "));
        let rows: Vec<(Row,)> =
            sqlx::query_as(AssertSqlSafe(sql)).persistent(false).fetch_all(&mut **tx).await?;
        Ok(Self { columns, key, rows: rows.into_iter().map(|(row,)| row).collect() })
    }
}

/// The text of a column's value: the same for values that are equal.
fn text_of(row: &str, column: &Column) -> String {
    let value = format!("{row}.{}", quoted(&column.name));
    match column.type_name.as_str() {
        "numeric" => format!("trim_scale({value})::text"),
        "interval" => format!("justify_hours({value})::text"),
        _ => format!("{value}::text"),
    }
}

/// A name in SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
