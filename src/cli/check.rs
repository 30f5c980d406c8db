//! `projectord check`

use clap::Args;
use sqlx::PgConnection;

use super::exit::{Code, Failed};
use super::print::{self, Colour};
use crate::config::Config;
use crate::control::open_pool;
use crate::postgres::migrate_status;
use crate::projection::{Definition, Problem, load_all};
use crate::projector::{Checked, check_sql, test_upcasters};

pub(super) const EXAMPLES: &str = "Examples:
  projectord check
  projectord check orders --sample 100   # also runs events through the handlers";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// One projection; all of them without it.
    name: Option<String>,
    /// Also run the newest N events of each type through the handlers, and roll back.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    sample: Option<u32>,
}

pub(super) async fn run(config: &Config, arguments: &Arguments) -> Result<Code, Failed> {
    let path = &config.projections.path;
    let (mut projections, mut problems) =
        load_all(path).map_err(|problem| Failed::new(Code::Config, problem))?;
    if let Some(name) = &arguments.name {
        let of = |problem: &Problem| problem.projection(path);
        if !projections.iter().any(|it| it.name == *name)
            && !problems.iter().any(|it| of(it).as_ref() == Some(name))
        {
            let names: Vec<&str> = projections.iter().map(|it| it.name.as_str()).collect();
            let known = if names.is_empty() {
                "there are none".into()
            } else {
                format!("there are {}", names.join(", "))
            };
            return Err(Failed::new(
                Code::NotFound,
                format!("no projection {name:?} in {}; {known}", path.display()),
            ));
        }
        projections.retain(|it| it.name == *name);
        problems.retain(|it| of(it).is_none_or(|of| of == *name));
    }
    let mut notes = Vec::new();
    match open_pool(config).await.map_err(Failed::from) {
        Ok(pool) => {
            let mut connection = pool.acquire().await?;
            if migrate_status(&mut connection).await? {
                look(&mut connection, &projections, arguments, &mut problems, &mut notes).await?;
                let (tests, wrong) = test_upcasters(&mut connection, path).await?;
                problems.extend(wrong);
                problems.extend(tests.into_iter().filter_map(|test| {
                    let message = format!("{:?}: {}", test.event_type, test.failure?);
                    Some(Problem { file: test.file, line: Some(test.line), message })
                }));
            } else {
                notes.push(
                    "SQL was not compiled: the schema projectord is not there yet; run `projectord setup`"
                        .into(),
                );
            }
        }
        Err(failed) if failed.code == Code::Config => return Err(failed),
        Err(failed) => notes.push(format!("SQL was not compiled: {}", failed.message)),
    }
    for problem in &problems {
        print::line(format!("{} {problem}", print::paint(Colour::Red, "problem:")));
    }
    for note in notes {
        print::line(format!("{} {note}", print::paint(Colour::Yellow, "note:")));
    }
    if !problems.is_empty() {
        let count = problems.len();
        return Err(Failed::new(
            Code::Config,
            format!("{count} {}", if count == 1 { "problem" } else { "problems" }),
        ));
    }
    let names: Vec<&str> = projections.iter().map(|projection| projection.name.as_str()).collect();
    let what = match names.as_slice() {
        [] => format!("configuration; no projections in {}", path.display()),
        [name] if arguments.name.is_some() => format!("configuration and projection {name}"),
        names => format!("configuration and projections {}", names.join(", ")),
    };
    print::line(format!("{} {what}", print::paint(Colour::Green, "ok:")));
    Ok(Code::Done)
}

/// Holds each projection against PostgreSQL; what is only odd is printed at once.
async fn look(
    connection: &mut PgConnection,
    projections: &[Definition],
    arguments: &Arguments,
    problems: &mut Vec<Problem>,
    notes: &mut Vec<String>,
) -> Result<(), Failed> {
    for projection in projections {
        let checked = check_sql(connection, projection, arguments.sample).await?;
        let Checked { problems: found, warnings, unseen, sampled } = checked;
        for warning in warnings {
            print::line(format!("{} {warning}", print::paint(Colour::Yellow, "warning:")));
        }
        // Several projections may read through one upcaster.
        problems.extend(found.into_iter().filter(|it| !problems.contains(it)).collect::<Vec<_>>());
        let name = &projection.name;
        if unseen > 0 {
            let (statements, show, they) = if unseen == 1 {
                ("statement", "shows", "it does")
            } else {
                ("statements", "show", "they do")
            };
            notes.push(format!(
                "{name}: {unseen} {statements} only {show} what {they} on an event; try --sample"
            ));
        }
        if arguments.sample.is_some() {
            let events = if sampled == 1 { "event" } else { "events" };
            notes.push(format!("{name}: {sampled} {events} of the log were run through its handlers"));
        }
    }
    Ok(())
}
