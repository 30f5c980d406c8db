//! `projectord undo`: readers see the rows again that were there before the last swap.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use clap::Args;
use sqlx::PgPool;
use sqlx::types::Json;

use super::control::{confirm, generation};
use super::exit::{Code, Failed};
use super::open::pool;
use super::print;
use crate::config::Config;
use crate::postgres::interval;
use crate::projector::Failure;

/// How long to go on trying while the retired rows are a little behind.
const PATIENCE: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The projection.
    name: String,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

pub(super) async fn run(config: &Config, arguments: &Arguments) -> Result<Code, Failed> {
    let pool = pool(config).await?;
    let name = arguments.name.as_str();
    let live = generation(&pool, name).await?;
    let retired: Option<(i64, DateTime<Utc>, Option<Json<Failure>>)> = sqlx::query_as(
        "select generation, keep_until, error from projectord.generations
          where projection = $1 and state = 'retired' and keep_until > clock_timestamp()
          order by generation desc limit 1",
    )
    .bind(name)
    .fetch_optional(&pool)
    .await?;
    let Some((old, until, error)) = retired else {
        let kept = config.rebuild.keep_old;
        let message =
            format!("there is nothing to go back to: rows of {name} are kept for {kept:?} after a swap");
        return Err(Failed::new(Code::NotFound, message));
    };
    if let Some(Json(error)) = error {
        let message = format!("generation {old} of {name} cannot be gone back to: {error}");
        return Err(Failed::new(Code::Halted, message));
    }
    if !arguments.yes {
        let until = until.format("%T");
        confirm(&format!("show readers generation {old} of {name} again (kept until {until})"))?;
    }
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = swap_back(&pool, name, live, old, config.rebuild.keep_old).await {
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        if code.as_deref() != Some("PJ012") || Instant::now() > deadline {
            return Err(error.into());
        }
        tokio::time::sleep(AGAIN).await;
    }
    print::line(format!(
        "readers of {name} see generation {old} again; its files are built anew when they change, or when asked for"
    ));
    Ok(Code::Done)
}

async fn swap_back(
    pool: &PgPool,
    name: &str,
    live: i64,
    old: i64,
    keep: Duration,
) -> Result<(), sqlx::Error> {
    let mut tx = pool.begin().await?;
    sqlx::query("select projectord.swap($1, $2, $3, $4)")
        .bind(name)
        .bind(live)
        .bind(old)
        .bind(interval(keep))
        .execute(&mut *tx)
        .await?;
    // Or the files, which are those of the generation that was live, would be built again at once.
    sqlx::query(
        "update projectord.projections p set declined = g.fingerprint
           from projectord.generations g where p.name = $1 and g.projection = $1 and g.generation = $2",
    )
    .bind(name)
    .bind(live)
    .execute(&mut *tx)
    .await?;
    tx.commit().await
}
