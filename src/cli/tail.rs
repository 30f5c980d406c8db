//! `projectord tail`

use std::time::Duration;

use clap::Args;
use sqlx::postgres::PgListener;

use super::exit::{Code, Failed};
use super::print::{self, Colour};
use crate::config::Config;
use crate::control::open_pool;
use crate::event::Position;
use crate::log::{BELL, Filter, Log, LogEvent};
use crate::projection::Pattern;

/// How many events to show from before, where no position is given.
const BEFORE: u64 = 10;
const PAGE: u32 = 500;
/// How often to look without having heard the bell.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The first position to print; the newest ten events unless given.
    #[arg(long, value_name = "POSITION")]
    from: Option<u64>,
    /// Only events of this type; * and ? stand for any text and any character.
    #[arg(long = "type", value_name = "GLOB", value_parser = Pattern::new)]
    event_type: Option<Pattern>,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    /// Print what is there and end.
    #[arg(long)]
    no_follow: bool,
}

pub(super) async fn run(config: &Config, arguments: Arguments) -> Result<Code, Failed> {
    let pool = open_pool(config).await?;
    let log = Log::new(pool.clone());
    let filter = Filter { type_like: arguments.event_type.as_ref().map(Pattern::to_like), stream: None };
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen(BELL).await?;
    let mut after = match arguments.from {
        Some(from) => Position(from.saturating_sub(1)),
        None => Position(log.head().await?.0.saturating_sub(BEFORE)),
    };
    loop {
        let (events, read_to) = log.page(after, PAGE, &filter).await?;
        let full = events.len() == PAGE as usize;
        for event in &events {
            show(event, arguments.json);
        }
        after = read_to;
        if !full {
            if arguments.no_follow {
                return Ok(Code::Done);
            }
            // The bell only saves waiting; what it says is read from the log.
            let _ = tokio::time::timeout(PATIENCE, listener.try_recv()).await;
        }
    }
}

fn show(event: &LogEvent, json: bool) {
    if json {
        print::line(serde_json::to_string(event).unwrap_or_default());
        return;
    }
    let LogEvent { position, stream_id, version, event_type, data, .. } = event;
    let (stream, event_type) =
        (print::paint(Colour::Dim, stream_id), print::paint(Colour::Bold, print::plain(event_type)));
    let data = print::plain(data);
    print::line(format!("{position:>8}  {stream} {version:>4}  {event_type}  {data}"));
}
