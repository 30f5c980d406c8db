//! Twenty rebuilds swap one after another while 200 events a second are appended and the table is read as often:
//! from the acknowledgement to the visible row, beside the same without rebuilds. No read may fail or go back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use projectord::event::{Commit, NewEvent, StreamId, Version};
use projectord::store::{EventStore, ExpectedVersion, PostgresStore, Settings};
use serde_json::json;
use sqlx::PgPool;

use crate::rebuild::command;
use crate::report::{Report, percentile};
use crate::servers::{Servers, until};

const EVERY: Duration = Duration::from_millis(5);
/// How often the read model is looked at: what is measured is late by this much at most.
const LOOK: Duration = Duration::from_millis(1);
/// What there is to replay.
const BEFORE: usize = 20_000;
const QUIET: Duration = Duration::from_secs(8);

pub async fn run(servers: &Servers, report: &mut Report) {
    eprintln!("swaps");
    let (url, pool) = servers.database("swaps").await;
    let store = PostgresStore::new(&url.parse().expect("a URL"), Settings::default());
    store.setup().await.expect("setup");
    let order = || NewEvent::from_json("OrderCreated", json!({"user_id": 7, "total": 12.5}));
    for _ in 0..BEFORE / 100 {
        for _ in 0..100 {
            let commit = Commit::new("order", vec![order()]);
            store
                .append_to_stream(StreamId::random(), ExpectedVersion::NoStream, commit)
                .await
                .expect("append");
        }
    }
    let daemon = servers.daemon(&url, None, "projections");
    store_is_read(&store).await;
    let quiet = measure(&store, &pool, async { tokio::time::sleep(QUIET).await }).await;
    let rebuilds = tokio::task::spawn_blocking(move || {
        for _ in 0..20 {
            command(&url, &["rebuild", "orders", "--wait"]);
        }
    });
    let busy = measure(&store, &pool, async { rebuilds.await.expect("rebuilds") }).await;
    drop(daemon);
    let (normal, under) = (percentile(&quiet, 0.99), percentile(&busy, 0.99));
    report.value("append to visible row at 200/s, p99", normal, "ms", None);
    report.value("the same under twenty rebuilds, p99", under, "ms", Some(3.0 * normal));
}

/// Until the read model has one more event than there were.
async fn store_is_read(store: &PostgresStore) {
    let stream = StreamId::random();
    let commit =
        Commit::new("order", vec![NewEvent::from_json("OrderCreated", json!({"user_id": 1, "total": 1}))]);
    store.append_to_stream(stream, ExpectedVersion::NoStream, commit).await.expect("append");
    while store.wait_for("orders", stream, Version(1), Duration::from_secs(60)).await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Milliseconds from each acknowledgement to the row, while something goes on; a reader looks all the while.
async fn measure(store: &PostgresStore, pool: &PgPool, meanwhile: impl Future<Output = ()>) -> Vec<f64> {
    let head = "select position from projectord.log_head";
    let (after,): (i64,) = sqlx::query_as(head).fetch_one(pool).await.expect("a head");
    let (stop, ended) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let reader = tokio::spawn(read(pool.clone(), Arc::clone(&stop)));
    let looker = tokio::spawn(look(pool.clone(), after, Arc::clone(&ended)));
    let writer = tokio::spawn(write(store.clone(), Arc::clone(&stop)));
    meanwhile.await;
    stop.store(true, Ordering::Relaxed);
    reader.await.expect("no read fails");
    let acknowledged = writer.await.expect("appends");
    let all = after + i64::try_from(acknowledged.len()).expect("a count");
    let checkpoint =
        "select checkpoint from projectord.generations where projection = 'orders' and state = 'live'";
    until(pool, checkpoint, all).await;
    tokio::time::sleep(10 * LOOK).await;
    ended.store(true, Ordering::Relaxed);
    let seen = looker.await.expect("looks");
    assert!(seen.len() >= acknowledged.len(), "{} events seen of {}", seen.len(), acknowledged.len());
    let late = |(acknowledged, seen): (Instant, Instant)| seen.saturating_duration_since(acknowledged);
    acknowledged.into_iter().zip(seen).map(|it| late(it).as_secs_f64() * 1000.0).collect()
}

async fn read(pool: PgPool, stop: Arc<AtomicBool>) {
    let mut before = 0;
    while !stop.load(Ordering::Relaxed) {
        let next = Instant::now() + EVERY;
        let (rows,): (i64,) =
            sqlx::query_as("select count(*) from orders.orders").fetch_one(&pool).await.expect("a read");
        assert!(rows >= before, "{rows} rows after {before}");
        before = rows;
        tokio::time::sleep_until(next.into()).await;
    }
}

/// Appends one event at a time; when each was acknowledged, in order of position.
async fn write(store: PostgresStore, stop: Arc<AtomicBool>) -> Vec<Instant> {
    let (mut acknowledged, mut next) = (Vec::new(), Instant::now());
    while !stop.load(Ordering::Relaxed) {
        next += EVERY;
        tokio::time::sleep_until(next.into()).await;
        let event = NewEvent::from_json("OrderCreated", json!({"user_id": 7, "total": 12.5}));
        let commit = Commit::new("order", vec![event]);
        store.append_to_stream(StreamId::random(), ExpectedVersion::NoStream, commit).await.expect("append");
        acknowledged.push(Instant::now());
    }
    acknowledged
}

/// When the rows that readers see first had each event after `after`: a row and its checkpoint are one commit.
async fn look(pool: PgPool, after: i64, stop: Arc<AtomicBool>) -> Vec<Instant> {
    let mut seen = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let (checkpoint,): (i64,) = sqlx::query_as(
            "select checkpoint from projectord.generations where projection = 'orders' and state = 'live'",
        )
        .fetch_one(&pool)
        .await
        .expect("a checkpoint");
        // It never goes back, not over a swap either.
        let now_seen = usize::try_from(checkpoint - after).unwrap_or(0);
        assert!(now_seen >= seen.len(), "{now_seen} events after {}", seen.len());
        seen.resize(now_seen, Instant::now());
        tokio::time::sleep(LOOK).await;
    }
    seen
}
