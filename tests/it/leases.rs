//! Several daemons on one database: one owner for each projection, work for each daemon, and whoever is
//! gone is replaced in time. The fence keeps out whoever does not know yet.

use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use serde_json::{Value, json};

use projectord::event::{Commit, NewEvent, StreamId};
use projectord::store::{EventStore, ExpectedVersion, PostgresStore, RethinkStore, Settings};

use crate::support::{Project, rethink_trial, trial, until};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("leases::work_spreads_over_the_daemons_and_each_projection_has_one_owner", spreads),
        trial("leases::a_daemon_that_stops_is_replaced_within_two_seconds", stops),
        trial("leases::a_daemon_that_was_killed_is_replaced_within_two_seconds", was_killed),
        trial("leases::a_daemon_that_hangs_is_replaced_within_ten_seconds_and_refused_when_it_wakes", hangs),
        trial(
            "leases::a_daemon_without_a_projections_folder_leaves_it_to_the_one_that_has_it",
            without_folder,
        ),
        trial("leases::a_daemon_shows_its_presence_again_while_the_log_grows", shows_presence),
        rethink_trial("leases::ingest_is_taken_over_too", ingest_is_taken_over),
        rethink_trial("leases::what_a_daemon_said_before_it_died_is_not_believed", last_words),
    ]
}

/// Each counts what it sees, which is not idempotent.
fn write_counters(project: &Project, names: &[&str]) {
    for name in names {
        project.write(
            name,
            "schema.sql",
            "create table seen (nth bigint generated always as identity, position bigint);",
        );
        project.write(name, "Counted.sql", "insert into seen (position) values (event.position);");
    }
}

async fn append(project: &Project, events: u64) {
    let store = PostgresStore::new(&project.postgres_url.parse().unwrap(), Settings::default());
    store.setup().await.unwrap();
    let stream = StreamId::random();
    for n in 0..events {
        let commit = Commit::new("counter", vec![NewEvent::from_json("Counted", json!({ "n": n }))]);
        store.append_to_stream(stream, ExpectedVersion::Any, commit).await.unwrap();
    }
}

const OWNERS: &str = "select string_agg(held::text, ' ' order by held) from (
    select count(*) as held from projectord.leases where expires_at > clock_timestamp() and owner is not null
     group by owner) h";

/// Waits until every projection has each event once, in order.
async fn until_exact(project: &Project, names: &[&str], patience: Duration) -> Duration {
    let begun = Instant::now();
    for name in names {
        // Who holds a lease has yet to make the table.
        project.until_value(&format!("select to_regclass('{name}.seen') is not null"), "true").await;
        let sql = format!(
            "select (select array_agg(position order by nth) from {name}.seen) =
                    (select array_agg(position order by position) from projectord.events)"
        );
        until(&sql, patience, async || project.value(&sql).await == "true").await;
    }
    begun.elapsed()
}

