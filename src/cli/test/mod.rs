//! `projectord test [NAME]`: the tests in the projections' folders.

mod junit;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use sqlx::PgPool;

use super::exit::{Code, Failed};
use super::print::{self, Colour, paint};
use crate::config::Config;
use crate::control::options;
use crate::projection::{Definition, Problem, load_all};
use crate::projector::test_upcasters;
use crate::testing::{Outcome, TestError, run as run_case, tests_of};

pub(super) const EXAMPLES: &str = "A test is a file in the projection's folder, tests/first.toml for one:
  [[given]]
  stream = \"first\"
  type = \"OrderCreated\"
  data = { user_id = 7, total = 12.5 }

  [[expect]]
  table = \"orders\"
  rows = [{ id = \"first\", status = \"created\" }]

Examples:
  projectord test
  projectord test orders --junit results.xml";

/// The folder of upcasters, whose cases are tests too.
const UPCASTERS: &str = "_upcasters";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The projection; all of them unless given.
    name: Option<String>,
    /// Write the results as JUnit's XML, too.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

/// What came of one projection's tests.
struct Tested {
    projection: String,
    outcomes: Vec<Outcome>,
    /// Files that are wrong.
    problems: Vec<Problem>,
}

pub(super) async fn run(config: &Config, arguments: &Arguments) -> Result<Code, Failed> {
    let path = &config.projections.path;
    let (projections, problems) = load_all(path).map_err(|problem| Failed::new(Code::Config, problem))?;
    let is_meant = |name: &str| arguments.name.as_ref().is_none_or(|wanted| wanted == name);
    let mut tested: Vec<Tested> = Vec::new();
    for problem in problems {
        let name = problem.projection(path).unwrap_or_default();
        match tested.last_mut() {
            Some(last) if last.projection == name => last.problems.push(problem),
            _ if is_meant(&name) => {
                tested.push(Tested { projection: name, outcomes: Vec::new(), problems: vec![problem] });
            }
            _ => {}
        }
    }
    let projections: Vec<Definition> = projections.into_iter().filter(|it| is_meant(&it.name)).collect();
    let nothing = tested.is_empty() && projections.is_empty();
    if let Some(name) = arguments.name.as_ref().filter(|name| nothing && *name != UPCASTERS) {
        return Err(Failed::new(Code::NotFound, format!("no projection {name} in {}", path.display())));
    }
    tested.iter().flat_map(|tested| &tested.problems).for_each(say_problem);
    let options = options(config)?;
    options.check().await?;
    let pool = options.statement_timeout(config.projector.batch_timeout).pool(1);
    for projection in &projections {
        tested.push(test(&pool, projection).await?);
    }
    if arguments.name.as_ref().is_none_or(|name| name == UPCASTERS) {
        tested.extend(upcasters(&pool, path).await?);
    }
    tested.sort_by(|a, b| a.projection.cmp(&b.projection));
    if let Some(file) = &arguments.junit {
        junit::write(file, &tested)
            .map_err(|error| Failed::new(Code::Failed, format!("{}: {error}", file.display())))?;
    }
    conclude(&tested)
}

/// Runs the cases that stand beside the upcasters, where there are any.
async fn upcasters(pool: &PgPool, path: &Path) -> Result<Option<Tested>, Failed> {
    let mut connection = pool.acquire().await?;
    let (cases, problems) = test_upcasters(&mut connection, path).await?;
    let outcomes: Vec<Outcome> = cases
        .into_iter()
        .map(|case| {
            let place = format!("{}:{}", case.file.display(), case.line);
            let failures = case.failure.map(|failure| format!("{place}: {failure}")).into_iter().collect();
            let file = case.file.file_stem().unwrap_or_default().to_string_lossy();
            let name = format!("{UPCASTERS}/{file}:{}", case.line);
            Outcome { name, failures, took: Duration::ZERO }
        })
        .collect();
    outcomes.iter().for_each(say);
    problems.iter().for_each(say_problem);
    let is_there = !outcomes.is_empty() || !problems.is_empty();
    Ok(is_there.then(|| Tested { projection: UPCASTERS.into(), outcomes, problems }))
}

/// Runs a projection's tests, each printed when it is done.
async fn test(pool: &PgPool, projection: &Definition) -> Result<Tested, Failed> {
    let (cases, mut problems) = tests_of(projection);
    if cases.is_empty() && problems.is_empty() {
        let place = projection.folder.join("tests");
        print::line(paint(
            Colour::Dim,
            format!("note: {} has no tests in {}", projection.name, place.display()),
        ));
    }
    problems.iter().for_each(say_problem);
    let mut outcomes = Vec::new();
    let mut connection = pool.acquire().await?;
    for case in &cases {
        match run_case(&mut connection, projection, case).await {
            Ok(outcome) => {
                say(&outcome);
                outcomes.push(outcome);
            }
            Err(TestError::Projection(found)) => {
                found.iter().for_each(say_problem);
                problems.extend(found);
                break;
            }
            Err(TestError::Postgres(error)) => return Err(error.into()),
        }
    }
    Ok(Tested { projection: projection.name.clone(), outcomes, problems })
}

fn say(outcome: &Outcome) {
    let time = paint(Colour::Dim, format!("{} ms", outcome.took.as_millis()));
    let word = match outcome.passed() {
        true => paint(Colour::Green, "ok:"),
        false => paint(Colour::Red, "failed:"),
    };
    print::line(format!("{word} {} {time}", outcome.name));
    for failure in &outcome.failures {
        failure.lines().for_each(|line| print::line(format!("  {line}")));
    }
}

fn say_problem(problem: &Problem) {
    print::line(format!("{} {problem}", paint(Colour::Red, "problem:")));
}

fn conclude(tested: &[Tested]) -> Result<Code, Failed> {
    let outcomes = || tested.iter().flat_map(|tested| &tested.outcomes);
    let failed = outcomes().filter(|outcome| !outcome.passed()).count();
    print::line(format!("{} passed, {failed} failed", outcomes().count() - failed));
    match tested.iter().map(|tested| tested.problems.len()).sum::<usize>() {
        0 if failed == 0 => Ok(Code::Done),
        0 => Err(Failed::new(Code::Failed, format!("{failed} {} failed", plural(failed, "test")))),
        count => Err(Failed::new(Code::Config, format!("{count} {}", plural(count, "problem")))),
    }
}

fn plural(count: usize, word: &str) -> String {
    format!("{word}{}", if count == 1 { "" } else { "s" })
}
