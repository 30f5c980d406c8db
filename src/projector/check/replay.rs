//! What makes a rebuild give other rows than the live run did: the time it is, chance, sequences, and tables that
//! other hands change.

use std::collections::{HashMap, HashSet};

use sqlx::{Postgres, Transaction};

use super::Checked;
use crate::projection::{Definition, Mention, Problem, mentions};

/// Volatile, but nothing of it comes into rows.
const HARMLESS: [&str; 5] =
    ["set_config", "pg_notify", "pg_advisory_xact_lock", "pg_advisory_lock", "ts_rewrite"];
const SEQUENCES: [&str; 4] = ["nextval", "currval", "lastval", "setval"];
/// Schemas that are the same everywhere.
const SYSTEM: [&str; 3] = ["pg_catalog", "information_schema", "pg_temp"];

/// What there is in the database under the names that a projection mentions.
struct Known {
    /// By schema and name, whether it is volatile.
    functions: HashMap<(String, String), bool>,
    tables: HashSet<(String, String)>,
}

/// Warns of what is not the same twice.
pub(super) async fn look(
    tx: &mut Transaction<'_, Postgres>,
    projection: &Definition,
    schema: &str,
    checked: &mut Checked,
) -> Result<(), sqlx::Error> {
    let files = projection.handlers.iter().map(|handler| (handler.file.as_str(), handler.sql.as_str()));
    let files: Vec<(&str, Vec<Mention>)> = std::iter::once(("schema.sql", projection.schema_sql.as_str()))
        .chain(files)
        .map(|(file, sql)| (file, mentions(sql)))
        .collect();
    let known = known(tx, files.iter().flat_map(|(_, found)| found)).await?;
    for (file, found) in &files {
        for mention in found {
            if let Some(reason) = known.reason(mention, &projection.name, schema) {
                let message = format!("{}: {reason}", mention.shown());
                let file = projection.folder.join(file);
                checked.warn(Problem { file, line: Some(mention.line), message });
            }
        }
    }
    numbered_columns(tx, projection, schema, &files[0].1, checked).await
}

impl Known {
    fn reason(&self, it: &Mention, projection: &str, schema: &str) -> Option<&'static str> {
        let is_own = |name: &str| self.functions.contains_key(&(schema.to_owned(), name.to_owned()));
        let qualifier = it.qualifier.as_deref();
        if it.is_unsteady {
            return Some("another time in a rebuild; take event.recorded_at, or a value of the event");
        }
        if it.is_call && !(qualifier.is_none() && is_own(&it.name)) {
            let key = (qualifier.unwrap_or("pg_catalog").to_owned(), it.name.clone());
            let is_volatile = self.functions.get(&key).copied().unwrap_or(false);
            if is_volatile && qualifier != Some(projection) && !HARMLESS.contains(&it.name.as_str()) {
                return Some(match it.name.as_str() {
                    "clock_timestamp" | "timeofday" => {
                        "another time in a rebuild; take event.recorded_at, or a value of the event"
                    }
                    name if SEQUENCES.contains(&name) => {
                        "a sequence also counts what was rolled back; take event.position, or count rows"
                    }
                    _ => "volatile: another value in a rebuild; take it from the event",
                });
            }
        }
        let qualifier = qualifier.filter(|it| !SYSTEM.contains(it))?;
        // A table's or an alias's name may be a schema's as well.
        let there = |of: &str, name: &str| self.tables.contains(&(of.to_owned(), name.to_owned()));
        let means_schema = it.is_table || !there(schema, qualifier);
        if qualifier == projection {
            let is_there = there(schema, &it.name) && means_schema || it.is_call && is_own(&it.name);
            return is_there.then_some(
                "a rebuild is made in a schema of another name, and would reach into the live rows; leave the schema out",
            );
        }
        (!it.is_call && means_schema && there(qualifier, &it.name)).then_some(
            "of another schema, which may hold other rows in a rebuild; keep what you need in a table of your own",
        )
    }
}

async fn known(
    tx: &mut Transaction<'_, Postgres>,
    mentions: impl Iterator<Item = &Mention>,
) -> Result<Known, sqlx::Error> {
    let mut names: Vec<String> =
        mentions.flat_map(|it| it.qualifier.iter().chain([&it.name])).cloned().collect();
    names.sort();
    names.dedup();
    let functions: Vec<(String, String, bool)> = sqlx::query_as(
        "select n.nspname::text, p.proname::text, bool_or(p.provolatile = 'v')
           from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
          where p.proname = any($1::text[]::name[]) group by 1, 2",
    )
    .bind(&names)
    .fetch_all(&mut **tx)
    .await?;
    let tables: Vec<(String, String)> = sqlx::query_as(
        "select n.nspname::text, c.relname::text
           from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
          where c.relname = any($1::text[]::name[]) and c.relkind in ('r', 'p', 'v', 'm', 'f')",
    )
    .bind(&names)
    .fetch_all(&mut **tx)
    .await?;
    Ok(Known {
        functions: functions.into_iter().map(|(of, name, volatile)| ((of, name), volatile)).collect(),
        tables: tables.into_iter().collect(),
    })
}

/// Columns that a sequence fills, as `serial` and `generated … as identity` make them.
async fn numbered_columns(
    tx: &mut Transaction<'_, Postgres>,
    projection: &Definition,
    schema: &str,
    mentions: &[Mention],
    checked: &mut Checked,
) -> Result<(), sqlx::Error> {
    let columns: Vec<(String, String)> = sqlx::query_as(
        "select c.relname::text, a.attname::text
           from pg_catalog.pg_class c
           join pg_catalog.pg_namespace n on n.oid = c.relnamespace and n.nspname = $1
           join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0
          where a.attidentity <> '' or exists (
                select from pg_catalog.pg_depend d
                  join pg_catalog.pg_class s on s.oid = d.objid and s.relkind = 'S'
                 where d.classid = 'pg_catalog.pg_class'::regclass and d.refobjid = c.oid
                   and d.refobjsubid = a.attnum and d.deptype = 'a')
          order by c.relname, a.attnum",
    )
    .bind(schema)
    .fetch_all(&mut **tx)
    .await?;
    for (table, column) in columns {
        let mut from_table = mentions.iter().skip_while(|it| it.name != table);
        let line = from_table.find(|it| it.name == column).map(|it| it.line);
        let message = format!(
            "{table}.{column}: a sequence also counts what was rolled back; take event.position, or count rows"
        );
        checked.warn(Problem { file: projection.folder.join("schema.sql"), line, message });
    }
    Ok(())
}
