//! `projectord append STREAM TYPE DATA`

use clap::Args;
use serde_json::Value;

use super::exit::{Code, Failed};
use super::print;
use crate::config::Config;
use crate::control::Store;
use crate::event::{Commit, CommitId, NewEvent, StreamId, Version};
use crate::store::{EventStore, ExpectedVersion, LoadError};

pub(super) const EXAMPLES: &str = "Examples:
  projectord append $(uuidgen) OrderCreated '{\"user_id\": 7, \"total\": 12.5}' --stream-type order --expect none
  projectord append 6763e85f-f8d5-5bee-ad04-4ed1d6d49798 StatusChanged '{\"status\": \"sent\"}' --expect 1";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The stream's UUID.
    stream: StreamId,
    /// What happened.
    #[arg(value_name = "TYPE")]
    event_type: String,
    /// The payload, as JSON.
    #[arg(value_parser = json, allow_negative_numbers = true)]
    data: Value,
    /// Where the stream must be: none, any, or a version.
    #[arg(long, value_name = "none|any|N", default_value = "any", value_parser = expected)]
    expect: ExpectedVersion,
    /// Who, why, correlation; as JSON.
    #[arg(long, value_name = "JSON", default_value = "{}", value_parser = json)]
    metadata: Value,
    /// What kind of aggregate a new stream is; an existing one has its own.
    #[arg(long, value_name = "TYPE")]
    stream_type: Option<String>,
    /// The commit's UUID, so that the same command again adds nothing (with --expect none or N).
    #[arg(long, value_name = "UUID")]
    commit_id: Option<CommitId>,
}

pub(super) async fn run(config: &Config, arguments: Arguments) -> Result<Code, Failed> {
    let store = Store::open(config)?;
    let stream = arguments.stream;
    let stream_type = match arguments.stream_type {
        Some(stream_type) => stream_type,
        None => type_of(store.events(), stream).await?,
    };
    let event = NewEvent::from_json(arguments.event_type, arguments.data).with_metadata(arguments.metadata);
    let mut commit = Commit::new(stream_type, vec![event]);
    if let Some(id) = arguments.commit_id {
        commit = commit.with_id(id);
    }
    let appended = store.events().append_to_stream(stream, arguments.expect, commit).await?;
    print::line(format!("{stream} {}", appended.version));
    Ok(Code::Done)
}

/// The type that the stream has, or the plainest for a new one.
async fn type_of(store: &dyn EventStore, stream: StreamId) -> Result<String, Failed> {
    match store.load_stream(stream, Version(u64::from(u32::MAX))).await {
        Err(LoadError::NotFound(_)) => Ok("stream".into()),
        Err(error) => Err(error.into()),
        Ok(_) => {
            let loaded = store.load_stream(stream, Version(1)).await?;
            Ok(loaded.events.into_iter().next().map(|event| event.stream_type).unwrap_or_default())
        }
    }
}

fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))
}

fn expected(text: &str) -> Result<ExpectedVersion, String> {
    match text {
        "none" => Ok(ExpectedVersion::NoStream),
        "any" => Ok(ExpectedVersion::Any),
        number => match number.parse() {
            Ok(version) => Ok(ExpectedVersion::Exact(Version(version))),
            Err(_) => Err("none, any, or a version".into()),
        },
    }
}
