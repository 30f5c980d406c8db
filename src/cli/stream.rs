//! `projectord stream STREAM`

use clap::Args;

use super::exit::{Code, Failed};
use super::print::{self, Colour};
use crate::config::Config;
use crate::control::Store;
use crate::event::{StreamId, Version};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The stream's UUID.
    stream: StreamId,
    /// The first version to print.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(config: &Config, arguments: &Arguments) -> Result<Code, Failed> {
    let store = Store::open(config)?;
    let loaded = store.events().load_stream(arguments.stream, Version(arguments.from)).await?;
    for event in &loaded.events {
        if arguments.json {
            print::line(serde_json::to_string(event).unwrap_or_default());
        } else {
            let (version, event_type) = (event.version, print::plain(&event.event_type));
            let data = print::plain(&event.data);
            let time = event.recorded_at.format("%F %T%.3f");
            print::line(format!(
                "{version:>6}  {}  {}  {data}",
                print::paint(Colour::Dim, time),
                print::paint(Colour::Bold, event_type)
            ));
        }
    }
    if !arguments.json {
        print::line(print::paint(
            Colour::Dim,
            format!("stream {} is at version {}", arguments.stream, loaded.version),
        ));
    }
    Ok(Code::Done)
}
