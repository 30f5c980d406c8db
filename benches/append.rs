//! Appends a second, by one writer, by eight, sixteen and sixty-four, beside bare inserts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use projectord::event::{Commit, NewEvent, StreamId};
use projectord::store::{EventStore, ExpectedVersion, PostgresStore, RethinkStore, Settings};
use reql::cmd::{Durability, insert};
use reql::{Command, r};
use serde_json::{Value, json};
use sqlx::PgPool;
use sqlx::types::Json;
use uuid::Uuid;

use crate::by_hand;
use crate::report::Report;
use crate::servers::Servers;

/// How long one measurement takes, and how often each is made in turn.
const TIME: Duration = Duration::from_millis(1500);
const ROUNDS: u32 = 3;
const AIMS: [(usize, f64); 4] = [(1, 0.75), (8, 0.5), (16, 0.5), (64, 0.5)];

fn payload() -> Value {
    json!({"user_id": 7, "total": 12.5, "items": [{"sku": "a-1", "n": 2}, {"sku": "b-7", "n": 1}], "note": "as usual"})
}

pub async fn run(servers: &Servers, report: &mut Report) {
    eprintln!("append");
    let (url, pool) = servers.database("append").await;
    let store = PostgresStore::new(&url.parse().expect("a URL"), Settings::default());
    store.setup().await.expect("setup");
    create_bare_table(&pool).await;
    let store: Arc<dyn EventStore> = Arc::new(store);
    for (writers, _) in AIMS {
        let (mut ours, mut bare) = (0.0, 0.0);
        for _ in 0..ROUNDS {
            ours += appends(writers, &store).await;
            let pool = pool.clone();
            bare += per_second(writers, move |_| insert_row(pool.clone()).boxed()).await;
        }
        report.rate(
            format!("append, PostgreSQL, {writers} writers"),
            ours / f64::from(ROUNDS),
            "bare insert",
            bare / f64::from(ROUNDS),
            None,
        );
    }

    let Some(url) = servers.rethink_url("append") else {
        return;
    };
    let store = RethinkStore::new(url.parse().expect("a URL"), Settings::default());
    store.setup().await.expect("setup");
    let store: Arc<dyn EventStore> = Arc::new(store);
    for (writers, aim) in AIMS {
        let mut sessions = Vec::new();
        for _ in 0..writers {
            sessions.push(Arc::new(by_hand::connect(&url).await));
        }
        let (mut ours, mut bare) = (0.0, 0.0);
        for _ in 0..ROUNDS {
            ours += appends(writers, &store).await;
            let sessions = sessions.clone();
            bare += per_second(writers, move |writer| insert_document(Arc::clone(&sessions[writer])).boxed())
                .await;
        }
        report.rate(
            format!("append, RethinkDB, {writers} writers"),
            ours / f64::from(ROUNDS),
            "bare insert",
            bare / f64::from(ROUNDS),
            Some(aim),
        );
    }
}

/// How often a second `writers` tasks can do it, each again and again.
async fn per_second(
    writers: usize,
    once: impl Fn(usize) -> BoxFuture<'static, ()> + Send + Sync + 'static,
) -> f64 {
    let (begun, once) = (Instant::now(), Arc::new(once));
    let mut running = tokio::task::JoinSet::new();
    for writer in 0..writers {
        let once = Arc::clone(&once);
        running.spawn(async move {
            let mut done = 0_u32;
            while begun.elapsed() < TIME {
                once(writer).await;
                done += 1;
            }
            done
        });
    }
    let done: u32 = running.join_all().await.into_iter().sum();
    f64::from(done) / begun.elapsed().as_secs_f64()
}

async fn appends(writers: usize, store: &Arc<dyn EventStore>) -> f64 {
    let store = Arc::clone(store);
    per_second(writers, move |_| append(Arc::clone(&store)).boxed()).await
}

async fn append(store: Arc<dyn EventStore>) {
    let commit = Commit::new("order", vec![NewEvent::from_json("OrderCreated", payload())]);
    store.append_to_stream(StreamId::random(), ExpectedVersion::NoStream, commit).await.expect("append");
}

async fn insert_document(session: Arc<reql::Session>) {
    by_hand::run(&session, bare_insert()).await;
}

/// The document that the store makes of it.
fn bare_insert() -> Command {
    let (stream, commit) = (Uuid::new_v4(), Uuid::new_v4());
    let row = json!({
        "id": format!("{stream}@{:016}", 1), "stream_id": stream, "stream_type": "order", "commit_id": commit,
        "events": [{"type": "OrderCreated", "data": payload(), "metadata": {}}],
    });
    let time = Command::new(ql2::term::TermType::Object)
        .with_arg(Command::from(json!("recorded_at")))
        .with_arg(r.now());
    let row = Command::new(ql2::term::TermType::Merge).with_arg(Command::from(row)).with_arg(time);
    r.table("events").insert(r.args((row, insert::Options::default().durability(Durability::Hard))))
}

async fn create_bare_table(pool: &PgPool) {
    sqlx::raw_sql(
        "create table bare (position bigint generated always as identity primary key, stream_id uuid not null,
             stream_type text not null, version bigint not null, type text not null, data jsonb not null,
             metadata jsonb not null, commit_id uuid not null, recorded_at timestamptz not null,
             unique (stream_id, version))",
    )
    .execute(pool)
    .await
    .expect("a table");
}

async fn insert_row(pool: PgPool) {
    sqlx::query(
        "insert into bare (stream_id, stream_type, version, type, data, metadata, commit_id, recorded_at)
         values ($1, 'order', 1, 'OrderCreated', $2, '{}', $3, clock_timestamp())",
    )
    .bind(Uuid::new_v4())
    .bind(Json(payload()))
    .bind(Uuid::new_v4())
    .execute(&pool)
    .await
    .expect("insert");
}
