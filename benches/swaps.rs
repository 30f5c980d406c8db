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
use crate::report::Report;
use crate::servers::Servers;

const EVERY: Duration = Duration::from_millis(5);
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
    let (normal, under) = (percentile(&quiet), percentile(&busy));
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
    let stop = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn(read(pool.clone(), Arc::clone(&stop)));
    let writer = tokio::spawn(write(store.clone(), Arc::clone(&stop)));
    meanwhile.await;
    stop.store(true, Ordering::Relaxed);
    reader.await.expect("no read fails");
    writer.await.expect("appends")
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

async fn write(store: PostgresStore, stop: Arc<AtomicBool>) -> Vec<f64> {
    let (mut waits, mut next) = (Vec::new(), Instant::now());
    while !stop.load(Ordering::Relaxed) {
        next += EVERY;
        tokio::time::sleep_until(next.into()).await;
        let stream = StreamId::random();
        let event = NewEvent::from_json("OrderCreated", json!({"user_id": 7, "total": 12.5}));
        let commit = Commit::new("order", vec![event]);
        store.append_to_stream(stream, ExpectedVersion::NoStream, commit).await.expect("append");
        let store = store.clone();
        let begun = Instant::now();
        waits.push(tokio::spawn(async move {
            store.wait_for("orders", stream, Version(1), Duration::from_secs(30)).await.expect("a row");
            begun.elapsed().as_secs_f64() * 1000.0
        }));
    }
    let mut times = Vec::new();
    for wait in waits {
        times.push(wait.await.expect("a wait"));
    }
    times
}

fn percentile(times: &[f64]) -> f64 {
    let mut ordered = times.to_vec();
    ordered.sort_by(f64::total_cmp);
    ordered[ordered.len() * 99 / 100]
}
