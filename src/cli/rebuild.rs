//! `projectord rebuild`: a new generation in the place of the live one.

use std::fmt::Write;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use sqlx::types::Json;

use super::exit::{Code, Failed};
use super::operator::{ask, confirm, operator, said};
use super::{print, verify};
use crate::config::Config;
use crate::control::{Control, Standing};
use crate::projector::Rebuild;

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
    /// Although objects outside depend on the tables, such as views: they go with the old rows.
    #[arg(long, conflicts_with = "cancel")]
    force: bool,
    /// Drop the generation that is being built.
    #[arg(long)]
    cancel: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

pub(super) async fn run(config: &Config, arguments: Arguments) -> Result<Code, Failed> {
    let control = operator(config).await?;
    let name = arguments.name.as_str();
    if arguments.cancel {
        print::line(control.cancel(name).await?);
        return Ok(Code::Done);
    }
    let now = control.standing(name).await?;
    let live = now.generation;
    if now.building.is_some() && now.held && !arguments.in_place {
        // Somebody has built it to look at it: that is done now.
        return go_on_with_held(config, &control, &arguments, live).await;
    }
    let plan = control.what_it_takes(name, arguments.force, config.rebuild.keep_old).await?;
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
    control.rebuild(name, how, arguments.force).await?;
    plan.iter().for_each(print::line);
    said(&control, &format!("{name} will be rebuilt")).await?;
    if arguments.verify {
        held(&control, name).await?;
        return go_on_with_held(config, &control, &arguments, live).await;
    }
    if !arguments.wait {
        return Ok(Code::Done);
    }
    wait(&control, name, |now| now.generation > live && now.checkpoint >= now.built_to).await?;
    let now = control.standing(name).await?;
    let events = print::thousands(now.checkpoint.unsigned_abs());
    print::line(format!("{name} is rebuilt: generation {}, {events} events", now.generation));
    Ok(Code::Done)
}

/// Waits until a generation stands beside the live one, caught up and held; which one.
pub(super) async fn held(control: &Control, name: &str) -> Result<i64, Failed> {
    let is_held = |now: &Standing| now.building.is_some() && now.held && now.built >= now.head;
    wait(control, name, is_held).await?;
    let now = control.standing(name).await?;
    now.building.ok_or_else(|| Failed::new(Code::Failed, format!("{name} is not being built any more")))
}

/// Compares what is held, where that is asked for, and lets it take the live one's place.
async fn go_on_with_held(
    config: &Config,
    control: &Control,
    arguments: &Arguments,
    live: i64,
) -> Result<Code, Failed> {
    let name = arguments.name.as_str();
    if arguments.verify {
        let next = held(control, name).await?;
        verify::say_of_other_files(config, control, name, next).await?;
        let same = verify::compare_and_show(control, name, live, next).await?;
        let question = if same { "The rows are the same. Swap?" } else { "Let readers see the new rows?" };
        if !arguments.yes && !ask(question) {
            control.drop_generation(name, next).await?;
            print::line(format!("the live rows of {name} stay; generation {next} is dropped"));
            return Ok(if same { Code::Done } else { Code::Failed });
        }
    }
    control.swap(name, arguments.force).await?;
    wait(control, name, |now| now.generation > live).await?;
    let now = control.standing(name).await?;
    print::line(format!(
        "readers of {name} see generation {} now; projectord undo {name} goes back",
        now.generation
    ));
    Ok(Code::Done)
}

/// Shows how far it is until it is `done`.
async fn wait(control: &Control, name: &str, done: impl Fn(&Standing) -> bool) -> Result<(), Failed> {
    let style = "{msg} {wide_bar} {human_pos}/{human_len} events, {rate}, {eta} left";
    let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
    let style = style.with_key("rate", |state: &ProgressState, to: &mut dyn Write| {
        let _ = write!(to, "{:.0}/s", state.per_sec());
    });
    let head = control.standing(name).await?.head.unsigned_abs();
    let bar = ProgressBar::new(head).with_style(style);
    bar.set_message(name.to_owned());
    let mut last_seen = Instant::now();
    loop {
        if control.daemons().await? > 0 {
            last_seen = Instant::now();
        } else if last_seen.elapsed() > NOBODY {
            bar.abandon();
            let message = "no daemon is running; the rebuild begins when one starts";
            return Err(Failed::new(Code::Failed, message));
        }
        let now = control.standing(name).await?;
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
            None if now.asked => (0, now.head),
            None => (now.checkpoint.min(now.built_to), now.built_to),
        };
        bar.set_length(of.unsigned_abs());
        bar.set_position(at.unsigned_abs());
        tokio::time::sleep(LOOK).await;
    }
}
