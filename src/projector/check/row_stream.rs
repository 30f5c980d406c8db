//! Whether `row_stream` names a column that holds streams.

use sqlx::{Postgres, Transaction};

use super::Checked;
use crate::projection::{Definition, Problem};

/// Looks for the table and the column of `row_stream`.
pub(super) async fn look(
    tx: &mut Transaction<'_, Postgres>,
    projection: &Definition,
    schema: &str,
    checked: &mut Checked,
) -> Result<(), sqlx::Error> {
    let Some(row_stream) = &projection.row_stream else { return Ok(()) };
    let (table, column) = (&row_stream.table, &row_stream.column);
    let found: Option<(Option<String>, bool)> = sqlx::query_as(
        "select (select pg_catalog.format_type(a.atttypid, null) from pg_catalog.pg_attribute a
                  where a.attrelid = c.oid and a.attname = $3 and a.attnum > 0 and not a.attisdropped),
                exists (select from pg_catalog.pg_index i where i.indrelid = c.oid and i.indisprimary)
           from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
          where n.nspname = $1 and c.relname = $2 and c.relkind in ('r', 'p')",
    )
    .bind(schema)
    .bind(table)
    .bind(column)
    .fetch_optional(&mut **tx)
    .await?;
    let message = match found {
        None => format!("row_stream: schema.sql makes no table {table}"),
        Some((None, _)) => format!("row_stream: the table {table} has no column {column}"),
        Some((Some(of), _)) if of != "uuid" => {
            format!("row_stream: a stream is a uuid, and {table}.{column} is of type {of}")
        }
        Some((_, false)) => {
            format!("row_stream: the table {table} has no primary key, by which to ask for a row")
        }
        Some(_) => return Ok(()),
    };
    let file = projection.folder.join("projection.toml");
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let line = text.lines().position(|line| line.trim_start().starts_with("row_stream")).map(|at| at + 1);
    checked.problem(Problem { file, line, message });
    Ok(())
}
