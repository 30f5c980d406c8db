//! `projectord parked`, `retry` and `skip`: events that were set aside because a handler failed.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;
use sqlx::types::Json;
use sqlx::{FromRow, PgPool};
use uuid::Uuid;

use super::control::{confirm, daemons, known, notify, said};
use super::exit::{Code, Failed};
use super::open::pool;
use super::print::{self, Colour, paint};
use crate::config::Config;
use crate::event::StreamId;
use crate::projector::Failure;

/// How often to look whether a retry is done, and for how long.
const LOOK: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// One projection; all of them without it.
    name: Option<String>,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct RetryArguments {
    /// The projection.
    name: String,
    /// Only this stream.
    #[arg(long)]
    stream: Option<StreamId>,
}

#[derive(Debug, Args)]
pub(super) struct SkipArguments {
    /// The projection.
    name: String,
    /// The event's position in the log.
    position: i64,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

/// An event that is not reflected in a read model.
#[derive(Debug, Serialize, FromRow)]
struct Aside {
    projection: String,
    position: i64,
    stream_id: Uuid,
    version: i64,
    #[serde(rename = "type")]
    #[sqlx(rename = "type")]
    event_type: String,
    /// `parked`, or `skipped` by somebody.
    state: String,
    since: DateTime<Utc>,
    error: Option<Json<Failure>>,
}

pub(super) async fn run(config: &Config, arguments: &Arguments) -> Result<Code, Failed> {
    let pool = pool(config).await?;
    if let Some(name) = &arguments.name {
        known(&pool, name).await?;
    }
    let rows: Vec<Aside> = sqlx::query_as(
        "select p.projection, p.position, p.stream_id, p.version, p.type, 'parked' as state, p.parked_at as since, p.error
           from projectord.parked p
           join projectord.projections it on it.name = p.projection and it.generation = p.generation
          where $1::text is null or p.projection = $1
          union all
         select s.projection, s.position, e.stream_id, e.version, e.type, 'skipped by ' || s.skipped_by, s.skipped_at, s.error
           from projectord.skipped s join projectord.events e using (position)
          where $1::text is null or s.projection = $1
          order by projection, position",
    )
    .bind(&arguments.name)
    .fetch_all(&pool)
    .await?;
    for row in &rows {
        if arguments.json {
            print::line(serde_json::to_string(row).map_err(|error| Failed::new(Code::Failed, error))?);
            continue;
        }
        let Aside { projection, position, stream_id, version, event_type, state, since, error } = row;
        let event_type = print::plain(event_type);
        let since = since.format("%F %T");
        print::line(format!(
            "{projection}  {position}  {event_type}, version {version} of {stream_id}  {state} {since}"
        ));
        match error {
            Some(Json(error)) => print::line(format!("    {}", paint(Colour::Red, print::plain(error)))),
            None if state == "parked" => print::line("    waits behind an earlier event of its stream"),
            None => {}
        }
    }
    if rows.is_empty() && !arguments.json {
        print::line("nothing is parked");
    }
    Ok(Code::Done)
}

pub(super) async fn retry(config: &Config, arguments: &RetryArguments) -> Result<Code, Failed> {
    let pool = pool(config).await?;
    let name = arguments.name.as_str();
    known(&pool, name).await?;
    let stream = arguments.stream.map(|stream| stream.0);
    let asked = sqlx::query(
        "update projectord.parked p set retry_wanted = true
           from projectord.projections it
          where it.name = p.projection and it.generation = p.generation
            and p.projection = $1 and ($2::uuid is null or p.stream_id = $2)",
    )
    .bind(name)
    .bind(stream)
    .execute(&pool)
    .await?
    .rows_affected();
    if asked == 0 {
        return Err(Failed::new(Code::NotFound, format!("nothing of {name} is parked there")));
    }
    notify(&pool).await?;
    if daemons(&pool).await? == 0 {
        return said(&pool, &format!("{asked} parked events of {name} will be tried again")).await;
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (wanted, left) = left(&pool, name, stream).await?;
        if wanted == 0 {
            let applied = i64::try_from(asked).unwrap_or(0) - left;
            print::line(format!("{} applied, {left} still parked", applied.max(0)));
            if left > 0 {
                return Err(Failed::new(
                    Code::Halted,
                    format!("some failed again: projectord parked {name}"),
                ));
            }
            return Ok(Code::Done);
        }
        if Instant::now() > deadline {
            print::line(format!("{left} are still parked; they are tried while the projection runs"));
            return Ok(Code::Done);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// How many of the parked events somebody wants, and how many there are.
async fn left(pool: &PgPool, name: &str, stream: Option<Uuid>) -> Result<(i64, i64), Failed> {
    Ok(sqlx::query_as(
        "select count(*) filter (where retry_wanted), count(*) from projectord.parked p
           join projectord.projections it on it.name = p.projection and it.generation = p.generation
          where p.projection = $1 and ($2::uuid is null or p.stream_id = $2)",
    )
    .bind(name)
    .bind(stream)
    .fetch_one(pool)
    .await?)
}

pub(super) async fn skip(config: &Config, arguments: &SkipArguments) -> Result<Code, Failed> {
    let pool = pool(config).await?;
    let SkipArguments { name, position, yes } = arguments;
    known(&pool, name).await?;
    // What may be skipped: the event that a projection is halted at, and those that are parked.
    let event: Option<(String, Uuid, i64)> = sqlx::query_as(
        "select e.type, e.stream_id, e.version from projectord.events e
           join projectord.projections p on p.name = $1
           join projectord.generations g on g.projection = p.name and g.generation = p.generation
          where e.position = $2
            and (p.state = 'halted' and e.position = g.checkpoint + 1 and (p.error -> 'event' ->> 'position')::bigint = $2
                 or exists (select from projectord.parked k
                             where k.projection = p.name and k.generation = p.generation and k.position = $2))",
    )
    .bind(name)
    .bind(position)
    .fetch_optional(&pool)
    .await?;
    let Some((event_type, stream, version)) = event else {
        return Err(Failed::new(
            Code::NotFound,
            format!("{name} is not halted at position {position}, and the event there is not parked"),
        ));
    };
    if !yes {
        let event_type = print::plain(event_type);
        confirm(&format!(
            "leave event {position} ({event_type}, version {version} of stream {stream}) out of {name} for good, also when it is rebuilt"
        ))?;
    }
    // Only what is still parked or halted at: a retry may have been quicker.
    let done = sqlx::query(
        "with before as (
             select error from projectord.projections where name = $1
         ), gone as (
             delete from projectord.parked k using projectord.projections p
              where p.name = $1 and k.projection = p.name and k.generation = p.generation and k.position = $2
          returning k.error
         ), halted as (
             update projectord.projections set error = null
              where name = $1 and state = 'halted' and (error -> 'event' ->> 'position')::bigint = $2
          returning 1
         )
         insert into projectord.skipped (projection, position, error)
         select $1, $2, error from gone union all select $1, $2, error from before where exists (select from halted)",
    )
    .bind(name)
    .bind(position)
    .execute(&pool)
    .await?;
    if done.rows_affected() == 0 {
        return Err(Failed::new(
            Code::Conflict,
            format!("event {position} has been applied to {name} meanwhile"),
        ));
    }
    notify(&pool).await?;
    said(&pool, &format!("{name} will go on without event {position}")).await
}
