//! What a daemon takes that has nothing to do: processor, memory, statements to either database.

use std::time::Duration;

use projectord::store::{PostgresStore, RethinkStore, Settings};
use reql::r;
use sqlx::PgPool;

use crate::by_hand;
use crate::report::Report;
use crate::servers::{Others, Servers, until};

/// How long it is watched, and how long it is given to come to rest.
const TIME: Duration = Duration::from_secs(20);
const REST: Duration = Duration::from_secs(5);
const PROJECTIONS: usize = 10;

pub async fn run(servers: &Servers, report: &mut Report) {
    eprintln!("idle");
    let folder = servers.projections("idle", PROJECTIONS, Others::Alike);
    let (url, pool) = servers.database("idle_pg").await;
    PostgresStore::new(&url.parse().expect("a URL"), Settings::default()).setup().await.expect("setup");
    watch(servers, "PostgreSQL", &url, None, &folder, &pool, report).await;

    let Some(store) = servers.rethink_url("idle") else {
        return;
    };
    let (url, pool) = servers.database("idle_rdb").await;
    RethinkStore::new(store.parse().expect("a URL"), Settings::default()).setup().await.expect("setup");
    watch(servers, "RethinkDB", &url, Some(&store), &folder, &pool, report).await;
}

async fn watch(
    servers: &Servers,
    name: &str,
    url: &str,
    store: Option<&str>,
    folder: &str,
    pool: &PgPool,
    report: &mut Report,
) {
    let daemon = servers.daemon(url, store, folder);
    let live = "select count(*) from projectord.projections where state = 'live'";
    until(pool, live, i64::try_from(PROJECTIONS).expect("a count")).await;
    tokio::time::sleep(REST).await;
    let session = match store {
        Some(store) => Some(by_hand::connect(store).await),
        None => None,
    };
    let queries = async || match &session {
        Some(session) => queries(session).await,
        None => 0.0,
    };
    let before = (daemon.cpu_seconds(), transactions(pool).await, queries().await);
    tokio::time::sleep(TIME).await;
    let after = (daemon.cpu_seconds(), transactions(pool).await, queries().await);
    let per_second = |before: f64, after: f64| (after - before) / TIME.as_secs_f64();
    let at_rest = format!("at rest, {PROJECTIONS} projections, {name}");
    report.value(
        format!("processor {at_rest}"),
        100.0 * per_second(before.0, after.0),
        "% of a core",
        Some(0.5),
    );
    report.value(format!("memory {at_rest}"), daemon.rss(), "MB", Some(48.0));
    report.value(
        format!("transactions in PostgreSQL a second {at_rest}"),
        per_second(before.1, after.1),
        "",
        None,
    );
    if store.is_some() {
        report.value(
            format!("queries to RethinkDB a second {at_rest}"),
            per_second(before.2, after.2),
            "",
            None,
        );
    }
}

async fn transactions(pool: &PgPool) -> f64 {
    let sql = "select (xact_commit + xact_rollback)::float8 from pg_stat_database where datname = current_database()";
    let (count,): (f64,) = sqlx::query_as(sql).fetch_one(pool).await.expect("statistics");
    count
}

/// All that the server was ever asked.
async fn queries(session: &reql::Session) -> f64 {
    let rows = by_hand::rows(session, r.db("rethinkdb").table("stats")).await;
    let of_servers = rows.iter().filter(|row| row["id"][0] == "server");
    of_servers.filter_map(|row| row["query_engine"]["queries_total"].as_f64()).sum()
}
