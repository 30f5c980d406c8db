//! The store on RethinkDB holds its promises when writers die half-way and tables are not as they were.

use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Trial;
use reql::r;
use serde_json::{Value, json};

use projectord::event::{Commit, NewEvent, StreamId, Version};
use projectord::store::rethinkdb::Head;
use projectord::store::{AppendError, EventStore, ExpectedVersion, LoadError, RethinkStore, Settings};

use crate::support::{Raw, new_rethink_database, rethink_trial};

pub fn trials() -> Vec<Trial> {
    vec![
        rethink_trial("rethinkdb::a_head_that_lags_is_repaired_by_the_next_append", lagging_head),
        rethink_trial("rethinkdb::a_head_that_was_never_made_hides_nothing", missing_head),
        rethink_trial("rethinkdb::heads_that_are_all_lost_hide_nothing", lost_heads),
        rethink_trial("rethinkdb::heads_are_moved_on_together_and_never_back", heads_moved_together),
        rethink_trial("rethinkdb::an_append_after_a_commit_that_was_lost_leaves_no_hole", lost_predecessor),
        rethink_trial("rethinkdb::an_append_into_the_middle_of_a_commit_conflicts", inside_a_commit),
        rethink_trial("rethinkdb::a_missing_version_is_an_error_and_not_skipped", missing_version),
        rethink_trial("rethinkdb::a_document_of_somebody_elses_is_named", foreign_document),
        rethink_trial("rethinkdb::setup_may_be_repeated_and_raced", setup_raced),
        rethink_trial("rethinkdb::a_table_that_may_lose_events_is_refused", soft_table),
        rethink_trial("rethinkdb::a_caller_that_goes_away_leaves_the_session_in_order", dropped_callers),
        rethink_trial("rethinkdb::a_server_that_is_away_is_said_and_retried_until_the_deadline", server_away),
    ]
}

async fn new_store() -> (RethinkStore, Raw) {
    let url = new_rethink_database();
    let store = RethinkStore::new(url.parse().unwrap(), Settings::default());
    store.setup().await.unwrap();
    (store, Raw::connect(&url).await)
}

fn commit(n: u64) -> Commit {
    Commit::new("counter", vec![NewEvent::from_json("Counted", json!({ "n": n }))])
}

async fn append_at(store: &RethinkStore, stream: StreamId, at: u64) -> Result<u64, AppendError> {
    let expected = ExpectedVersion::Exact(Version(at));
    store.append_to_stream(stream, expected, commit(at + 1)).await.map(|appended| appended.version.0)
}

async fn lagging_head() {
    let (store, raw) = new_store().await;
    let stream = StreamId::random();
    append_at(&store, stream, 0).await.unwrap();
    raw.commit_without_head(&stream.to_string(), 2, 0.0).await;
    raw.commit_without_head(&stream.to_string(), 3, 0.0).await;
    assert_eq!(store.load_stream(stream, Version(1)).await.unwrap().version, Version(3));
    // A writer that knows no better than the head conflicts, and learns where the stream is.
    let stale = append_at(&store, stream, 1).await;
    assert!(matches!(stale, Err(AppendError::Conflict { actual: Version(3), .. })), "{stale:?}");
    assert_eq!(raw.head(&stream.to_string()).await, 3);
    raw.commit_without_head(&stream.to_string(), 4, 0.0).await;
    assert_eq!(append_at(&store, stream, 4).await.unwrap(), 5);
    assert_eq!(raw.head(&stream.to_string()).await, 4);
    assert_eq!(store.load_stream(stream, Version(1)).await.unwrap().events.len(), 5);
}

async fn missing_head() {
    let (store, raw) = new_store().await;
    let stream = StreamId::random();
    raw.commit_without_head(&stream.to_string(), 1, 0.0).await;
    let taken = store.append_to_stream(stream, ExpectedVersion::NoStream, commit(1)).await;
    assert!(matches!(taken, Err(AppendError::Conflict { actual: Version(1), .. })), "{taken:?}");
    let other = StreamId::random();
    raw.commit_without_head(&other.to_string(), 1, 0.0).await;
    let any = store.append_to_stream(other, ExpectedVersion::Any, commit(2)).await.unwrap();
    assert_eq!(any.version, Version(2));
}

async fn lost_heads() {
    let (store, raw) = new_store().await;
    let stream = StreamId::random();
    for at in 0..30 {
        append_at(&store, stream, at).await.unwrap();
    }
    assert_eq!(raw.head(&stream.to_string()).await, Value::Null);
    let other_writer = RethinkStore::new(raw.url.parse().unwrap(), Settings::default());
    let wrong = append_at(&other_writer, stream, 29).await;
    assert!(matches!(wrong, Err(AppendError::Conflict { actual: Version(30), .. })), "{wrong:?}");
    let other_writer = RethinkStore::new(raw.url.parse().unwrap(), Settings::default());
    assert_eq!(append_at(&other_writer, stream, 30).await.unwrap(), 31);
    assert_eq!(raw.head(&stream.to_string()).await, 30);
}

