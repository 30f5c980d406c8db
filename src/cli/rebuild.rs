//! `projectord rebuild` and `undo`: a new generation in the place of the live one, and the old one again.

use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use sqlx::types::Json;
use sqlx::{FromRow, PgPool};

use super::control::{ask, confirm, daemons, generation, notify, said};
use super::exit::{Code, Failed};
use super::open::pool;
use super::{plan, print, verify};
use crate::config::Config;
use crate::projector::{Failure, Rebuild};

pub(super) const EXAMPLES: &str = "Examples:
  projectord rebuild orders --wait       # beside the live rows, swapped in when it has caught up
  projectord rebuild orders --verify     # shows which rows differ, and asks before the swap
  projectord rebuild orders --cancel     # drops what is being built
  projectord rebuild orders --in-place   # drops the rows first: needs no disk beside them

`projectord plan orders` says before what it will take; `projectord undo orders` goes back.";

/// How often to look how far it is.
const LOOK: Duration = Duration::from_millis(200);
/// How long to wait for a daemon, where none is seen.
const NOBODY: Duration = Duration::from_secs(15);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The projection.
    name: String,
    /// Wait until it is done, and show how far it is.
    #[arg(long)]
    wait: bool,
    /// Compare the rows with the live ones at the same position, show what differs, and ask before the swap.
    #[arg(long, conflicts_with_all = ["in_place", "cancel"])]
    verify: bool,
    /// Drop the live rows and replay in their place: readers see a part of them until it has caught up.
    #[arg(long, conflicts_with = "cancel")]
    in_place: bool,
    /// Although views or foreign keys outside depend on the tables: they go with the old rows.
    #[arg(long, conflicts_with = "cancel")]
    force: bool,
    /// Drop the generation that is being built.
    #[arg(long)]
    cancel: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

/// How far a rebuild is, as the database says.
#[derive(Debug, FromRow)]
pub(super) struct Progress {
    generation: i64,
    state: String,
    /// It is asked for, and has not begun.
    asked: bool,
    error: Option<Json<Failure>>,
    checkpoint: i64,
    built_to: i64,
    /// The generation beside the live one.
    pub(super) building: Option<i64>,
    held: bool,
    built: i64,
    head: i64,
    build_error: Option<Json<Failure>>,
}

impl Progress {
    pub(super) async fn read(pool: &PgPool, name: &str) -> Result<Self, Failed> {
        Ok(sqlx::query_as(
            "select p.generation, p.state, p.rebuild_wanted is not null as asked, p.error, coalesce(g.checkpoint, 0) as checkpoint,
                    coalesce(g.built_to, 0) as built_to, b.generation as building, coalesce(b.held, false) as held,
                    coalesce((select avg(s.checkpoint)::bigint from projectord.shares s
                               where s.projection = b.projection and s.generation = b.generation), b.checkpoint, 0) as built,
                    h.position as head, coalesce(b.error, p.rebuild_error) as build_error
               from projectord.projections p
              cross join projectord.log_head h
               left join projectord.generations g on g.projection = p.name and g.generation = p.generation
               left join projectord.generations b on b.projection = p.name and b.state = 'building'
              where p.name = $1",
        )
        .bind(name)
        .fetch_one(pool)
        .await?)
    }
}

pub(super) async fn run(config: &Config, arguments: Arguments) -> Result<Code, Failed> {
    let pool = pool(config).await?;
    let name = arguments.name.as_str();
    let live = generation(&pool, name).await?;
    let now = Progress::read(&pool, name).await?;
    if arguments.cancel {
        return cancel(&pool, name, now.building).await;
    }
    if now.building.is_some() && now.held && !arguments.in_place {
        // Somebody has built it to look at it: that is done now.
        return go_on_with_held(&pool, &arguments, live).await;
    }
    let plan = plan::short(config, &pool, name, arguments.force).await?;
    if arguments.in_place && !arguments.yes {
        confirm(&format!(
            "drop the read model {name} and replay it; until it has caught up, readers see a part of it"
        ))?;
    }
    let how = match (arguments.in_place, arguments.verify) {
        (true, _) => Rebuild::InPlace,
        (false, true) => Rebuild::Held,
        (false, false) => Rebuild::Beside,
    };
    want(&pool, name, how, arguments.force).await?;
    plan.iter().for_each(print::line);
    said(&pool, &format!("{name} will be rebuilt")).await?;
    if arguments.verify {
        held(&pool, name).await?;
        return go_on_with_held(&pool, &arguments, live).await;
    }
    if !arguments.wait {
        return Ok(Code::Done);
    }
    wait(&pool, name, |now| now.generation > live && now.checkpoint >= now.built_to).await?;
    let now = Progress::read(&pool, name).await?;
    let events = print::thousands(now.checkpoint.unsigned_abs());
    print::line(format!("{name} is rebuilt: generation {}, {events} events", now.generation));
    Ok(Code::Done)
}

/// Writes down that a rebuild is wanted, where none is under way.
pub(super) async fn want(pool: &PgPool, name: &str, how: Rebuild, forced: bool) -> Result<(), Failed> {
    let asked = sqlx::query(
        "update projectord.projections
            set rebuild_wanted = $2, rebuild_forced = $3, rebuild_error = null,
                error = case when $2 = 'in_place' then null else error end
          where name = $1 and rebuild_wanted is null
            and ($2 = 'in_place' or not exists (
                 select from projectord.generations
                  where projection = $1 and state = 'building' and error is null))",
    )
    .bind(name)
    .bind(how.as_str())
    .bind(forced)
    .execute(pool)
    .await?;
    if asked.rows_affected() == 0 {
        let message =
            format!("a rebuild of {name} is under way already; `projectord rebuild {name} --cancel` ends it");
        return Err(Failed::new(Code::Conflict, message));
    }
    notify(pool).await
}

