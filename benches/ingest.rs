//! Events a second from RethinkDB into the log, beside the bare read of the same documents, and beside COPY of the same
//! rows.

use std::collections::HashMap;
use std::time::Instant;

use projectord::store::{RethinkStore, Settings};
use reql::{Command, r};
use serde_json::{Value, json};
use sqlx::PgPool;
use sqlx::postgres::PgPoolCopyExt;
use uuid::Uuid;

use crate::bank::BankEvent;
use crate::by_hand;
use crate::report::Report;
use crate::servers::{Servers, until};

pub async fn run(servers: &Servers, bank: &[BankEvent], report: &mut Report) {
    let Some(url) = servers.rethink_url("ingest") else {
        return;
    };
    eprintln!("ingest");
    let store = RethinkStore::new(url.parse().expect("a URL"), Settings::default());
    store.setup().await.expect("setup");
    let session = by_hand::connect(&url).await;
    fill(&session, bank).await;

    let events = i64::try_from(bank.len()).expect("a count");
    let (mut ours, mut bare, mut copied, mut rss) = (0.0_f64, 0.0_f64, 0.0_f64, 0.0_f64);
    let rows = rows(bank);
    for round in 0..3 {
        let begun = Instant::now();
        let documents = by_hand::run(&session, r.table("events")).await;
        assert_eq!(documents, bank.len());
        bare += bank.len() as f64 / begun.elapsed().as_secs_f64() / 3.0;

        let (postgres, pool) = servers.database(&format!("ingest_{round}")).await;
        let begun = Instant::now();
        let daemon = servers.daemon(&postgres, Some(&url), "");
        until(&pool, "select position from projectord.log_head", events).await;
        ours += bank.len() as f64 / begun.elapsed().as_secs_f64() / 3.0;
        until(&pool, "select count(full_pass_at) from projectord.ingest_status", 1).await;
        rss = rss.max(daemon.peak_rss());
        drop(daemon);
        copied += bank.len() as f64 / copy(&pool, &rows).await / 3.0;
    }
    let slower = bare.min(copied);
    report.rate("ingest, 262,200 commits of one event", ours, "bare read", bare, None);
    report.rate("ingest, 262,200 commits of one event", ours, "COPY of the same rows", copied, None);
    report.rate("ingest, 262,200 commits of one event", ours, "the slower of both", slower, Some(0.8));
    report.value("peak RSS of the daemon, ingest", rss, "MB", Some(64.0));
}

/// The rows of the log, as COPY takes them.
fn rows(bank: &[BankEvent]) -> Vec<u8> {
    let mut versions: HashMap<Uuid, u64> = HashMap::new();
    let text = |value: &Value| value.to_string().replace('\\', "\\\\");
    let mut rows = String::new();
    for (nth, event) in bank.iter().enumerate() {
        let version = versions.entry(event.stream_id).or_insert(0);
        *version += 1;
        let (stream, stream_type, event_type) = (event.stream_id, &event.stream_type, &event.event_type);
        let (data, metadata, commit) = (text(&event.data), text(&event.metadata), Uuid::new_v4());
        rows += &format!(
            "{}\t{stream}\t{stream_type}\t{version}\t{event_type}\t{data}\t{metadata}\t{commit}\t2026-01-01T00:00:00Z\n",
            nth + 1
        );
    }
    rows.into_bytes()
}

/// How many seconds COPY takes, into a table like the log.
async fn copy(pool: &PgPool, rows: &[u8]) -> f64 {
    let like = "create table copied (like projectord.events including all)";
    sqlx::raw_sql(like).execute(pool).await.expect("a table");
    let begun = Instant::now();
    let mut copy = pool.copy_in_raw("copy copied from stdin").await.expect("copy");
    for piece in rows.chunks(64 << 10) {
        copy.send(piece).await.expect("rows");
    }
    copy.finish().await.expect("all rows");
    begun.elapsed().as_secs_f64()
}

/// Commits of one event each, as the store writes them, a few hundred to an insert; recorded over an
/// hour, as if they had come in at some seventy a second.
async fn fill(session: &reql::Session, bank: &[BankEvent]) {
    let mut versions: HashMap<Uuid, u64> = HashMap::new();
    let (count, per_second) = (bank.len() as f64, bank.len() as f64 / 3600.0);
    let now = chrono::Utc::now().timestamp() as f64;
    for (nth, events) in bank.chunks(400).enumerate() {
        let rows = events.iter().enumerate().map(|(at, event)| {
            let version = versions.entry(event.stream_id).or_insert(0);
            *version += 1;
            let age = (count - (nth * 400 + at) as f64) / per_second;
            let time = json!({"$reql_type$": "TIME", "epoch_time": ((now - age) * 1000.0).round() / 1000.0, "timezone": "+00:00"});
            json!({
                "id": format!("{}@{version:016}", event.stream_id), "stream_id": event.stream_id,
                "stream_type": event.stream_type, "commit_id": Uuid::new_v4(), "recorded_at": time,
                "events": [{"type": event.event_type, "data": event.data, "metadata": event.metadata}],
            })
        });
        let rows: Vec<Value> = rows.collect();
        by_hand::run(session, r.table("events").insert(Command::from(Value::from(rows)))).await;
    }
}
