//! PostgreSQL goes away and comes back; the daemon needs nobody to notice. And the demo.

use std::time::Duration;

use libtest_mimic::Trial;
use serde_json::json;
use sqlx::{AssertSqlSafe, PgPool};

use projectord::event::{Commit, NewEvent, StreamId};
use projectord::store::{EventStore, ExpectedVersion, PostgresStore, Settings};

use crate::support::{Project, Way, trial, until};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("outage::a_daemon_that_starts_before_postgresql_waits_for_it", starts_first),
        trial("outage::postgresql_goes_and_comes_back_and_nothing_is_lost", goes_and_comes_back),
        trial("outage::a_wrong_password_is_waited_for_and_not_shown", wrong_password),
        trial("outage::a_database_that_takes_no_connections_is_waited_for", takes_no_connections),
        trial("demo::shows_rows_and_cleans_up", demo),
    ]
}

/// A project whose daemon takes the way, and a store that does not.
async fn new_project() -> (Project, Way, PostgresStore) {
    let mut project = Project::new().await;
    let store = PostgresStore::new(&project.postgres_url.parse().unwrap(), Settings::default());
    store.setup().await.unwrap();
    let way = Way::to(&project.postgres_url);
    project.postgres_url = way.url(&project.postgres_url);
    project.write("numbers", "schema.sql", "create table numbers (n int);");
    project.write("numbers", "Counted.sql", "insert into numbers values ((event.data->>'n')::int);");
    (project, way, store)
}

async fn append(store: &PostgresStore, count: u64) {
    for n in 0..count {
        let commit = Commit::new("counter", vec![NewEvent::from_json("Counted", json!({ "n": n }))]);
        store.append_to_stream(StreamId::random(), ExpectedVersion::NoStream, commit).await.unwrap();
    }
}

async fn until_logged(project: &Project, text: &str) {
    until(text, Duration::from_secs(20), async || project.log().contains(text)).await;
}

/// Does it again and again until the text is logged.
async fn until_logged_while(project: &Project, text: &str, again: impl AsyncFn()) {
    until(text, Duration::from_secs(20), async || {
        again().await;
        project.log().contains(text)
    })
    .await;
}

async fn starts_first() {
    let (project, mut way, store) = new_project().await;
    append(&store, 5).await;
    let daemon = project.daemon();
    until_logged(&project, "PostgreSQL is not ready").await;
    way.open().await;
    project.until_value("select count(*) from numbers.numbers", "5").await;
    assert_eq!(daemon.stop(Duration::from_secs(5)).await, Some(0));
}

async fn goes_and_comes_back() {
    let (project, mut way, store) = new_project().await;
    way.open().await;
    let daemon = project.daemon();
    for round in 1..=3_u64 {
        append(&store, 10).await;
        project.until_value("select count(*) from numbers.numbers", &(round * 20 - 10).to_string()).await;
        way.cut().await;
        append(&store, 10).await;
        until_logged(&project, "does not do its part").await;
        way.open().await;
        project.until_value("select count(*) from numbers.numbers", &(round * 20).to_string()).await;
    }
    assert_eq!(daemon.stop(Duration::from_secs(5)).await, Some(0));
}

async fn wrong_password() {
    let (mut project, mut way, _store) = new_project().await;
    way.open().await;
    let password = project.postgres_url.split(':').nth(2).unwrap().split('@').next().unwrap().to_owned();
    project.postgres_url = project.postgres_url.replace(&password, "s3cret");
    let _daemon = project.daemon();
    until_logged(&project, "28P01").await;
    assert!(project.log().contains("check user and password") && !project.log().contains("s3cret"));
}

/// PostgreSQL refuses with a code that a statement may have, too; nothing is halted.
async fn takes_no_connections() {
    let (project, mut way, store) = new_project().await;
    way.open().await;
    let daemon = project.daemon();
    append(&store, 10).await;
    project.until_value("select count(*) from numbers.numbers", "10").await;
    let (server, database) = project.postgres_url.rsplit_once('/').unwrap();
    let admin = PgPool::connect(&format!("{server}/postgres")).await.unwrap();
    let allow = async |whether: bool| {
        let sql = format!("alter database {database} allow_connections {whether}");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&admin).await.unwrap();
    };
    allow(false).await;
    let end = "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and application_name = 'projectord'";
    until_logged_while(&project, "SQLSTATE 55000", async || {
        sqlx::query(end).bind(database).execute(&admin).await.unwrap();
    })
    .await;
    allow(true).await;
    append(&store, 10).await;
    project.until_value("select count(*) from numbers.numbers", "20").await;
    assert!(!project.log().contains("halted"), "{}", project.log());
    assert_eq!(daemon.stop(Duration::from_secs(5)).await, Some(0));
}

async fn demo() {
    use std::os::unix::fs::PermissionsExt;
    let project = Project::new().await;
    let folder = project.folder.path();
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    let printed = project.ok(&["demo", "--for", "8s"]);
    assert!(printed.contains("events appended;") && printed.contains("orders.orders"), "{printed}");
    assert!(!folder.join(".projectord").exists());
}
