//! What the fuzzer throws bytes at: each function must come to an end without a panic, and what it
//! accepts must be what it says. `fuzz/` has the targets; the tests drive them too, for a short while.

use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use crate::cli::read_lines;
use crate::config;
use crate::event::{Commit, Limits, NewEvent, StreamId};
use crate::projection;

/// An event's rules: what is accepted is accepted again, unchanged, also when it was written and read.
pub fn event(bytes: &[u8]) {
    let Ok(given) = serde_json::from_slice::<Value>(bytes) else { return };
    let field = |name: &str| given.get(name).cloned().unwrap_or_default();
    let event_type = field("type").as_str().unwrap_or("Fuzzed").to_owned();
    let stream = StreamId::random();
    let event = NewEvent::from_json(event_type, given.clone()).with_metadata(field("metadata"));
    let limits = Limits::default();
    let accepted = match Commit::new("fuzz", vec![event]).prepare(stream, &limits) {
        Ok(accepted) => accepted,
        Err(refusal) => {
            assert!(!refusal.reason.is_empty() && !refusal.to_string().contains('\n'), "{refusal}");
            return;
        }
    };
    let NewEvent { event_type, data, metadata } = &accepted.events[0];
    let text = json!({"type": event_type, "data": data, "metadata": metadata}).to_string();
    let mut read: Value = serde_json::from_str(&text).expect("what was accepted is JSON");
    let again = NewEvent::from_json(event_type.as_str(), read["data"].take());
    let again = again.with_metadata(read["metadata"].take());
    let again = Commit::new("fuzz", vec![again]).prepare(stream, &limits).expect("accepted once, and again");
    assert_eq!(again.events, accepted.events, "read back as it was written");
}

/// `projectord import`: the lines that are taken are as many as there are, and come out the same from what
/// they are exported to; the one that is not is named by its number.
pub fn import(bytes: &[u8]) {
    let (read, pieces) = read_lines(bytes);
    match read {
        Ok(lines) => {
            let events: usize = pieces.iter().map(|(_, commit)| commit.events.len()).sum();
            assert!(events as u64 <= lines, "{events} events of {lines} lines");
        }
        Err(error) => {
            let number = error.strip_prefix("fuzz:").and_then(|rest| rest.split(':').next());
            assert!(number.is_some_and(|number| number.parse::<u64>().is_ok()), "{error}");
            assert!(!error.contains('\n'), "one line: {error}");
        }
    }
    let mut exported = Vec::new();
    for (stream, commit) in &pieces {
        for NewEvent { event_type, data, metadata } in &commit.events {
            let line = json!({"stream_id": stream, "stream_type": commit.stream_type, "type": event_type, "data": data, "metadata": metadata});
            writeln!(exported, "{line}").expect("memory takes it");
        }
    }
    let (again, same) = read_lines(&exported);
    again.expect("what was taken is taken again");
    assert_eq!(same, pieces, "under the same commit ids");
}

/// A projection's folder: `projection.toml`, a zero byte, and a handler.
pub fn projection(folder: &Path, bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let folder = folder.join("fuzzed");
    std::fs::create_dir_all(&folder).expect("a folder");
    let write = |name: &str, text: &[u8]| std::fs::write(folder.join(name), text).expect("a file");
    write("projection.toml", parts.next().unwrap_or_default());
    write("A.sql", parts.next().unwrap_or(b"select 1;"));
    write("schema.sql", b"create table t (n bigint);");
    match projection::load(&folder) {
        Ok(projection) => {
            let compiled = projection::compile(&projection);
            assert_eq!(
                projection::load(&folder).map(|it| it.fingerprint()).ok(),
                Some(projection.fingerprint())
            );
            drop(compiled);
            for handler in &projection.handlers {
                let found = projection::statements(&handler.sql);
                found.plain.iter().for_each(|statement| drop(statement.probe(&handler.sql)));
                drop(projection::mentions(&handler.sql));
            }
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            for problem in problems {
                assert!(!problem.to_string().contains('\n'), "one line: {problem}");
            }
        }
    }
}

/// `config.toml`: everything that is wrong is a line of its own.
pub fn configuration(folder: &Path, bytes: &[u8]) {
    let file = folder.join("fuzzed.toml");
    std::fs::write(&file, bytes).expect("a file");
    if let Err(error) = config::load(Some(&file)) {
        assert!(!error.0.is_empty());
        assert!(error.0.iter().all(|problem| !problem.is_empty() && !problem.contains('\n')), "{error}");
    }
}
