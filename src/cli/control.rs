//! `projectord pause` and `resume`, and what the other verbs share with them: the wanted state is written to the
//! database, and whoever runs there acts.

use std::io::{IsTerminal, Write, stdin, stdout};

use sqlx::PgPool;

use super::exit::{Code, Failed};
use super::open::pool;
use super::print;
use crate::config::Config;
use crate::projector::Wanted;

pub(super) async fn pause(config: &Config, name: &str) -> Result<Code, Failed> {
    let pool = pool(config).await?;
    want(&pool, name, "update projectord.projections set wanted = $2 where name = $1", Wanted::Paused)
        .await?;
    said(&pool, &format!("{name} will pause")).await
}

pub(super) async fn resume(config: &Config, name: &str) -> Result<Code, Failed> {
    let pool = pool(config).await?;
    // A halted projection goes on when the error is gone from its row; so does a build that has failed.
    let sql = "with builds as (update projectord.generations set error = null
                                where projection = $1 and error is not null)
               update projectord.projections set wanted = $2, error = null, rebuild_error = null where name = $1";
    want(&pool, name, sql, Wanted::Running).await?;
    said(&pool, &format!("{name} will go on")).await
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

/// The generation that readers see.
pub(super) async fn generation(pool: &PgPool, name: &str) -> Result<i64, Failed> {
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
    match ask(&format!("This will {what}. Go on?")) {
        true => Ok(()),
        false => Err(Failed::new(Code::Failed, "nothing was done")),
    }
}

/// Whether the answer is yes; without a terminal it is no.
pub(super) fn ask(question: &str) -> bool {
    if !stdin().is_terminal() {
        return false;
    }
    print::text(format!("{question} [y/N] "));
    let _ = stdout().flush();
    let mut answer = String::new();
    let _ = stdin().read_line(&mut answer);
    matches!(answer.trim(), "y" | "Y" | "yes")
}
