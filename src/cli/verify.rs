//! `projectord verify`: a fresh build of a read model, held against the live one, row by row.

use clap::Args;
use serde_json::Value;
use std::time::{Duration, Instant};

use super::exit::{Code, Failed};
use super::operator::said;
use super::print::{self, Colour, paint, plain, thousands};
use super::rebuild::held;
use crate::config::Config;
use crate::control::{Control, options, this_user};
use crate::projection::load_all;
use crate::projector::{Comparison, Rebuild, RowDifference, TableDifference};

pub(super) const EXAMPLES: &str = "Example:
  projectord verify orders     # every night: ends with 1 where the rows are not those of a replay

It builds a generation beside the live one, compares both at the same position of the log, and drops it again.";

/// Comparing takes as long as it takes.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The projection.
    name: String,
}

pub(super) async fn run(config: &Config, arguments: &Arguments) -> Result<Code, Failed> {
    let options = options(config)?;
    options.check().await?;
    let control = Control::new(options.statement_timeout(PATIENCE).pool(3), this_user());
    let name = arguments.name.as_str();
    let now = control.standing(name).await?;
    if now.building.is_some() {
        return Err(Failed::new(
            Code::Conflict,
            format!("{name} is being rebuilt: compare with `projectord rebuild {name} --verify`"),
        ));
    }
    control.rebuild(name, Rebuild::Held, true).await?;
    said(&control, &format!("{name} will be built beside the live rows")).await?;
    let next = held(&control, name).await?;
    say_of_other_files(config, &control, name, next).await?;
    let same = compare_and_show(&control, name, now.generation, next).await;
    control.drop_generation(name, next).await?;
    Ok(if same? { Code::Done } else { Code::Failed })
}

/// What is built is made of the files that the daemon has loaded. Says so where those here are others.
pub(super) async fn say_of_other_files(
    config: &Config,
    control: &Control,
    name: &str,
    built: i64,
) -> Result<(), Failed> {
    // Whoever has no files here, or others by design, looks at what the daemon has.
    let Ok((here, _)) = load_all(&config.projections.path) else { return Ok(()) };
    let Some(here) = here.into_iter().find(|it| it.name == name) else { return Ok(()) };
    if control.fingerprint(name, built).await?.is_some_and(|built| built != here.fingerprint()) {
        print::line(changed(&format!(
            "generation {built} is made of the files that the daemon has loaded, and those in {} are others: \
             to see what they make, let the daemon reload them (SIGHUP)",
            here.folder.display()
        )));
    }
    Ok(())
}

/// Compares, and prints what differs; whether nothing does.
pub(super) async fn compare_and_show(
    control: &Control,
    name: &str,
    live: i64,
    next: i64,
) -> Result<bool, Failed> {
    let begun = Instant::now();
    let found = control.compare(name, live, next).await?;
    show(&found, begun.elapsed());
    Ok(found.is_same())
}

fn show(found: &Comparison, took: Duration) {
    for table in &found.tables {
        let TableDifference { table: name, rows, columns, different, .. } = table;
        let count = |rows: Option<i64>| thousands(rows.unwrap_or(0).unsigned_abs());
        match rows {
            (Some(_), None) => print::line(changed(&format!("{name}: the new rows have no such table"))),
            (None, Some(_)) => print::line(changed(&format!("{name}: a new table, {} rows", count(rows.1)))),
            _ if table.is_same() => {
                print::line(format!("{} {name}: {} rows", paint(Colour::Green, "same"), count(rows.0)));
            }
            _ => print::line(changed(&format!(
                "{name}: {different} rows differ; {} rows live, {} new",
                count(rows.0),
                count(rows.1)
            ))),
        }
        for (which, columns) in [("only in the live rows", &columns.0), ("new", &columns.1)] {
            if !columns.is_empty() {
                print::line(format!("    columns {which}: {}", columns.join(", ")));
            }
        }
        show_rows(table);
    }
    let seconds = took.as_secs_f64();
    print::line(paint(Colour::Dim, format!("compared at position {} in {seconds:.2} s", found.position)));
}

fn changed(what: &str) -> String {
    format!("{} {what}", paint(Colour::Yellow, "differs"))
}

/// A line for each value that differs, with the row's key.
fn show_rows(table: &TableDifference) {
    let mut lines = vec![["row".to_owned(), "column".into(), "live".into(), "new".into()]];
    for row in &table.differing {
        lines.extend(values(row, &table.key));
    }
    if lines.len() == 1 {
        return;
    }
    let width =
        |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0).min(60);
    let widths = [width(0), width(1), width(2)];
    for (nth, [row, column, live, next]) in lines.iter().enumerate() {
        let line =
            format!("    {row:<0$}  {column:<1$}  {live:<2$}  {next}", widths[0], widths[1], widths[2]);
        print::line(if nth == 0 { paint(Colour::Dim, line) } else { line });
    }
    let more = table.different - i64::try_from(table.differing.len()).unwrap_or(0);
    if more > 0 {
        print::line(paint(Colour::Dim, format!("    and {more} more rows")));
    }
}

fn values(row: &RowDifference, key: &[String]) -> Vec<[String; 4]> {
    let either = row.live.as_ref().or(row.next.as_ref());
    let name = match (key, either) {
        ([], Some(whole)) => plain(whole),
        (key, Some(whole)) => key.iter().map(|column| text(whole.get(column))).collect::<Vec<_>>().join(" "),
        (_, None) => String::new(),
    };
    let (Some(live), Some(next)) = (&row.live, &row.next) else {
        let (live, next) =
            if row.live.is_some() { ("there", "no such row") } else { ("no such row", "there") };
        return vec![[name, "(all)".into(), live.into(), next.into()]];
    };
    let columns = live.as_object().into_iter().flat_map(|row| row.keys());
    columns
        .filter(|column| live.get(column) != next.get(column))
        .map(|column| [name.clone(), column.clone(), text(live.get(column)), text(next.get(column))])
        .collect()
}

fn text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "null".into(),
        Some(Value::String(text)) => plain(text),
        Some(other) => plain(other),
    }
}
