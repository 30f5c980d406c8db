//! `projectord rebuild`, `pause` and `resume`: the wanted state is written to the database, and whoever
//! runs there acts.

use std::io::{IsTerminal, Write, stdin, stdout};
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use sqlx::PgPool;
use sqlx::types::Json;

use super::exit::{Code, Failed};
use super::open::pool;
use super::print;
use crate::config::Config;
use crate::projector::{Failure, Wanted};

/// How often to look how far a rebuild is.
const LOOK: Duration = Duration::from_millis(200);
/// How long to wait for a daemon, where none is seen.
const NOBODY: Duration = Duration::from_secs(15);

#[derive(Debug, Args)]
pub(super) struct RebuildArguments {
    /// The projection.
    name: String,
    /// Wait until it has caught up, and show how far it is.
    #[arg(long)]
    wait: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

pub(super) async fn pause(config: &Config, name: &str) -> Result<Code, Failed> {
    let pool = pool(config).await?;
    want(&pool, name, "update projectord.projections set wanted = $2 where name = $1", Wanted::Paused)
        .await?;
    said(&pool, &format!("{name} will pause")).await
}

pub(super) async fn resume(config: &Config, name: &str) -> Result<Code, Failed> {
    let pool = pool(config).await?;
    // A halted projection goes on when the error is gone from its row.
    let sql = "update projectord.projections set wanted = $2, error = null where name = $1";
    want(&pool, name, sql, Wanted::Running).await?;
    said(&pool, &format!("{name} will go on")).await
}

pub(super) async fn rebuild(config: &Config, arguments: RebuildArguments) -> Result<Code, Failed> {
    let pool = pool(config).await?;
    let name = arguments.name.as_str();
    let generation = generation(&pool, name).await?;
    if !arguments.yes {
        confirm(&format!(
            "drop the read model {name} and replay it; until it has caught up, readers see a part of it"
        ))?;
    }
    let asked = sqlx::query(
        "update projectord.projections set rebuild_wanted = true, error = null where name = $1 and not rebuild_wanted",
    )
    .bind(name)
    .execute(&pool)
    .await?;
    if asked.rows_affected() == 0 {
        return Err(Failed::new(Code::Conflict, format!("a rebuild of {name} is asked for already")));
    }
    notify(&pool).await?;
    said(&pool, &format!("{name} will be rebuilt")).await?;
    if !arguments.wait {
        return Ok(Code::Done);
    }
    wait(&pool, name, generation).await
}

async fn want(pool: &PgPool, name: &str, sql: &'static str, wanted: Wanted) -> Result<(), Failed> {
    let done = sqlx::query(sql).bind(name).bind(wanted.as_str()).execute(pool).await?;
    if done.rows_affected() == 0 {
        return Err(unknown(pool, name).await);
    }
    notify(pool).await
}

pub(super) async fn notify(pool: &PgPool) -> Result<(), Failed> {
    sqlx::query("select pg_notify('projectord_control', '')").execute(pool).await?;
    Ok(())
}

/// The projection is one that has run.
pub(super) async fn known(pool: &PgPool, name: &str) -> Result<(), Failed> {
    generation(pool, name).await.map(drop)
}

async fn generation(pool: &PgPool, name: &str) -> Result<i64, Failed> {
    let row: Option<(i64,)> = sqlx::query_as("select generation from projectord.projections where name = $1")
        .bind(name)
        .fetch_optional(pool)
        .await?;
    match row {
        Some((generation,)) => Ok(generation),
        None => Err(unknown(pool, name).await),
    }
}

async fn unknown(pool: &PgPool, name: &str) -> Failed {
    let names: Vec<(String,)> = sqlx::query_as("select name from projectord.projections order by name")
        .fetch_all(pool)
        .await
        .unwrap_or_default();
    let names: Vec<String> = names.into_iter().map(|(name,)| name).collect();
    let known =
        if names.is_empty() { "none has run yet".into() } else { format!("known are {}", names.join(", ")) };
    Failed::new(Code::NotFound, format!("no projection {name:?}; {known}"))
}

/// Says what will happen, and whether anybody is there to do it.
pub(super) async fn said(pool: &PgPool, what: &str) -> Result<Code, Failed> {
    let when = if daemons(pool).await? == 0 { "; no daemon is running: it will when one starts" } else { "" };
    print::line(format!("{what}{when}"));
    Ok(Code::Done)
}

/// How many daemons were seen lately.
pub(super) async fn daemons(pool: &PgPool) -> Result<i64, Failed> {
    let (running,): (i64,) = sqlx::query_as(
        "select count(*) from projectord.daemons where seen_at > clock_timestamp() - interval '10 seconds'",
    )
    .fetch_one(pool)
    .await?;
    Ok(running)
}

/// Asks on a terminal; refuses without one.
pub(super) fn confirm(what: &str) -> Result<(), Failed> {
    if !stdin().is_terminal() {
        return Err(Failed::new(Code::Usage, format!("this would {what}; say --yes")));
    }
    print::text(format!("This will {what}. Go on? [y/N] "));
    let _ = stdout().flush();
    let mut answer = String::new();
    let _ = stdin().read_line(&mut answer);
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failed::new(Code::Failed, "nothing was done")),
    }
}

async fn wait(pool: &PgPool, name: &str, before: i64) -> Result<Code, Failed> {
    let bar = ProgressBar::new(0).with_style(
        ProgressStyle::with_template(
            "{msg} {wide_bar} {human_pos}/{human_len} events, {per_sec}, {eta} left",
        )
        .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.set_message(name.to_owned());
    let mut last_seen = Instant::now();
    loop {
        if daemons(pool).await? > 0 {
            last_seen = Instant::now();
        } else if last_seen.elapsed() > NOBODY {
            bar.abandon();
            return Err(Failed::new(
                Code::Failed,
                "no daemon is running; the rebuild begins when one starts",
            ));
        }
        let (generation, state, error, checkpoint, target): (i64, String, Option<Json<Failure>>, i64, i64) =
            sqlx::query_as(
                "select p.generation, p.state, p.error, coalesce(g.checkpoint, 0), coalesce(g.built_to, 0)
                   from projectord.projections p
                   left join projectord.generations g on g.projection = p.name and g.generation = p.generation
                  where p.name = $1",
            )
            .bind(name)
            .fetch_one(pool)
            .await?;
        if state == "halted" && error.is_some() {
            bar.abandon();
            let error = error.map(|Json(error)| error.to_string()).unwrap_or_default();
            return Err(Failed::new(Code::Halted, format!("{name} is halted: {error}")));
        }
        if generation > before {
            bar.set_length(target.unsigned_abs());
            bar.set_position(checkpoint.unsigned_abs().min(target.unsigned_abs()));
            if state == "paused" {
                bar.finish_and_clear();
                print::line(format!("{name} is paused, at the start of generation {generation}"));
                return Ok(Code::Done);
            }
            if checkpoint >= target {
                bar.finish_and_clear();
                print::line(format!(
                    "{name} is rebuilt: generation {generation}, {} events",
                    print::thousands(target.unsigned_abs())
                ));
                return Ok(Code::Done);
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}
