//! Upcasters tried on the cases that stand beside them.

use std::path::{Path, PathBuf};

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Postgres, Transaction};

use super::build::execute;
use crate::postgres::{Class, classify, describe};
use crate::projection::{Case, Expression, Problem, load_upcasters, upcast, upcaster_cases};

/// A case of `_upcasters/tests`, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpcasterTest {
    /// The case's file.
    pub file: PathBuf,
    /// The line that it begins on.
    pub line: usize,
    /// The type of its event.
    pub event_type: String,
    /// Why it did not pass, where it did not.
    pub failure: Option<String>,
}

/// Runs the cases in `_upcasters/tests` beside the projections in `path`, in order of file and line; and what is
/// wrong with the files. It writes nothing.
///
/// # Errors
/// When PostgreSQL cannot be reached.
pub async fn test_upcasters(
    connection: &mut PgConnection,
    path: &Path,
) -> Result<(Vec<UpcasterTest>, Vec<Problem>), sqlx::Error> {
    let (cases, problems) = upcaster_cases(path);
    let upcasters = load_upcasters(path);
    let mut tests = Vec::new();
    let mut tx = connection.begin().await?;
    execute(&mut tx, "set local search_path = pg_temp; set local statement_timeout = '10s'".into()).await?;
    for case in cases {
        let failure = match upcasters.iter().find(|it| it.event_type == case.event_type) {
            None => Some(format!("there is no upcaster of {:?}, or it is wrong", case.event_type)),
            Some(upcaster) => {
                let data = ("data", &upcaster.data, &case.data, &case.expect_data);
                let metadata = ("metadata", &upcaster.metadata, &case.metadata, &case.expect_metadata);
                let mut failure = None;
                for (field, expression, old, expected) in [data, metadata] {
                    if failure.is_none() {
                        failure =
                            difference(&mut tx, &case, field, expression.as_ref(), old, expected.as_ref())
                                .await?;
                    }
                }
                failure
            }
        };
        let Case { file, line, event_type, .. } = case;
        tests.push(UpcasterTest { file, line, event_type, failure });
    }
    tx.rollback().await?;
    Ok((tests, problems))
}

/// What a field became that it should not have become.
async fn difference(
    tx: &mut Transaction<'_, Postgres>,
    case: &Case,
    field: &str,
    expression: Option<&Expression>,
    old: &Value,
    expected: Option<&Value>,
) -> Result<Option<String>, sqlx::Error> {
    const EVENT: &str = "$1::jsonb as data, $2::jsonb as metadata, $3::text as type, $4::bigint as version";
    let value = match expression {
        Some(expression) => upcast(expression, EVENT),
        None => format!("select {field} from (select {EVENT}) projectord_log"),
    };
    let sql = format!(
        "select got::text, got is not distinct from coalesce($5::jsonb, got) from ({value}) it (got)"
    );
    let mut inner = tx.begin().await?;
    let row: Result<(Option<String>, bool), sqlx::Error> = sqlx::query_as(AssertSqlSafe(sql))
        .bind(&case.data)
        .bind(&case.metadata)
        .bind(&case.event_type)
        .bind(case.version)
        .bind(expected)
        .fetch_one(&mut *inner)
        .await;
    inner.rollback().await?;
    let file = expression.map_or("nothing", |it| it.file.as_str());
    Ok(match row {
        Err(error) if classify(&error) == Class::Away => return Err(error),
        Err(error) => Some(format!("{file}: {}", describe(&error))),
        Ok((None, _)) => Some(format!("{file} gives null")),
        Ok((Some(_), true)) => None,
        Ok((Some(got), false)) => {
            let expected = expected.unwrap_or(old);
            Some(format!("{field} is {got} where {expected} is expected"))
        }
    })
}
