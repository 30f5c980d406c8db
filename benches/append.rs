//! Appends a second, of one event and of ten, by one writer, by sixteen and by sixty-four, beside bare inserts.

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
const ROUNDS: u32 = 4;
/// Writers, and events in a commit.
const CASES: [(usize, usize); 5] = [(1, 1), (16, 1), (64, 1), (1, 10), (16, 10)];
const AIM: f64 = 0.9;

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
    for (writers, events) in CASES {
        let pool = pool.clone();
        let insert = move |_| insert_rows(pool.clone(), events).boxed();
        let (ours, bare) = in_turns(
            async || appends(writers, events, &store).await,
            async || per_second(writers, insert.clone()).await,
        )
        .await;
        report.rate(
            format!("append, PostgreSQL, {}", shown(writers, events)),
            ours,
            "bare insert",
            bare,
            None,
        );
    }

    let Some(url) = servers.rethink_url("append") else {
        return;
    };
    let store = RethinkStore::new(url.parse().expect("a URL"), Settings::default());
    store.setup().await.expect("setup");
    let store: Arc<dyn EventStore> = Arc::new(store);
    for (writers, events) in CASES {
        let mut sessions = Vec::new();
        for _ in 0..writers {
            sessions.push(Arc::new(by_hand::connect(&url).await));
        }
        let insert = move |writer: usize| insert_document(Arc::clone(&sessions[writer]), events).boxed();
        let (ours, bare) = in_turns(
            async || appends(writers, events, &store).await,
            async || per_second(writers, insert.clone()).await,
        )
        .await;
        let what = format!("append, RethinkDB, {}", shown(writers, events));
        report.rate(what, ours, "bare insert", bare, Some(AIM));
    }
}

fn shown(writers: usize, events: usize) -> String {
    let writers = if writers == 1 { "1 writer".into() } else { format!("{writers} writers") };
    if events == 1 { writers } else { format!("{writers}, {events} events each") }
}

/// How often a second with the store and by hand, in turns. Who comes later finds more in the tables, and the disk at
/// work for who came before, so they change places each time.
async fn in_turns(ours: impl AsyncFn() -> f64, by_hand: impl AsyncFn() -> f64) -> (f64, f64) {
    let (mut store, mut bare) = (0.0, 0.0);
    for round in 0..ROUNDS {
        if round % 2 == 0 {
            store += ours().await;
            bare += by_hand().await;
        } else {
            bare += by_hand().await;
            store += ours().await;
        }
    }
    (store / f64::from(ROUNDS), bare / f64::from(ROUNDS))
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

async fn appends(writers: usize, events: usize, store: &Arc<dyn EventStore>) -> f64 {
    let store = Arc::clone(store);
    per_second(writers, move |_| append(Arc::clone(&store), events).boxed()).await
}

async fn append(store: Arc<dyn EventStore>, events: usize) {
    let events = (0..events).map(|_| NewEvent::from_json("OrderCreated", payload())).collect();
    let commit = Commit::new("order", events);
    store.append_to_stream(StreamId::random(), ExpectedVersion::NoStream, commit).await.expect("append");
}

async fn insert_document(session: Arc<reql::Session>, events: usize) {
    by_hand::run(&session, bare_insert(events)).await;
}

/// The document that the store makes of it.
fn bare_insert(events: usize) -> Command {
    let (stream, commit) = (Uuid::new_v4(), Uuid::new_v4());
    let event = json!({"type": "OrderCreated", "data": payload(), "metadata": {}});
    let row = json!({
        "id": format!("{stream}@{:016}", 1), "stream_id": stream, "stream_type": "order", "commit_id": commit,
        "events": vec![event; events],
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

async fn insert_rows(pool: PgPool, events: usize) {
    sqlx::query(
        "insert into bare (stream_id, stream_type, version, type, data, metadata, commit_id, recorded_at)
         select $1, 'order', nth, 'OrderCreated', $2, '{}', $3, clock_timestamp() from generate_series(1, $4) nth",
    )
    .bind(Uuid::new_v4())
    .bind(Json(payload()))
    .bind(Uuid::new_v4())
    .bind(i32::try_from(events).expect("a count"))
    .execute(&pool)
    .await
    .expect("insert");
}
