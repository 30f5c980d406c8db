//! What a rebuild would take, and how what stands beside the live rows differs from them. Each works on connections
//! of its own, which are closed with the request, and one at a time.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::{Extension, Json};
use serde::Serialize;
use serde_json::Value;

use super::asked::Name;
use super::room::Room;
use crate::control::{Control, Line, options};
use crate::event::Position;
use crate::http::{Problem, Shared};
use crate::projector::{RowDifference, TableDifference};

/// The longest that a statement of a comparison may take.
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(Debug, Serialize)]
pub(super) struct Lines {
    lines: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Differences {
    generation: i64,
    position: Position,
    tables: Vec<Table>,
}

/// One table in both generations.
#[derive(Debug, Serialize)]
struct Table {
    table: String,
    /// In the live generation, and in the other; none where there is no such table.
    rows: Option<i64>,
    rows_beside: Option<i64>,
    key: Vec<String>,
    columns_gone: Vec<String>,
    columns_new: Vec<String>,
    different: i64,
    examples: Vec<Example>,
}

/// A row in both; none where it is not there.
#[derive(Debug, Serialize)]
struct Example {
    live: Option<Value>,
    beside: Option<Value>,
}

pub(super) async fn plan(
    State(shared): State<Arc<Shared>>,
    Extension(room): Extension<Room>,
    Name(name): Name,
) -> Result<Json<Lines>, Problem> {
    if shared.code.iter().any(|it| it.name == name) {
        let detail = format!("the handlers of {name} are in Rust: there are no files to make a plan of");
        return Err(Problem::not_found(detail));
    }
    let _place = room.for_heavy()?;
    let plan = control(&shared)?.plan(&shared.config.projections.path, &name).await?;
    let lines = plan.into_iter().map(|Line { what, text }| format!("{what:<8} {text}")).collect();
    Ok(Json(Lines { lines }))
}

pub(super) async fn differences(
    State(shared): State<Arc<Shared>>,
    Extension(room): Extension<Room>,
    Name(name): Name,
) -> Result<Json<Differences>, Problem> {
    let _place = room.for_heavy()?;
    let control = control(&shared)?;
    let (live, generation) = control.comparable(&name).await?;
    let found = control.compare(&name, live, generation).await?;
    let tables = found.tables.into_iter().map(table).collect();
    Ok(Json(Differences { generation, position: found.position, tables }))
}

fn table(found: TableDifference) -> Table {
    let TableDifference { table, rows, key, columns, different, differing } = found;
    let example = |RowDifference { live, next }| Example { live, beside: next };
    Table {
        table,
        rows: rows.0,
        rows_beside: rows.1,
        key,
        columns_gone: columns.0,
        columns_new: columns.1,
        different,
        examples: differing.into_iter().map(example).collect(),
    }
}

fn control(shared: &Shared) -> Result<Control, Problem> {
    let options = options(&shared.config)?.statement_timeout(PATIENCE);
    Ok(Control::new(options.pool(2), "http"))
}