/// Its lock is another session's when it comes back to it, and there is always something to hear.
async fn shows_presence() {
    let project = Project::new().await;
    write_counters(&project, &["a"]);
    let _daemon = project.daemon();
    let shown = "select count(*) from pg_locks l, projectord.daemons d
                  where l.locktype = 'advisory' and l.granted and l.database =
                        (select oid from pg_database where datname = current_database())
                    and (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended(d.id::text, 0)";
    project.until_value(shown, "1").await;
    let id = project.value("select id from projectord.daemons").await;
    let mut other = project.pool.acquire().await.unwrap();
    let lost = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                 where datname = current_database() and query like 'select pg_try_advisory_lock%'";
    let lock = async {
        sqlx::query("select pg_advisory_lock(hashtextextended($1, 0))").bind(&id).execute(&mut *other).await
    };
    let (locked, ended) = tokio::join!(lock, project.value(lost));
    locked.unwrap();
    assert_eq!(ended, "1");
    let writing = async {
        loop {
            append(&project, 1).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let shows_it_again = async {
        // It has been refused once by then.
        let asked =
            "select count(*) from pg_stat_activity where datname = current_database() and state = 'idle'
                      and query like 'select pg_try_advisory_lock%'";
        project.until_value(asked, "1").await;
        sqlx::query("select pg_advisory_unlock_all()").execute(&mut *other).await.unwrap();
        project.until_value(shown, "1").await;
    };
    tokio::select! {
        () = shows_it_again => {}
        () = writing => {}
    }
}

async fn spreads() {
    let project = Project::new().await;
    let names = ["a", "b", "c", "d"];
    write_counters(&project, &names);
    let _first = project.daemon();
    project.until_value(OWNERS, "4").await;
    let _second = project.daemon();
    project.until_value(OWNERS, "2 2").await;
    append(&project, 50).await;
    until_exact(&project, &names, Duration::from_secs(20)).await;
    let status: Value = serde_json::from_str(&project.ok(&["status", "--json"])).unwrap();
    assert_eq!(status["daemons"].as_array().unwrap().len(), 2);
    assert!(status["projections"].as_array().unwrap().iter().all(|it| it["owner"].is_string()), "{status}");
    let shown = project.ok(&["status"]);
    assert_eq!(shown.matches("owns ").count(), 2, "{shown}");
}

async fn stops() {
    let project = Project::new().await;
    let names = ["a", "b"];
    write_counters(&project, &names);
    let first = project.daemon();
    project.until_value(OWNERS, "2").await;
    let _second = project.daemon();
    project.until_value(OWNERS, "1 1").await;
    project.until_state("a", "live").await;
    project.until_state("b", "live").await;
    assert_eq!(first.stop(Duration::from_secs(5)).await, Some(0));
    append(&project, 10).await;
    until_exact(&project, &names, Duration::from_secs(2)).await;
}

async fn was_killed() {
    let project = Project::new().await;
    let names = ["a", "b"];
    write_counters(&project, &names);
    let first = project.daemon();
    project.until_state("a", "live").await;
    project.until_state("b", "live").await;
    first.kill();
    append(&project, 10).await;
    let begun = Instant::now();
    let _second = project.daemon();
    until_exact(&project, &names, Duration::from_secs(5)).await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

async fn hangs() {
    let project = Project::new().await;
    let names = ["a", "b"];
    write_counters(&project, &names);
    let first = project.daemon();
    project.until_value(OWNERS, "2").await;
    let _second = project.daemon();
    project.until_value(OWNERS, "1 1").await;
    first.signal("STOP");
    let begun = Instant::now();
    append(&project, 100).await;
    until_exact(&project, &names, Duration::from_secs(15)).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    // Awake, it has the same old bell to hear, and nothing that it does may count.
    first.signal("CONT");
    append(&project, 100).await;
    project.until_value(OWNERS, "1 1").await;
    until_exact(&project, &names, Duration::from_secs(15)).await;
    project.ok(&["audit"]);
}

async fn without_folder() {
    let project = Project::new().await;
    write_counters(&project, &["a", "b"]);
    let mut other = Project::new().await;
    other.postgres_url.clone_from(&project.postgres_url);
    write_counters(&other, &["c"]);
    let _first = project.daemon();
    let _second = other.daemon();
    project.until_value(OWNERS, "1 2").await;
    append(&project, 20).await;
    until_exact(&project, &["a", "b", "c"], Duration::from_secs(20)).await;
}

async fn ingest_is_taken_over() {
    let project = Project::on_rethinkdb().await;
    write_counters(&project, &["a"]);
    project.ok(&["setup"]);
    let ingest = "select owner is not null from projectord.leases where name = 'ingest'";
    let first = project.daemon();
    project.until_value(ingest, "true").await;
    project.until_value("select state from projectord.ingest_status", "live").await;
    let stream = StreamId::random().to_string();
    project.ok(&["append", &stream, "Counted", "{}", "--stream-type", "counter"]);
    let _second = project.daemon();
    project.until_value(OWNERS, "1 1").await;
    first.kill();
    project.ok(&["append", &stream, "Counted", "{}", "--stream-type", "counter"]);
    until("both are there", Duration::from_secs(10), async || {
        project.value("select count(*) from projectord.events").await == "2"
    })
    .await;
    until_exact(&project, &["a"], Duration::from_secs(10)).await;
}

/// It follows the store live, so it said; it is gone, and the server does not know it yet.
async fn last_words() {
    let project = Project::on_rethinkdb().await;
    project.ok(&["setup"]);
    let url = project.store_url.as_ref().unwrap();
    let store = RethinkStore::new(url.parse().unwrap(), Settings::default());
    let commit = Commit::new("counter", vec![NewEvent::from_json("Counted", json!({"n": 1}))]);
    store.append_to_stream(StreamId::random(), ExpectedVersion::NoStream, commit).await.unwrap();

    let gone = StreamId::random().0;
    let mut session = project.pool.acquire().await.unwrap();
    for words in [
        "select pg_advisory_lock(hashtextextended($1::text, 0))",
        "insert into projectord.daemons (id, host, pid, version) values ($1, 'gone', 1, '0')",
        "insert into projectord.leases (name, owner, epoch, expires_at)
         values ('ingest', $1, 1, clock_timestamp() + interval '2 seconds')",
        "update projectord.ingest_status set state = 'live' where $1 is not null",
    ] {
        sqlx::query(words).bind(gone).execute(&mut *session).await.unwrap();
    }
    project.ok(&["run", "--until-caught-up"]);
    assert_eq!(project.value("select position from projectord.log_head").await, "1");
}
