//! `projectord parked`, `retry` and `skip`: events that were set aside because a handler failed.

use std::time::{Duration, Instant};

use clap::Args;
use sqlx::types::Json;

use super::exit::{Code, Failed};
use super::operator::{confirm, operator, said};
use super::print::{self, Colour, paint};
use crate::config::Config;
use crate::control::{Aside, Skippable};
use crate::event::StreamId;

/// How often to look whether a retry is done, and for how long.
const LOOK: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// One projection; all of them without it.
    name: Option<String>,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct RetryArguments {
    /// The projection.
    name: String,
    /// Only this stream.
    #[arg(long)]
    stream: Option<StreamId>,
}

#[derive(Debug, Args)]
pub(super) struct SkipArguments {
    /// The projection.
    name: String,
    /// The event's position in the log.
    position: i64,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

pub(super) async fn run(config: &Config, arguments: &Arguments) -> Result<Code, Failed> {
    let mut rows = operator(config).await?.parked(arguments.name.as_deref(), 0, None).await?;
    rows.sort_by(|a, b| (&a.projection, a.position).cmp(&(&b.projection, b.position)));
    for row in &rows {
        if arguments.json {
            print::line(serde_json::to_string(row).map_err(|error| Failed::new(Code::Failed, error))?);
            continue;
        }
        let Aside { projection, position, stream_id, version, event_type, state, since, error } = row;
        let event_type = print::plain(event_type);
        let since = since.format("%F %T");
        print::line(format!(
            "{projection}  {position}  {event_type}, version {version} of {stream_id}  {state} {since}"
        ));
        match error {
            // Nothing is to be done any more.
            Some(Json(error)) if state == "skipped" => {
                print::line(format!("    {}", print::plain(error.without_hint())));
            }
            Some(Json(error)) => print::line(format!("    {}", paint(Colour::Red, print::plain(error)))),
            None if state == "parked" => print::line("    waits behind an earlier event of its stream"),
            None => {}
        }
    }
    if rows.is_empty() && !arguments.json {
        print::line("nothing is parked");
    }
    Ok(Code::Done)
}

pub(super) async fn retry(config: &Config, arguments: &RetryArguments) -> Result<Code, Failed> {
    let control = operator(config).await?;
    let name = arguments.name.as_str();
    let stream = arguments.stream.map(|stream| stream.0);
    let asked = control.retry(name, stream).await?;
    if control.daemons().await? == 0 {
        return said(&control, &format!("{asked} parked events of {name} will be tried again")).await;
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = control.left(name, stream).await?;
        if left.wanted == 0 {
            let applied = i64::try_from(asked).unwrap_or(0) - left.parked;
            print::line(format!("{} applied, {} still parked", applied.max(0), left.parked));
            if left.parked > 0 {
                return Err(Failed::new(
                    Code::Halted,
                    format!("some failed again: projectord parked {name}"),
                ));
            }
            return Ok(Code::Done);
        }
        if Instant::now() > deadline {
            print::line(format!(
                "{} are still parked; they are tried while the projection runs",
                left.parked
            ));
            return Ok(Code::Done);
        }
        tokio::time::sleep(LOOK).await;
    }
}

pub(super) async fn skip(config: &Config, arguments: &SkipArguments) -> Result<Code, Failed> {
    let control = operator(config).await?;
    let SkipArguments { name, position, yes } = arguments;
    let Skippable { event_type, stream_id, version } = control.skippable(name, *position).await?;
    if !yes {
        let event_type = print::plain(event_type);
        confirm(&format!(
            "leave event {position} ({event_type}, version {version} of stream {stream_id}) out of {name} for good, also when it is rebuilt"
        ))?;
    }
    let what = control.skip(name, *position).await?;
    said(&control, &what).await
}
