//! From an append's acknowledgement to the row that readers see: at several rates, with one projection and with ten,
//! beside one that is slow, and beside many that want other events.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use projectord::event::{Commit, NewEvent, StreamId};
use projectord::store::{EventStore, ExpectedVersion, PostgresStore, RethinkStore, Settings};
use serde_json::json;
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::mpsc;

use crate::report::{Report, percentile};
use crate::servers::Others::{self, Alike, Seldom, Slow};
use crate::servers::{Servers, until};

/// Long enough for a sweep's whole window, and a few more.
const LONG: u32 = 45;

/// One measurement.
struct Case {
    per_second: u32,
    seconds: u32,
    projections: usize,
    others: Others,
    /// The most that the 99th percentile should be, in milliseconds.
    aim: Option<f64>,
}

const CASES: [Case; 7] = [
    Case { per_second: 50, seconds: 10, projections: 1, others: Alike, aim: Some(25.0) },
    Case { per_second: 500, seconds: 10, projections: 1, others: Alike, aim: Some(25.0) },
    Case { per_second: 2_000, seconds: 10, projections: 1, others: Alike, aim: Some(50.0) },
    Case { per_second: 500, seconds: LONG, projections: 10, others: Alike, aim: Some(25.0) },
    Case { per_second: 500, seconds: LONG, projections: 10, others: Slow, aim: Some(25.0) },
    Case { per_second: 50, seconds: 10, projections: 50, others: Alike, aim: Some(50.0) },
    Case { per_second: 500, seconds: 10, projections: 50, others: Seldom, aim: Some(25.0) },
];

pub async fn run(servers: &Servers, report: &mut Report) {
    eprintln!("latency");
    for (nth, case) in CASES.iter().enumerate() {
        let (url, pool) = servers.database(&format!("latency_pg_{nth}")).await;
        let store = PostgresStore::new(&url.parse().expect("a URL"), Settings::default());
        store.setup().await.expect("setup");
        measure(servers, "PostgreSQL", case, &url, &pool, None, store, report).await;

        let Some(store_url) = servers.rethink_url(&format!("latency_{nth}")) else {
            continue;
        };
        let (url, pool) = servers.database(&format!("latency_rdb_{nth}")).await;
        let store = RethinkStore::new(store_url.parse().expect("a URL"), Settings::default());
        store.setup().await.expect("setup");
        measure(servers, "RethinkDB", case, &url, &pool, Some(&store_url), store, report).await;
    }
}

#[expect(clippy::too_many_arguments, reason = "what a measurement is made of")]
async fn measure(
    servers: &Servers,
    name: &str,
    case: &Case,
    url: &str,
    pool: &PgPool,
    store_url: Option<&str>,
    store: impl EventStore + Clone + 'static,
    report: &mut Report,
) {
    let others = match case.others {
        Alike => "",
        Slow => " and a slow one",
        Seldom => " of which one wants the events",
    };
    let what = format!("{}/s, {} projections{others}, {name}", case.per_second, case.projections);
    let folder = servers.projections(&format!("latency {what}"), case.projections, case.others);
    let daemon = servers.daemon(url, store_url, &folder);
    let wanted = i64::try_from(case.projections).expect("a count") + i64::from(case.others == Slow);
    until(pool, "select count(*) from projectord.projections where state = 'live'", wanted).await;
    if store_url.is_some() {
        until(pool, "select count(*) from projectord.ingest_status where state = 'live'", 1).await;
    }
    let mut listener = PgListener::connect(url).await.expect("a listener");
    listener.listen("visible").await.expect("listen");
    let events = usize::try_from(case.seconds * case.per_second).expect("a count");
    let (acknowledged, mut acknowledgements) = mpsc::unbounded_channel();
    let writer = tokio::spawn(write(store, case.per_second, events, acknowledged));
    // A row may be seen before its append's acknowledgement is.
    let (mut acked, mut seen) = (HashMap::new(), HashMap::new());
    let (mut waits, mut appends) = (Vec::with_capacity(events), Vec::with_capacity(events));
    while waits.len() < events {
        let (stream, other, when, row) = tokio::select! {
            notification = listener.recv() => {
                let stream = notification.expect("a notification").payload().to_owned();
                (stream.clone(), acked.remove(&stream), Instant::now(), true)
            }
            Some((stream, asked, when)) = acknowledgements.recv() => {
                appends.push(millis(asked, when));
                let other = seen.remove(&stream);
                (stream, other, when, false)
            }
        };
        match (other, row) {
            (Some(acked), true) => waits.push(millis(acked, when)),
            (Some(seen), false) => waits.push(millis(when, seen)),
            (None, true) => drop(seen.insert(stream, when)),
            (None, false) => drop(acked.insert(stream, when)),
        }
    }
    writer.await.expect("the writer");
    report.value(format!("append acknowledged, {what}, p99"), percentile(&appends, 0.99), "ms", None);
    report.value(format!("append to visible, {what}, p50"), percentile(&waits, 0.5), "ms", None);
    report.value(format!("append to visible, {what}, p99"), percentile(&waits, 0.99), "ms", case.aim);
    report.value(format!("peak RSS of the daemon, {what}"), daemon.peak_rss(), "MB", Some(128.0));
}

/// Appends at this rate, whatever each takes; tells of each when it was asked for and acknowledged.
async fn write(
    store: impl EventStore + Clone + 'static,
    per_second: u32,
    events: usize,
    acknowledged: mpsc::UnboundedSender<(String, Instant, Instant)>,
) {
    let mut tick = tokio::time::interval(Duration::from_secs(1) / per_second);
    for _ in 0..events {
        tick.tick().await;
        let (store, acknowledged) = (store.clone(), acknowledged.clone());
        tokio::spawn(async move {
            let (stream, asked) = (StreamId::random(), Instant::now());
            let commit = Commit::new("measured", vec![NewEvent::from_json("Measured", json!({}))]);
            store.append_to_stream(stream, ExpectedVersion::NoStream, commit).await.expect("append");
            let _ = acknowledged.send((stream.to_string(), asked, Instant::now()));
        });
    }
}

/// Milliseconds, none where the second was first.
fn millis(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64() * 1000.0
}