async fn heads_moved_together() {
    let (store, raw) = new_store().await;
    let head = |stream, version| Head { stream, stream_type: "counter".into(), version: Version(version) };
    let streams: Vec<StreamId> = (0..450).map(|_| StreamId::random()).collect();
    let at_five: Vec<Head> = streams.iter().skip(150).map(|stream| head(*stream, 5)).collect();
    store.history().move_heads(&at_five).await.unwrap();
    // The first third is not there, the second is behind, the last is ahead.
    let versions = (0..450).map(|nth| if nth < 300 { 7 } else { 3 });
    let moved: Vec<Head> = streams.iter().zip(versions).map(|(stream, to)| head(*stream, to)).collect();
    store.history().move_heads(&moved).await.unwrap();
    for (nth, stream) in streams.iter().enumerate() {
        let expected = if nth < 300 { 7 } else { 5 };
        assert_eq!(raw.head(&stream.to_string()).await, expected, "head {nth}");
    }
    let document = raw.run(r.table("aggregates").get(streams[0].to_string())).await.pop().unwrap();
    assert_eq!((&document["type"], &document["id"]), (&json!("counter"), &json!(streams[0])));
    assert!(document["updated_at"].is_object() || document["updated_at"].is_string(), "{document}");
}

async fn lost_predecessor() {
    let (store, raw) = new_store().await;
    let stream = StreamId::random();
    append_at(&store, stream, 0).await.unwrap();
    append_at(&store, stream, 1).await.unwrap();
    // As a restore from an older dump does, under a writer that goes on.
    raw.run(r.table("events").get(format!("{stream}@{:016}", 2)).delete(())).await;
    let conflict = append_at(&store, stream, 2).await;
    assert!(matches!(conflict, Err(AppendError::Conflict { actual: Version(0 | 1), .. })), "{conflict:?}");
    assert_eq!(append_at(&store, stream, 1).await.unwrap(), 2);
    assert_eq!(store.load_stream(stream, Version(1)).await.unwrap().version, Version(2));
}

async fn inside_a_commit() {
    let (store, raw) = new_store().await;
    let stream = StreamId::random();
    let three =
        Commit::new("counter", (0..3).map(|n| NewEvent::from_json("Counted", json!({"n": n}))).collect());
    store.append_to_stream(stream, ExpectedVersion::NoStream, three).await.unwrap();
    let other_writer = RethinkStore::new(raw.url.parse().unwrap(), Settings::default());
    for writer in [&store, &other_writer] {
        for at in [1, 2, 4] {
            let refused = append_at(writer, stream, at).await;
            assert!(matches!(refused, Err(AppendError::Conflict { actual: Version(3), .. })), "{refused:?}");
        }
    }
}

async fn missing_version() {
    let (store, raw) = new_store().await;
    let stream = StreamId::random();
    for at in 0..5 {
        append_at(&store, stream, at).await.unwrap();
    }
    raw.run(r.table("events").get(format!("{stream}@{:016}", 3)).delete(())).await;
    let loaded = store.load_stream(stream, Version(1)).await;
    assert!(
        matches!(&loaded, Err(LoadError::Damaged { reason, .. }) if reason.contains("version 3")),
        "{loaded:?}"
    );
}

async fn foreign_document() {
    let (store, raw) = new_store().await;
    let stream = StreamId::random();
    append_at(&store, stream, 0).await.unwrap();
    let id = format!("{stream}@{:016}", 2);
    raw.run(r.table("events").insert(json!({"id": id, "by": "somebody else"}))).await;
    let loaded = store.load_stream(stream, Version(1)).await;
    assert!(matches!(&loaded, Err(LoadError::Damaged { reason, .. }) if reason.contains(&id)), "{loaded:?}");
}

async fn setup_raced() {
    let url = new_rethink_database();
    let store = Arc::new(RethinkStore::new(url.parse().unwrap(), Settings::default()));
    let setups: Vec<_> = (0..4)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.setup().await })
        })
        .collect();
    let mut ids = Vec::new();
    for setup in setups {
        ids.push(setup.await.unwrap().unwrap());
    }
    ids.push(store.setup().await.unwrap());
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

async fn soft_table() {
    let (store, raw) = new_store().await;
    let config = reql::Command::new(ql2::term::TermType::Config).with_arg(r.table("events"));
    raw.run(config.update(json!({"durability": "soft"}))).await;
    let error = store.setup().await.unwrap_err().to_string();
    assert!(error.contains("durability") && error.contains("hard"), "{error}");
}

async fn dropped_callers() {
    let (store, _raw) = new_store().await;
    let store = Arc::new(store);
    for round in 0..200 {
        let (store, stream) = (Arc::clone(&store), StreamId::random());
        let append = tokio::spawn(async move { append_at(&store, stream, 0).await });
        tokio::time::sleep(Duration::from_micros(round * 10)).await;
        append.abort();
    }
    // Answers still belong to their questions.
    let stream = StreamId::random();
    for at in 0..50 {
        assert_eq!(append_at(&store, stream, at).await.unwrap(), at + 1);
        let loaded = store.load_stream(stream, Version(1)).await.unwrap();
        assert!(
            loaded.events.iter().all(|event| event.stream_id == stream && event.data["n"] == event.version.0)
        );
    }
}

async fn server_away() {
    let port = projectord::private_server::free_port().unwrap();
    let url = format!("rethinkdb://writer:s3cret@127.0.0.1:{port}/shop");
    let settings = Settings { deadline: Duration::from_millis(600), ..Settings::default() };
    let store = RethinkStore::new(url.parse().unwrap(), settings);
    let begun = std::time::Instant::now();
    let outcome = append_at(&store, StreamId::random(), 0).await;
    let Err(AppendError::Unavailable { tries, reason, .. }) = outcome else { panic!("{outcome:?}") };
    assert!(tries > 1 && begun.elapsed() < Duration::from_secs(3), "{tries} tries in {:?}", begun.elapsed());
    assert!(reason.contains(&format!("127.0.0.1:{port}/shop")) && !reason.contains("s3cret"), "{reason}");
}
