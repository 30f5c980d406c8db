//! Append and load: a store is a list of events for each stream.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::json;
use uuid::Uuid;

use projectord::event::{Commit, NewEvent, StreamId, Version};
use projectord::store::{
    AppendError, EventStore, ExpectedVersion, LoadError, MemoryStore, PostgresStore, RethinkStore, Settings,
};

use super::check;
use crate::support::{Project, new_rethink_database};

#[derive(Debug, Clone)]
enum StoreOp {
    /// To one of three streams, expecting it where it is plus so much; nothing expected where none.
    Append {
        stream: usize,
        off_by: Option<i64>,
        events: usize,
    },
    /// One of the commits of before, at its place.
    Again(Index),
    Load {
        stream: usize,
        from: u64,
    },
}

fn store_op() -> impl Strategy<Value = StoreOp> {
    let off_by = prop_oneof![3 => Just(Some(0)), 1 => Just(Some(-1)), 1 => Just(Some(1)), 2 => Just(None)];
    prop_oneof![
        4 => (0..3_usize, off_by, 1..4_usize)
            .prop_map(|(stream, off_by, events)| StoreOp::Append { stream, off_by, events }),
        1 => any::<Index>().prop_map(StoreOp::Again),
        2 => (0..3_usize, 1..8_u64).prop_map(|(stream, from)| StoreOp::Load { stream, from }),
    ]
}

pub(super) async fn in_memory() {
    append_and_load(Box::new(MemoryStore::new(Settings::default())), 300).await;
}

pub(super) async fn on_postgresql() {
    let project = Project::new().await;
    let store = PostgresStore::new(&project.postgres_url.parse().unwrap(), Settings::default());
    store.setup().await.unwrap();
    append_and_load(Box::new(store), 60).await;
}

pub(super) async fn on_rethinkdb() {
    let store = RethinkStore::new(new_rethink_database().parse().unwrap(), Settings::default());
    store.setup().await.unwrap();
    append_and_load(Box::new(store), 40).await;
}

async fn append_and_load(store: Box<dyn EventStore>, cases: u32) {
    check(cases, &vec(store_op(), 1..25), async |ops| {
        let streams: Vec<StreamId> = (0..3).map(|_| StreamId::random()).collect();
        let mut model: Vec<Vec<String>> = vec![Vec::new(); 3];
        let mut done: Vec<(usize, u64, Commit)> = Vec::new();
        for op in ops {
            match op {
                StoreOp::Append { stream, off_by, events } => {
                    let version = model[stream].len() as u64;
                    let expected = off_by.map(|off_by| version.saturating_add_signed(off_by));
                    let names: Vec<String> = (0..events).map(|_| Uuid::new_v4().to_string()).collect();
                    let new = names.iter().map(|name| NewEvent::from_json("Named", json!(name))).collect();
                    let commit = Commit::new("model", new);
                    let appended =
                        store.append_to_stream(streams[stream], expecting(expected), commit.clone()).await;
                    if expected.is_none_or(|expected| expected == version) {
                        assert_eq!(appended.unwrap().version.0, version + events as u64);
                        model[stream].extend(names);
                        // With `Any`, a commit id is remembered by the call alone.
                        done.extend(expected.map(|at| (stream, at, commit)));
                    } else {
                        let Err(AppendError::Conflict { actual, .. }) = appended else {
                            panic!("{appended:?} at {version}, expecting {expected:?}");
                        };
                        assert_eq!(actual.0, version);
                    }
                }
                StoreOp::Again(index) => {
                    if done.is_empty() {
                        continue;
                    }
                    let (stream, at, commit) = &done[index.index(done.len())];
                    let events = commit.events.len() as u64;
                    let again =
                        store.append_to_stream(streams[*stream], expecting(Some(*at)), commit.clone()).await;
                    assert_eq!(again.unwrap().version.0, at + events, "the first result");
                }
                StoreOp::Load { stream, from } => {
                    let loaded = store.load_stream(streams[stream], Version(from)).await;
                    if model[stream].is_empty() {
                        assert!(matches!(loaded, Err(LoadError::NotFound { .. })), "{loaded:?}");
                        continue;
                    }
                    let loaded = loaded.unwrap();
                    assert_eq!(loaded.version.0, model[stream].len() as u64);
                    let names: Vec<_> = loaded.events.iter().map(|it| it.data.as_str().unwrap()).collect();
                    let skip = usize::try_from(from - 1).unwrap();
                    assert_eq!(names, model[stream].iter().skip(skip).collect::<Vec<_>>());
                }
            }
        }
    });
}

fn expecting(version: Option<u64>) -> ExpectedVersion {
    match version {
        None => ExpectedVersion::Any,
        Some(0) => ExpectedVersion::NoStream,
        Some(version) => ExpectedVersion::Exact(Version(version)),
    }
}
