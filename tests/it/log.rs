//! The log keeps what it was given: dense, in order, once, and for ever.

use chrono::Utc;
use libtest_mimic::Trial;
use serde_json::json;
use uuid::Uuid;

use projectord::event::{CommitId, Event, StreamId, Version};
use projectord::log::{Batch, ForeignStore, Log};
use projectord::postgres::migrate;

use crate::support::{Project, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("log::nothing_updates_or_deletes_an_event", nothing_updates_or_deletes_an_event),
        trial("log::any_batches_in_any_order_keep_streams_dense_and_in_order", any_batches_in_any_order),
        trial("log::another_store_is_refused", another_store_is_refused),
        trial("log::another_commit_at_the_same_place_is_refused", another_commit_is_refused),
        trial("log::a_log_that_copies_a_store_takes_no_direct_appends", takes_no_direct_appends),
        trial("log::setup_may_be_repeated_and_raced", setup_may_be_repeated_and_raced),
    ]
}

async fn new_log() -> (Project, Log) {
    let project = Project::new().await;
    migrate(&project.pool).await.unwrap();
    let log = Log::new(project.pool.clone());
    (project, log)
}

fn event(stream: StreamId, version: u64) -> Event {
    Event {
        stream_id: stream,
        stream_type: "counter".into(),
        version: Version(version),
        event_type: "Counted".into(),
        data: json!({ "n": version }),
        metadata: json!({}),
        commit_id: CommitId(Uuid::new_v5(&stream.0, &version.to_le_bytes())),
        recorded_at: Utc::now(),
    }
}

async fn nothing_updates_or_deletes_an_event() {
    let (project, log) = new_log().await;
    log.session()
        .await
        .unwrap()
        .add(Batch::new(Uuid::new_v4(), &[event(StreamId::random(), 1)]))
        .await
        .unwrap();
    for sql in [
        "update projectord.events set data = '{}'",
        "delete from projectord.events",
        "truncate projectord.events",
        "update projectord.events set version = 9 where false",
    ] {
        let error = sqlx::query(sql).execute(&project.pool).await.unwrap_err();
        assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("PJ003"), "{sql}");
    }
    assert_eq!(project.value("select count(*) from projectord.events").await, "1");
}

/// Twenty streams of thirty events, in batches drawn at random with repetition, until all are there.
async fn any_batches_in_any_order() {
    let (project, log) = new_log().await;
    let store = Uuid::new_v4();
    let streams: Vec<StreamId> = (0..20).map(|_| StreamId::random()).collect();
    let all: Vec<Event> =
        streams.iter().flat_map(|stream| (1..=30).map(|version| event(*stream, version))).collect();
    let mut head = 0;
    while head < all.len() as u64 {
        let size = fastrand::usize(1..60);
        let mut batch: Vec<Event> = (0..size).map(|_| all[fastrand::usize(..all.len())].clone()).collect();
        batch.sort_by_key(|event| (event.stream_id, event.version));
        batch.dedup_by_key(|event| (event.stream_id, event.version));
        fastrand::shuffle(&mut batch);
        let added = log.session().await.unwrap().add(Batch::new(store, &batch)).await.unwrap();
        head += added.events;
        assert_eq!(added.head.0, head);
        if fastrand::u8(..) < 8 {
            // Now and then what comes next everywhere, so that it ends.
            let versions = log.versions(&streams).await.unwrap();
            let next = streams.iter().zip(versions).filter(|(_, version)| version.0 < 30);
            let next: Vec<Event> = next.map(|(stream, version)| event(*stream, version.0 + 1)).collect();
            head += log.session().await.unwrap().add(Batch::new(store, &next)).await.unwrap().events;
        }
    }
    for (what, sql) in [
        (
            "positions are dense",
            "select count(*) = max(position) and min(position) = 1 from projectord.events",
        ),
        (
            "versions follow positions",
            "select bool_and(version = nth) from (select version, row_number() over
               (partition by stream_id order by position) as nth from projectord.events) e",
        ),
        ("nothing is there twice", "select count(*) = 600 from projectord.events"),
    ] {
        assert_eq!(project.value(sql).await, "true", "{what}");
    }
}

async fn another_store_is_refused() {
    let (_project, log) = new_log().await;
    let stream = StreamId::random();
    log.session().await.unwrap().add(Batch::new(Uuid::new_v4(), &[event(stream, 1)])).await.unwrap();
    let refused = log.session().await.unwrap().add(Batch::new(Uuid::new_v4(), &[event(stream, 2)])).await;
    assert!(matches!(refused, Err(ForeignStore::Refused(_))), "{refused:?}");
}

async fn another_commit_is_refused() {
    let (_project, log) = new_log().await;
    let (store, stream) = (Uuid::new_v4(), StreamId::random());
    log.session().await.unwrap().add(Batch::new(store, &[event(stream, 1)])).await.unwrap();
    let other = Event { commit_id: CommitId::random(), ..event(stream, 1) };
    let refused = log.session().await.unwrap().add(Batch::new(store, &[other, event(stream, 2)])).await;
    assert!(matches!(refused, Err(ForeignStore::Refused(_))), "{refused:?}");
    assert_eq!(log.head().await.unwrap().0, 1);
}

async fn takes_no_direct_appends() {
    let (project, log) = new_log().await;
    let stream = StreamId::random();
    log.session().await.unwrap().add(Batch::new(Uuid::new_v4(), &[event(stream, 1)])).await.unwrap();
    let output = project.run(&["append", &stream.to_string(), "Counted", "{}"]);
    assert_eq!(output.status.code(), Some(69));
    assert!(crate::support::text(&output.stderr).contains("copies the RethinkDB store"));
}

async fn setup_may_be_repeated_and_raced() {
    let project = Project::new().await;
    let setups: Vec<_> = (0..4).map(|_| project.command(&["setup"]).spawn().unwrap()).collect();
    for mut setup in setups {
        assert!(setup.wait().unwrap().success());
    }
    project.ok(&["setup"]);
    assert_eq!(project.value("select count(*) from projectord.log_head").await, "1");
}
