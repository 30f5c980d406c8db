//! `projectord import FILE`: events from NDJSON into the store.
//!
//! The file's events of a stream are that stream's versions 1, 2, … So a second run finds them there and
//! adds nothing, an interrupted one is simply run again, and a stream that holds something else is an
//! error and not a mixture.

mod lines;
mod write;

#[cfg(feature = "testing")]
use std::cell::RefCell;
use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::mpsc;

use super::exit::{Code, Failed};
use super::print::{self, thousands};
use crate::config::Config;
use crate::control::Store;
#[cfg(feature = "testing")]
use crate::event::{Commit, Limits, StreamId};

pub(super) const EXAMPLES: &str = "Each line is one event:
  {\"stream_id\": \"<uuid>\", \"stream_type\": \"order\", \"type\": \"OrderCreated\", \"data\": {}, \"metadata\": {}}

Examples:
  projectord import events.ndjson.gz
  zcat events.ndjson.gz | projectord import - --stream-type order --batch 100";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The file, plain or gzip; - for standard input.
    file: PathBuf,
    /// The stream type of lines that have none.
    #[arg(long, value_name = "T")]
    stream_type: Option<String>,
    /// How many consecutive lines of one stream may share a commit.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    batch: u64,
    /// How many appends are under way at once, on RethinkDB; streams keep their order.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..=256))]
    writers: u64,
}

/// For the fuzzer: what reading these bytes comes to, and the commits that were handed on.
#[cfg(feature = "testing")]
pub(crate) fn read_lines(bytes: &[u8]) -> (Result<u64, String>, Vec<(StreamId, Commit)>) {
    let pieces = RefCell::new(Vec::new());
    let source = lines::Source::of_bytes("fuzz", bytes.to_vec());
    let read = lines::read(source, Some("fuzz"), 3, Limits::default(), |piece| {
        pieces.borrow_mut().push((piece.stream, piece.commit));
        true
    });
    (read, pieces.into_inner())
}

/// What was done.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    added: u64,
    known: u64,
}

pub(super) async fn run(config: &Config, arguments: Arguments) -> Result<Code, Failed> {
    let mut config = config.clone();
    config.store.connections = config.store.connections.max(usize::try_from(arguments.writers).unwrap_or(1));
    let limits = config.store.settings().limits;
    let batch = usize::try_from(arguments.batch).unwrap_or(1).min(limits.max_events);
    let store = Store::open(&config)?;
    let source = lines::open(&arguments.file).map_err(|error| Failed::new(Code::Failed, error))?;
    let name = source.name.clone();
    let (sender, pieces) = mpsc::channel(1024);
    let reader = tokio::task::spawn_blocking(move || {
        lines::read(source, arguments.stream_type.as_deref(), batch, limits, |piece| {
            sender.blocking_send(piece).is_ok()
        })
    });

    let bar = ProgressBar::new_spinner().with_style(
        ProgressStyle::with_template("{spinner} {human_pos} events, {per_sec}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner()),
    );
    let written = match store {
        Store::Postgres(store) => write::in_order(&store, pieces, &bar).await,
        Store::Rethink(store) => write::by_stream(store, pieces, arguments.writers, &bar).await,
    };
    bar.finish_and_clear();
    // What was read before a bad line is written, and nothing after it.
    let read = reader.await.map_err(|error| Failed::new(Code::Failed, error))?;
    let Tally { added, known } = match written {
        Ok(tally) => tally,
        Err(failed) => {
            return Err(Failed { message: format!("{name}{}", failed.message), ..failed });
        }
    };
    let done = format!("{} events added, {} were there already", thousands(added), thousands(known));
    match read {
        Ok(lines) => {
            print::line(format!("{} lines: {done}", thousands(lines)));
            Ok(Code::Done)
        }
        Err(problem) => Err(Failed::new(Code::Failed, format!("{problem}; stopped before it: {done}"))),
    }
}
