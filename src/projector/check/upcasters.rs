//! Upcasters held against PostgreSQL: names, types, and that nothing volatile is in them.

use sqlx::{Acquire, Postgres, Transaction};

use super::super::build::execute;
use super::{Checked, line_of, said};
use crate::postgres::{Class, classify};
use crate::projection::{Definition, Problem, Upcaster, mentions, upcast};

/// An event of which nothing is known.
const NOTHING: &str =
    "null::jsonb as data, null::jsonb as metadata, null::text as type, null::bigint as version";

/// Looks at the upcasters that a projection reads through. They are of no projection, and see no table or function
/// of one.
pub(super) async fn look(
    tx: &mut Transaction<'_, Postgres>,
    projection: &Definition,
    checked: &mut Checked,
) -> Result<(), sqlx::Error> {
    let folder = projection.folder.parent().unwrap_or(&projection.folder).to_owned();
    for expression in projection.upcasters.iter().flat_map(Upcaster::expressions) {
        let file = folder.join(&expression.file);
        let sql = format!("explain {}", upcast(expression, NOTHING));
        let start = sql.find(&expression.sql).map_or(0, |at| sql[..at].chars().count());
        let mut inner = tx.begin().await?;
        execute(&mut inner, "set local search_path = pg_temp".into()).await?;
        let explained = execute(&mut inner, sql).await;
        inner.rollback().await?;
        if let Err(error) = explained {
            let line = line_of(&error, &expression.sql, start);
            let Some(database) = error.as_database_error().filter(|_| classify(&error) != Class::Away) else {
                return Err(error);
            };
            // Without a line it may have come of there being no event.
            if line.is_some() || database.code().is_some_and(|code| code.starts_with("42")) {
                let message = said(database.try_downcast_ref(), database.message());
                let line = line.or(Some(expression.line));
                checked.problem(Problem { file: file.clone(), line, message });
            }
        }
        for mention in mentions(&expression.sql).iter().filter(|it| it.is_call) {
            let (volatile,): (bool,) = sqlx::query_as(
                "select coalesce(bool_or(p.provolatile = 'v'), false)
                   from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
                  where n.nspname = $1 and p.proname = $2",
            )
            .bind(mention.qualifier.as_deref().unwrap_or("pg_catalog"))
            .bind(&mention.name)
            .fetch_one(&mut **tx)
            .await?;
            if volatile {
                let shown = mention.shown();
                let message = format!(
                    "{shown} is volatile, and has no place in an upcaster: the same event must always become the same"
                );
                checked.problem(Problem { file: file.clone(), line: Some(mention.line), message });
            }
        }
    }
    Ok(())
}