/// Waits until a generation stands beside the live one, caught up and held; which one.
pub(super) async fn held(pool: &PgPool, name: &str) -> Result<i64, Failed> {
    let is_held = |now: &Progress| now.building.is_some() && now.held && now.built >= now.head;
    wait(pool, name, is_held).await?;
    let now = Progress::read(pool, name).await?;
    now.building.ok_or_else(|| Failed::new(Code::Failed, format!("{name} is not being built any more")))
}

/// Compares what is held, where that is asked for, and lets it take the live one's place.
async fn go_on_with_held(pool: &PgPool, arguments: &Arguments, live: i64) -> Result<Code, Failed> {
    let name = arguments.name.as_str();
    if arguments.verify {
        let next = held(pool, name).await?;
        let same = verify::compare_and_show(pool, name, live, next).await?;
        let question = if same { "The rows are the same. Swap?" } else { "Let readers see the new rows?" };
        if !arguments.yes && !ask(question) {
            drop_generation(pool, name, next).await?;
            print::line(format!("the live rows of {name} stay; generation {next} is dropped"));
            return Ok(if same { Code::Done } else { Code::Failed });
        }
    }
    sqlx::query(
        "update projectord.generations set held = false, forced = forced or $2
          where projection = $1 and state = 'building'",
    )
    .bind(name)
    .bind(arguments.force)
    .execute(pool)
    .await?;
    notify(pool).await?;
    wait(pool, name, |now| now.generation > live).await?;
    let now = Progress::read(pool, name).await?;
    print::line(format!(
        "readers of {name} see generation {} now; projectord undo {name} goes back",
        now.generation
    ));
    Ok(Code::Done)
}

async fn cancel(pool: &PgPool, name: &str, building: Option<i64>) -> Result<Code, Failed> {
    let unasked = sqlx::query(
        "update projectord.projections set rebuild_wanted = null, rebuild_forced = false, rebuild_error = null
          where name = $1 and (rebuild_wanted is not null or rebuild_error is not null)",
    )
    .bind(name)
    .execute(pool)
    .await?
    .rows_affected();
    let dropped = match building {
        Some(building) => drop_generation(pool, name, building).await?,
        None => false,
    };
    if !dropped && unasked == 0 {
        return Err(Failed::new(Code::NotFound, format!("{name} is not being rebuilt")));
    }
    print::line(format!("the rebuild of {name} is cancelled; the live rows stay"));
    Ok(Code::Done)
}

/// Drops a generation that readers do not see, with everything that was made of it. A daemon that works on it
/// finds it gone.
pub(super) async fn drop_generation(pool: &PgPool, name: &str, generation: i64) -> Result<bool, Failed> {
    // Files that are not wanted as they are: they are not built again at the next start.
    sqlx::query(
        "update projectord.projections p set declined = g.fingerprint
           from projectord.generations g, projectord.generations live
          where p.name = $1 and g.projection = $1 and g.generation = $2 and g.state = 'building'
            and live.projection = $1 and live.state = 'live' and live.fingerprint <> g.fingerprint",
    )
    .bind(name)
    .bind(generation)
    .execute(pool)
    .await?;
    let (dropped,): (bool,) = sqlx::query_as("select projectord.drop_generation($1, $2)")
        .bind(name)
        .bind(generation)
        .fetch_one(pool)
        .await?;
    Ok(dropped)
}

/// Shows how far it is until it is `done`.
async fn wait(pool: &PgPool, name: &str, done: impl Fn(&Progress) -> bool) -> Result<(), Failed> {
    let style = "{msg} {wide_bar} {human_pos}/{human_len} events, {per_sec}, {eta} left";
    let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(0).with_style(style);
    bar.set_message(name.to_owned());
    let mut last_seen = Instant::now();
    loop {
        if daemons(pool).await? > 0 {
            last_seen = Instant::now();
        } else if last_seen.elapsed() > NOBODY {
            bar.abandon();
            let message = "no daemon is running; the rebuild begins when one starts";
            return Err(Failed::new(Code::Failed, message));
        }
        let now = Progress::read(pool, name).await?;
        if done(&now) {
            bar.finish_and_clear();
            return Ok(());
        }
        // An error of the live rows is none of what is being built, or is about to be.
        let halted = now.state == "halted" && !now.asked && now.building.is_none();
        if let Some(Json(error)) = now.build_error.as_ref().or(now.error.as_ref().filter(|_| halted)) {
            bar.abandon();
            return Err(Failed::new(Code::Halted, format!("{name} is not rebuilt: {error}")));
        }
        if now.state == "paused" {
            bar.abandon();
            let message =
                format!("{name} is paused; it is rebuilt when it goes on: projectord resume {name}");
            return Err(Failed::new(Code::Failed, message));
        }
        let (at, of) = match now.building {
            Some(_) => (now.built, now.head),
            None => (now.checkpoint.min(now.built_to), now.built_to),
        };
        bar.set_length(of.unsigned_abs());
        bar.set_position(at.unsigned_abs());
        tokio::time::sleep(LOOK).await;
    }
}
