//! Events of the log run through the handlers, in a schema that nobody will see.

use sqlx::{Acquire, Postgres, Transaction};
use uuid::Uuid;

use super::super::Failure;
use super::super::build::{execute, quoted};
use super::Checked;
use crate::postgres::{Class, classify};
use crate::projection::{Compiled, Definition, Problem};
use crate::text::plain;

/// Where the events are.
pub(super) const TABLE: &str = "pg_temp.projectord_sample";
/// The longest that one event may take.
const PATIENCE: &str = "set local statement_timeout = '60s'";

/// Copies the newest `newest` events of each type that is handled, and what their streams had before them, since
/// handlers rely on that. Events that somebody skipped are left out, as they are by a rebuild.
pub(super) async fn take(
    tx: &mut Transaction<'_, Postgres>,
    projection: &Definition,
    newest: u32,
) -> Result<(), sqlx::Error> {
    let create = format!(
        "create temp table projectord_sample (like projectord.events including indexes) on commit drop;
         grant select on {TABLE} to public"
    );
    execute(tx, create).await?;
    sqlx::query(
        "with newest as (
             select position, stream_id
               from (select position, stream_id, row_number() over (partition by type order by position desc) as nth
                       from projectord.events e
                      where type like any($1)
                        and not exists (select from projectord.skipped s where s.projection = $3 and s.position = e.position)
                    ) of_type
              where nth <= $2
         ), streams as (
             select stream_id, max(position) as last from newest group by stream_id
         )
         insert into pg_temp.projectord_sample
         select e.* from streams s join projectord.events e on e.stream_id = s.stream_id and e.position <= s.last
          where e.type like any($1)
            and not exists (select from projectord.skipped s where s.projection = $3 and s.position = e.position)",
    )
    .bind(projection.handles())
    .bind(i64::from(newest))
    .bind(&projection.name)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Runs the handlers on each, in order; one that fails leaves nothing, and the others go on.
pub(super) async fn run(
    tx: &mut Transaction<'_, Postgres>,
    projection: &Definition,
    schema: &str,
    compiled: &Compiled,
    checked: &mut Checked,
) -> Result<(), sqlx::Error> {
    let events: Vec<(i64, String, Uuid, i64)> = sqlx::query_as(
        "select position, type, stream_id, version from pg_temp.projectord_sample order by position",
    )
    .fetch_all(&mut **tx)
    .await?;
    execute(tx, PATIENCE.into()).await?;
    // Whatever fails at one place for one reason is told once, with the first event.
    let mut failed: Vec<(Failure, String, usize)> = Vec::new();
    for (position, event_type, stream, version) in &events {
        let mut inner = tx.begin().await?;
        let path = quoted(schema);
        let apply = format!(
            "set local search_path = {path}, pg_temp;
             select projectord_apply({}, {position}, null, null, null, null)",
            position - 1
        );
        let Err(error) = execute(&mut inner, apply).await else {
            inner.commit().await?;
            continue;
        };
        inner.rollback().await?;
        if classify(&error) == Class::Away {
            return Err(error);
        }
        let failure = Failure::of(&error, compiled);
        let is_same = |it: &&mut (Failure, String, usize)| {
            it.0.file == failure.file && it.0.sqlstate == failure.sqlstate
        };
        match failed.iter_mut().find(is_same) {
            Some((.., more)) => *more += 1,
            None => {
                let event = format!("event {position}, {event_type:?}, version {version} of stream {stream}");
                failed.push((failure, event, 0));
            }
        }
    }
    checked.sampled += events.len();
    for (failure, event, more) in failed {
        checked.problem(problem(projection, &failure, &event, more));
    }
    execute(tx, "set local statement_timeout = 0".into()).await
}

fn problem(projection: &Definition, failure: &Failure, event: &str, more: usize) -> Problem {
    let place = failure.file.as_deref().unwrap_or_default();
    let (file, line) = match place.rsplit_once(':') {
        Some((file, line)) => (file, line.parse().ok()),
        None => (place, None),
    };
    let folder = match file.starts_with('_') {
        true => projection.folder.parent().unwrap_or(&projection.folder),
        false => &projection.folder,
    };
    let sqlstate = failure.sqlstate.as_deref().unwrap_or_default();
    let hint = failure.hint.as_ref().map(|hint| format!("; hint: {hint}")).unwrap_or_default();
    let others = match more {
        0 => String::new(),
        1 => ", and at 1 more".into(),
        more => format!(", and at {more} more"),
    };
    let message = format!("{} (SQLSTATE {sqlstate}) at {event}{others}{hint}", failure.message);
    Problem { file: folder.join(file), line, message: plain(message) }
}
