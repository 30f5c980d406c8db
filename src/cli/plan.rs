//! `projectord plan`: what a rebuild will take, and why one is due.

use clap::Args;
use sqlx::PgPool;

use super::control::generation;
use super::exit::{Code, Failed};
use super::open::options;
use super::print::{self, Colour, paint, thousands};
use crate::config::Config;
use crate::projection::{Definition, load_all};
use crate::projector::{GenerationError, Plan, plan};

pub(super) const EXAMPLES: &str = "Example:
  projectord plan orders

It reads the projection's folder as it is now, and changes nothing.";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The projection.
    name: String,
}

pub(super) async fn run(config: &Config, arguments: &Arguments) -> Result<Code, Failed> {
    let options = options(config)?;
    options.check().await?;
    let pool = options.pool(1);
    let definition = definition(config, &arguments.name)?;
    let mut connection = pool.acquire().await?;
    match plan(&mut connection, &definition).await {
        Ok(plan) => show(&definition, &plan),
        Err(GenerationError::Refused(failure)) => {
            return Err(Failed::new(Code::Config, format!("{} cannot be built: {failure}", definition.name)));
        }
        Err(GenerationError::Postgres(error)) => return Err(error.into()),
    }
    Ok(Code::Done)
}

/// The projection as its files are now.
fn definition(config: &Config, name: &str) -> Result<Definition, Failed> {
    let path = &config.projections.path;
    let (all, problems) = load_all(path).map_err(|problem| Failed::new(Code::Config, problem))?;
    if let Some(definition) = all.into_iter().find(|it| it.name == name) {
        return Ok(definition);
    }
    let ours: Vec<String> = problems
        .iter()
        .filter(|problem| problem.projection(path).as_deref() == Some(name))
        .map(ToString::to_string)
        .collect();
    if ours.is_empty() {
        let folder = path.join(name);
        return Err(Failed::new(
            Code::NotFound,
            format!("{}: there is no such projection", folder.display()),
        ));
    }
    Err(Failed::new(Code::Config, ours.join("\n")))
}

/// What a rebuild says when it begins; or what stands in its way.
pub(super) async fn short(
    config: &Config,
    pool: &PgPool,
    name: &str,
    forced: bool,
) -> Result<Vec<String>, Failed> {
    let live = generation(pool, name).await?;
    let outside: Vec<(String,)> =
        sqlx::query_as("select * from projectord.dependants($1)").bind(name).fetch_all(pool).await?;
    let outside: Vec<String> = outside.into_iter().map(|(it,)| it).collect();
    if !outside.is_empty() && !forced {
        return Err(Failed::new(
            Code::Conflict,
            format!(
                "objects outside depend on {name}: {}; drop them and make them again afterwards, or say --force: \
                 they stay with the old rows, and go with them",
                outside.join(", ")
            ),
        ));
    }
    let (events, bytes): (i64, i64) = sqlx::query_as(
        "select h.position, (select coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint from pg_catalog.pg_class c
                              where c.relnamespace = to_regnamespace($1) and c.relkind in ('r', 'm'))
           from projectord.log_head h",
    )
    .bind(name)
    .fetch_one(pool)
    .await?;
    let kept = config.rebuild.keep_old;
    let first = format!(
        "{name}: generation {live} has {}; {} events to replay; the old rows are kept for {kept:?}",
        size(bytes),
        thousands(events.unsigned_abs())
    );
    let with_them =
        outside.iter().map(|it| format!("  {it} stays with the old rows, and is dropped with them"));
    Ok(std::iter::once(first).chain(with_them).collect())
}

fn show(definition: &Definition, plan: &Plan) {
    let line = |what: &str, text: String| {
        print::line(format!("{} {text}", paint(Colour::Dim, format!("{what:<8}"))));
    };
    match plan.live {
        0 => line("why", format!("{} has not been built yet", definition.name)),
        live if plan.files.is_empty() => {
            line("why", format!("the files are those that generation {live} was made of"));
        }
        live => {
            line("why", format!("these files have changed since generation {live} was made:"));
            plan.files.iter().for_each(|(file, how)| line("", format!("{file} {how}")));
        }
    }
    let (gone, come) = &plan.columns;
    if plan.live > 0 && (!gone.is_empty() || !come.is_empty()) {
        line("tables", "columns that change:".into());
        gone.iter().for_each(|column| line("", format!("{} {column}", paint(Colour::Red, "-"))));
        come.iter().for_each(|column| line("", format!("{} {column}", paint(Colour::Green, "+"))));
    }
    let (all, handled) = (thousands(plan.events.0.unsigned_abs()), thousands(plan.events.1.unsigned_abs()));
    line("events", format!("{all} in the log, {handled} of them have a handler"));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an estimate")]
    let rate = thousands(plan.rate as u64);
    let seconds = plan.time().as_secs_f64();
    let time = if seconds < 1.0 { "less than a second".into() } else { format!("about {seconds:.0} s") };
    line("time", format!("{time}, at {rate} events/s, as measured on the first of them"));
    line("disk", format!("about {} beside the {} of the live rows", size(plan.bytes.1), size(plan.bytes.0)));
    if plan.outside.is_empty() {
        line("outside", "nothing depends on its tables; grants and comments carry over by name".into());
    } else {
        line("outside", "these depend on its tables, and stand in the way unless you say --force:".into());
        plan.outside.iter().for_each(|it| line("", it.clone()));
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn size(bytes: i64) -> String {
    let kilobytes = bytes as f64 / 1024.0;
    if kilobytes < 1024.0 {
        format!("{kilobytes:.0} kB")
    } else if kilobytes < 1_048_576.0 {
        format!("{:.1} MB", kilobytes / 1024.0)
    } else {
        format!("{:.1} GB", kilobytes / 1_048_576.0)
    }
}
