//! Streams loaded whole: of 5, 1,000 and 100,000 events, beside the bare read of the same rows or documents.

use std::sync::Arc;
use std::time::{Duration, Instant};

use projectord::event::{Commit, NewEvent, StreamId, Version};
use projectord::store::{EventStore, ExpectedVersion, PostgresStore, RethinkStore, Settings};
use reql::r;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::by_hand;
use crate::report::Report;
use crate::servers::Servers;

/// Events in the stream, those of one commit, and the aim.
const SIZES: [(u64, u64, f64); 3] = [(5, 1, 0.8), (1_000, 10, 0.8), (100_000, 1_000, 0.8)];
const TIME: Duration = Duration::from_secs(2);

pub async fn run(servers: &Servers, report: &mut Report) {
    eprintln!("load");
    let (url, pool) = servers.database("load").await;
    let store = PostgresStore::new(&url.parse().expect("a URL"), Settings::default());
    store.setup().await.expect("setup");
    let store: Arc<dyn EventStore> = Arc::new(store);
    for (events, each, aim) in SIZES {
        let stream = fill(&store, events, each).await;
        let (ours, bare) = in_turns(&store, stream, events, async || rows(&pool, stream).await).await;
        report.rate(format!("load {events} events, PostgreSQL"), ours, "bare read", bare, Some(aim));
    }

    let Some(url) = servers.rethink_url("load") else {
        return;
    };
    let store = RethinkStore::new(url.parse().expect("a URL"), Settings::default());
    store.setup().await.expect("setup");
    let store: Arc<dyn EventStore> = Arc::new(store);
    let session = by_hand::connect(&url).await;
    for (events, each, aim) in SIZES {
        let stream = fill(&store, events, each).await;
        let (from, to) = (format!("{stream}@"), format!("{stream}A"));
        let read = async || {
            by_hand::run(&session, r.table("events").between(r.args((from.clone(), to.clone())))).await as u64
                * each
        };
        let (ours, bare) = in_turns(&store, stream, events, read).await;
        report.rate(format!("load {events} events, RethinkDB"), ours, "bare read", bare, Some(aim));
    }
}

async fn fill(store: &Arc<dyn EventStore>, events: u64, each: u64) -> StreamId {
    let stream = StreamId::random();
    let event = || {
        NewEvent::from_json(
            "Paid",
            json!({"user_id": 7, "total": 12.5, "note": "as usual", "items": ["a-1", "b-7"]}),
        )
    };
    for nth in 0..events / each {
        let commit = Commit::new("order", (0..each).map(|_| event()).collect());
        let expected = ExpectedVersion::Exact(Version(nth * each));
        store.append_to_stream(stream, expected, commit).await.expect("append");
    }
    stream
}

/// Events a second: ours, and by hand, each again and again in turns.
async fn in_turns(
    store: &Arc<dyn EventStore>,
    stream: StreamId,
    events: u64,
    bare: impl AsyncFn() -> u64,
) -> (f64, f64) {
    let (begun, mut loads) = (Instant::now(), 0.0);
    let (mut ours, mut by_hand) = (Duration::ZERO, Duration::ZERO);
    while begun.elapsed() < TIME * 2 || loads < 3.0 {
        let turn = Instant::now();
        let loaded = store.load_stream(stream, Version(1)).await.expect("the stream");
        ours += turn.elapsed();
        assert_eq!(loaded.events.len() as u64, events);
        drop(loaded);
        let turn = Instant::now();
        assert_eq!(bare().await, events);
        by_hand += turn.elapsed();
        loads += 1.0;
    }
    (loads * events as f64 / ours.as_secs_f64(), loads * events as f64 / by_hand.as_secs_f64())
}

async fn rows(pool: &PgPool, stream: StreamId) -> u64 {
    let rows: Vec<(i64, String, Value, Value)> = sqlx::query_as(
        "select version, type, data, metadata from projectord.events where stream_id = $1 order by version",
    )
    .bind(stream.0)
    .fetch_all(pool)
    .await
    .expect("rows");
    rows.len() as u64
}
