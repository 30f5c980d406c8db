//! `projectord undo`: readers see the rows again that were there before the last swap.

use clap::Args;

use super::exit::{Code, Failed};
use super::operator::{confirm, operator};
use super::print;
use crate::config::Config;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The projection.
    name: String,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

pub(super) async fn run(config: &Config, arguments: &Arguments) -> Result<Code, Failed> {
    let control = operator(config).await?;
    let (name, kept) = (arguments.name.as_str(), config.rebuild.keep_old);
    let live = control.generation(name).await?;
    let old = control.retired(name, kept).await?;
    if !arguments.yes {
        let (generation, until) = (old.generation, old.keep_until.format("%T"));
        confirm(&format!("show readers generation {generation} of {name} again (kept until {until})"))?;
    }
    print::line(control.undo(name, live, old.generation, kept).await?);
    Ok(Code::Done)
}
