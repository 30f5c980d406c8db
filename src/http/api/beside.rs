//! What a rebuild would take, and how what stands beside the live rows differs from them. Each works on connections
//! of its own, and one at a time: its place is taken until the work has ended, also where whoever asked has gone.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Serialize;
use serde_json::Value;
use tracing::error;

use super::asked::Name;
use super::room::{Place, Room};
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
    let work = async move { Ok(control(&shared)?.plan(&shared.config.projections.path, &name).await?) };
    let plan = to_its_end(room.for_heavy()?, work).await?;
    let lines = plan.into_iter().map(|Line { what, text }| format!("{what:<8} {text}")).collect();
    Ok(Json(Lines { lines }))
}

pub(super) async fn differences(
    State(shared): State<Arc<Shared>>,
    Extension(room): Extension<Room>,
    Name(name): Name,
) -> Result<Json<Differences>, Problem> {
    let work = async move {
        let control = control(&shared)?;
        let (live, generation) = control.comparable(&name).await?;
        Ok((generation, control.compare(&name, live, generation).await?))
    };
    let (generation, found) = to_its_end(room.for_heavy()?, work).await?;
    let tables = found.tables.into_iter().map(table).collect();
    Ok(Json(Differences { generation, position: found.position, tables }))
}

/// PostgreSQL works on when nobody waits any more, so the place is the work's and not the request's.
async fn to_its_end<T: Send + 'static>(
    place: Place,
    work: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    let working = tokio::spawn(async move {
        let _place = place;
        work.await
    });
    working.await.unwrap_or_else(|error| {
        error!(%error, "a plan or a comparison has broken off");
        Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "it has broken off; the daemon's log says why"))
    })
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
