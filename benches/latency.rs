//! From an append's acknowledgement to the row that readers see, at 200 events a second.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use projectord::event::{Commit, NewEvent, StreamId};
use projectord::store::{EventStore, ExpectedVersion, PostgresStore, RethinkStore, Settings};
use serde_json::json;
use sqlx::postgres::PgListener;
use tokio::sync::mpsc;

use crate::report::Report;
use crate::servers::{Servers, until};

const PER_SECOND: u32 = 200;
const EVENTS: usize = 2_000;

pub async fn run(servers: &Servers, report: &mut Report) {
    eprintln!("latency");
    let (url, _) = servers.database("latency_pg").await;
    let store = PostgresStore::new(&url.parse().expect("a URL"), Settings::default());
    store.setup().await.expect("setup");
    measure(servers, "PostgreSQL", &url, None, store, report).await;

    let Some(store_url) = servers.rethink_url("latency") else {
        return;
    };
    let (url, _) = servers.database("latency_rdb").await;
    let store = RethinkStore::new(store_url.parse().expect("a URL"), Settings::default());
    store.setup().await.expect("setup");
    measure(servers, "RethinkDB", &url, Some(&store_url), store, report).await;
}

async fn measure(
    servers: &Servers,
    name: &str,
    url: &str,
    store_url: Option<&str>,
    store: impl EventStore + Clone + 'static,
    report: &mut Report,
) {
    let daemon = servers.daemon(url, store_url, "benches/projections");
    let pool = sqlx::PgPool::connect(url).await.expect("PostgreSQL");
    until(&pool, "select count(*) from projectord.projections where state = 'live'", 1).await;
    if store_url.is_some() {
        until(&pool, "select count(*) from projectord.ingest_status where state = 'live'", 1).await;
    }
    let mut listener = PgListener::connect(url).await.expect("a listener");
    listener.listen("visible").await.expect("listen");
    let (acknowledged, mut acknowledgements) = mpsc::unbounded_channel();
    let writer = tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_secs(1) / PER_SECOND);
        for _ in 0..EVENTS {
            tick.tick().await;
            let (store, acknowledged) = (store.clone(), acknowledged.clone());
            tokio::spawn(async move {
                let stream = StreamId::random();
                let commit = Commit::new("measured", vec![NewEvent::from_json("Measured", json!({}))]);
                store.append_to_stream(stream, ExpectedVersion::NoStream, commit).await.expect("append");
                let _ = acknowledged.send((stream.to_string(), Instant::now()));
            });
        }
    });
    // A row may be seen before its append's acknowledgement is.
    let (mut acked, mut seen) = (HashMap::new(), HashMap::new());
    let mut waits = Vec::with_capacity(EVENTS);
    while waits.len() < EVENTS {
        let (stream, other, when, row) = tokio::select! {
            notification = listener.recv() => {
                let stream = notification.expect("a notification").payload().to_owned();
                (stream.clone(), acked.remove(&stream), Instant::now(), true)
            }
            Some((stream, when)) = acknowledgements.recv() => {
                let other = seen.remove(&stream);
                (stream, other, when, false)
            }
        };
        match (other, row) {
            (Some(acked), true) => waits.push(when.saturating_duration_since(acked)),
            (Some(seen), false) => waits.push(seen.saturating_duration_since(when)),
            (None, true) => drop(seen.insert(stream, when)),
            (None, false) => drop(acked.insert(stream, when)),
        }
    }
    writer.await.expect("the writer");
    waits.sort();
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    report.value(format!("append to visible, {name}, p50"), at(0.5), "ms", None);
    report.value(format!("append to visible, {name}, p99"), at(0.99), "ms", Some(50.0));
    report.value(format!("peak RSS of the daemon, latency, {name}"), daemon.peak_rss(), "MB", Some(64.0));
}
