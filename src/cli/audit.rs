//! `projectord audit`: proves that nothing is missing and nothing twice, without believing any counter of
//! the daemon's: the store is held against the log, and the log against what each read model was made of.

use std::time::Instant;

use clap::Args;
use sqlx::{FromRow, PgPool};

use super::exit::{Code, Failed};
use super::print::{self, Colour, paint, thousands};
use crate::config::Config;
use crate::control::{Control, options, this_user};
use crate::ingest::audit_store;
use crate::log::Log;
use crate::store::RethinkStore;

pub(super) const EXAMPLES: &str = "Examples:
  projectord audit              # the store, the log, every projection
  projectord audit orders       # the log, and one projection

It changes nothing, may run at any time, and ends with 1 where something is wrong.";

/// A scan of the whole log takes as long as it takes.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// One projection; without it, all of them and the store.
    name: Option<String>,
}

/// What the database says of one projection.
#[derive(Debug, FromRow)]
struct Row {
    projection: String,
    generation: i64,
    checkpoint: i64,
    is_sealed: bool,
    applied: i64,
    parked: i64,
    skipped: i64,
    expected: i64,
    applied_digest: i64,
    expected_digest: i64,
}

impl Row {
    /// What is wrong with it, if anything is.
    fn problem(&self) -> Option<String> {
        if !self.is_sealed {
            Some("the checkpoint was changed by hand".into())
        } else if self.applied != self.expected {
            let (applied, expected) = (self.applied, self.expected);
            Some(format!("its handlers ran on {applied} events, and should have on {expected}"))
        } else if self.applied_digest != self.expected_digest {
            Some("its handlers ran on other events than the log has".into())
        } else {
            None
        }
    }
}

pub(super) async fn run(config: &Config, arguments: &Arguments) -> Result<Code, Failed> {
    // The control plane's own limits would end it half-way.
    let options = options(config)?;
    options.check().await?;
    let patient = options.statement_timeout(PATIENCE).pool(2);
    if let Some(name) = &arguments.name {
        Control::new(patient.clone(), this_user()).generation(name).await?;
    }
    let mut right = true;
    if let (Some(url), None) = (&config.store.url, &arguments.name) {
        let server = url.reveal().parse().map_err(|error| Failed::new(Code::Config, error))?;
        let store = RethinkStore::new(server, config.store.settings());
        right &= store_and_log(&store, &patient).await?;
    }
    right &= log(&patient).await?;
    right &= projections(&patient, arguments.name.as_deref()).await?;
    Ok(if right { Code::Done } else { Code::Failed })
}

async fn store_and_log(store: &RethinkStore, pool: &PgPool) -> Result<bool, Failed> {
    let begun = Instant::now();
    let audit = audit_store(&store.history(), &Log::new(pool.clone()))
        .await
        .map_err(|error| Failed::new(Code::Unavailable, error))?;
    let found = format!(
        "store  {} commits, {} heads: the log has every commit of the store and no other",
        thousands(audit.commits),
        thousands(audit.heads),
    );
    Ok(say(&found, &audit.problems, audit.commits, begun))
}

async fn log(pool: &PgPool) -> Result<bool, Failed> {
    let begun = Instant::now();
    let (events, problems): (i64, Vec<String>) =
        sqlx::query_as("select events, problems from projectord.audit_log()").fetch_one(pool).await?;
    let events = events.unsigned_abs();
    let found = format!("log  {} events: dense, and each stream whole and in order", thousands(events));
    Ok(say(&found, &problems, events, begun))
}

async fn projections(pool: &PgPool, name: Option<&str>) -> Result<bool, Failed> {
    let begun = Instant::now();
    let rows: Vec<Row> = sqlx::query_as("select * from projectord.audit()").fetch_all(pool).await?;
    let mut right = true;
    let scanned = rows.iter().map(|row| row.checkpoint).max().unwrap_or(0).unsigned_abs();
    for row in rows.iter().filter(|row| name.is_none_or(|name| name == row.projection)) {
        let count = |number: i64| thousands(number.unsigned_abs());
        let found = format!(
            "{}  generation {}, up to {}: {} applied, {} parked, {} skipped, as the log has them",
            row.projection,
            row.generation,
            count(row.checkpoint),
            count(row.applied),
            count(row.parked),
            count(row.skipped)
        );
        let problems: Vec<String> = row.problem().into_iter().collect();
        right &= say(&found, &problems, scanned, begun);
    }
    Ok(right)
}

/// One line for what was found right, or one for each thing that is wrong.
fn say(found: &str, problems: &[String], looked_at: u64, begun: Instant) -> bool {
    let seconds = begun.elapsed().as_secs_f64();
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate"
    )]
    let rate = (looked_at as f64 / seconds.max(0.001)) as u64;
    if problems.is_empty() {
        let speed = format!("({seconds:.1} s, {}/s)", thousands(rate));
        print::line(format!("{}     {found} {}", paint(Colour::Green, "ok"), paint(Colour::Dim, speed)));
        return true;
    }
    let name = found.split_whitespace().next().unwrap_or_default();
    for problem in problems {
        print::line(format!("{}  {name}  {}", paint(Colour::Red, "WRONG"), print::plain(problem)));
    }
    false
}
