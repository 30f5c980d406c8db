//! `projectord operations`: what operators did.

use clap::Args;
use serde_json::Value;

use super::exit::{Code, Failed};
use super::operator::operator;
use super::print::{self, Colour, paint};
use crate::config::Config;
use crate::control::Operation;

pub(super) const EXAMPLES: &str = "Examples:
  projectord operations
  projectord operations orders --limit 200 --json

The newest come first. The record cannot be changed, only added to.";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// One projection; all of them without it.
    name: Option<String>,
    /// The most to show.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(config: &Config, arguments: &Arguments) -> Result<Code, Failed> {
    let operations = operator(config).await?.operations(arguments.name.as_deref(), arguments.limit).await?;
    for operation in &operations {
        if arguments.json {
            print::line(serde_json::to_string(operation).map_err(|error| Failed::new(Code::Failed, error))?);
        } else {
            show(operation);
        }
    }
    if operations.is_empty() && !arguments.json {
        print::line("nothing is on record");
    }
    Ok(Code::Done)
}

fn show(operation: &Operation) {
    let Operation { at, who, what, projection, detail } = operation;
    let (at, who) = (paint(Colour::Dim, at.format("%F %T")), print::plain(who));
    let projection = print::plain(projection.as_deref().unwrap_or_default());
    let detail: Vec<String> = detail
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, value)| !value.is_null() && **value != Value::Bool(false))
        .map(|(key, value)| format!("{key} {}", print::plain(value)))
        .collect();
    let what = paint(Colour::Bold, format!("{:<8}", print::plain(what)));
    print::line(format!("{at}  {what}  {projection}  {who}  {}", detail.join(", ")).trim_end());
}
