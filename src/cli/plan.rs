//! `projectord plan`: what a rebuild will take, and why one is due.

use clap::Args;

use super::exit::{Code, Failed};
use super::operator::operator;
use super::print::{self, Colour, paint};
use crate::config::Config;
use crate::control::Line;

pub(super) const EXAMPLES: &str = "Example:
  projectord plan orders

It reads the projection's folder as it is now, and changes nothing.";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The projection.
    name: String,
}

pub(super) async fn run(config: &Config, arguments: &Arguments) -> Result<Code, Failed> {
    let plan = operator(config).await?.plan(&config.projections.path, &arguments.name).await?;
    for Line { what, text } in plan {
        let text = match text.split_once(' ') {
            Some(("-", column)) => format!("{} {column}", paint(Colour::Red, "-")),
            Some(("+", column)) => format!("{} {column}", paint(Colour::Green, "+")),
            _ => text,
        };
        print::line(format!("{} {text}", paint(Colour::Dim, format!("{what:<8}"))));
    }
    Ok(Code::Done)
}
