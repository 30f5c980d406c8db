//! Projections whose handlers are Rust, in a daemon that is a part of this program.

use std::time::Duration;

use async_trait::async_trait;
use libtest_mimic::Trial;
use serde_json::json;
use sqlx::PgConnection;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use projectord::config::{Config, SecretUrl};
use projectord::daemon::{Daemon, Outcome, RunError};
use projectord::event::{Commit, NewEvent, StreamId, Version};
use projectord::log::LogEvent;
use projectord::projection::{Code, Definition, HandlerError, OnError, Projection};
use projectord::store::{EventStore, ExpectedVersion, PostgresStore, Settings};
use projectord::testing::{Given, ReadModel};

use crate::support::{Project, text, trial};

#[path = "../../examples/rust_projection.rs"]
#[allow(dead_code, missing_docs, reason = "its `main` is for the example")]
mod rust_projection;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("code::a_projection_in_rust_follows_the_log_and_survives_a_restart", follows),
        trial("code::a_refused_event_halts_it_or_is_parked_and_retried", refuses),
        trial("code::another_revision_is_built_beside_the_old_rows", revises),
        trial("code::a_rebuild_makes_the_same_rows_and_audit_and_verify_agree", rebuilds),
        trial("code::old_events_come_as_they_are_written_today", upcasts),
        trial("code::an_upcaster_that_fails_is_named_with_its_line", upcaster_fails),
        trial("code::one_that_ends_the_transaction_is_refused", cannot_commit),
        trial("code::one_that_panics_leaves_the_others_going", panics),
        trial("code::a_daemon_that_waits_for_postgresql_stops_when_it_is_told_to", stops_while_waiting),
        trial("code::the_example_keeps_its_table", example),
        trial("code::the_test_kit_takes_it_as_it_takes_a_folder", test_kit),
        trial("wait_for::returns_when_the_row_is_there_and_raises_when_it_is_not", waits),
    ]
}

/// What a test makes of an event.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Sum,
    Double,
    RefuseThree,
    Commit,
    Panic,
}

/// Accounts, as the tests of SQL handlers have them.
struct Accounts {
    way: Way,
    on_error: OnError,
}

#[async_trait]
impl Projection for Accounts {
    fn name(&self) -> &str {
        "accounts"
    }

    fn revision(&self) -> &str {
        if self.way == Way::Double { "2" } else { "1" }
    }

    fn schema_sql(&self) -> &str {
        "create table accounts (id uuid primary key, events int not null, total bigint not null);
         create table allowed (three boolean); insert into allowed values (false);"
    }

    fn handles(&self) -> &[&str] {
        &["Moved"]
    }

    fn on_error(&self) -> OnError {
        self.on_error
    }

    async fn apply(&self, events: &[LogEvent], rows: &mut PgConnection) -> Result<(), HandlerError> {
        for event in events {
            assert_eq!(event.event_type, "Moved");
            let (allowed,): (bool,) =
                sqlx::query_as("select three from allowed").fetch_one(&mut *rows).await?;
            match self.way {
                Way::RefuseThree if event.version == 3 && !allowed => {
                    return Err(HandlerError::Refused("three is too many".into()));
                }
                Way::Panic if event.version == 3 => panic!("at three"),
                _ => {}
            }
            let factor = if self.way == Way::Double { 2 } else { 1 };
            let amount = event.data["amount"].as_i64().unwrap_or_default() * factor;
            sqlx::query(
                "insert into accounts values ($1, 1, $2) on conflict (id) do update
                    set events = accounts.events + 1, total = accounts.total + excluded.total",
            )
            .bind(event.stream_id)
            .bind(amount)
            .execute(&mut *rows)
            .await?;
        }
        if self.way == Way::Commit {
            sqlx::query("commit").execute(&mut *rows).await?;
        }
        Ok(())
    }
}

/// A daemon in this process, until it is dropped.
struct Inside {
    stop: oneshot::Sender<()>,
    run: JoinHandle<Result<Outcome, RunError>>,
}

impl Inside {
    fn start(project: &Project, way: Way, on_error: OnError) -> Self {
        let mut config = Config::default();
        config.postgres.url = SecretUrl::from(project.postgres_url.as_str());
        config.http.listen = String::new();
        config.projections.path = project.projections();
        config.projector.max_batch = 7;
        config.projector.poll_interval = Duration::from_millis(300);
        let (stop, stopped) = oneshot::channel();
        let daemon = Daemon::builder(config).projection(Accounts { way, on_error });
        let run = tokio::spawn(daemon.run_until(async move { drop(stopped.await) }));
        Self { stop, run }
    }

    async fn end(self) {
        drop(self.stop);
        assert_eq!(self.run.await.unwrap().unwrap(), Outcome::Stopped);
    }
}

async fn stops_while_waiting() {
    let mut config = Config::default();
    config.postgres.url = SecretUrl::from("postgres://127.0.0.1:1/d");
    config.http.listen = String::new();
    let daemon = Daemon::builder(config).projection(Accounts { way: Way::Sum, on_error: OnError::Halt });
    let stop = tokio::time::sleep(Duration::from_millis(300));
    let ended = tokio::time::timeout(Duration::from_secs(10), daemon.run_until(stop)).await;
    assert_eq!(ended.expect("it ends").unwrap(), Outcome::Stopped);
}

/// Streams of ten events each, with amounts 1 to 10, and some that nobody wants.
async fn append(project: &Project, streams: usize) -> Vec<StreamId> {
    let store = PostgresStore::new(&project.postgres_url.parse().unwrap(), Settings::default());
    store.setup().await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..streams {
        let mut events: Vec<NewEvent> =
            (1..=10).map(|n| NewEvent::from_json("Moved", json!({ "amount": n }))).collect();
        events.push(NewEvent::from_json("Noticed", json!({})));
        let id = StreamId::random();
        let commit = Commit::new("account", events);
        store.append_to_stream(id, ExpectedVersion::NoStream, commit).await.unwrap();
        ids.push(id);
    }
    ids
}

const SUMS: &str = "select count(*) || ' ' || sum(events) || ' ' || sum(total) from accounts.accounts";

async fn follows() {
    let project = Project::new().await;
    append(&project, 4).await;
    let daemon = Inside::start(&project, Way::Sum, OnError::Halt);
    project.until_value(SUMS, "4 40 220").await;
    daemon.end().await;
    append(&project, 1).await;
    let daemon = Inside::start(&project, Way::Sum, OnError::Halt);
    project.until_value(SUMS, "5 50 275").await;
    project.until_state("accounts", "live").await;
    project.until_value("select checkpoint from projectord.generations", "55").await;
    project.ok(&["audit"]);
    daemon.end().await;
    assert_eq!(project.value("select count(*) from projectord.daemons").await, "0");
}

async fn refuses() {
    let project = Project::new().await;
    append(&project, 2).await;
    let daemon = Inside::start(&project, Way::RefuseThree, OnError::Halt);
    project.until_state("accounts", "halted").await;
    let error =
        "select (error->>'message') || ' ' || (error->'event'->>'position') from projectord.projections";
    assert_eq!(project.value(error).await, "three is too many 3");
    assert_eq!(project.value(SUMS).await, "1 2 3", "what came before it is there");
    daemon.end().await;

    let daemon = Inside::start(&project, Way::RefuseThree, OnError::Park);
    project.until_value("select checkpoint from projectord.generations", "22").await;
    assert_eq!(project.value(SUMS).await, "2 4 6");
    assert_eq!(project.value("select count(*) from projectord.parked").await, "16");
    project.ok(&["audit"]);
    sqlx::query("update accounts.allowed set three = true").execute(&project.pool).await.unwrap();
    project.until_state("accounts", "live").await;
    let retried = project.ok(&["retry", "accounts"]);
    assert!(retried.contains("16 applied, 0 still parked"), "{retried}");
    assert_eq!(project.value(SUMS).await, "2 20 110");
    project.ok(&["audit"]);
    daemon.end().await;
}

async fn revises() {
    let project = Project::new().await;
    append(&project, 3).await;
    let daemon = Inside::start(&project, Way::Sum, OnError::Halt);
    project.until_value(SUMS, "3 30 165").await;
    daemon.end().await;
    append(&project, 1).await;
    let daemon = Inside::start(&project, Way::Double, OnError::Halt);
    project.until_value(SUMS, "4 40 440").await;
    assert_eq!(project.value("select generation from projectord.projections").await, "2");
    project.until_state("accounts", "live").await;
    project.ok(&["audit"]);
    // The old revision is not in this program, so its rows cannot be brought up to date.
    append(&project, 1).await;
    project.until_value(SUMS, "5 50 550").await;
    let undo = project.run(&["undo", "accounts", "--yes"]);
    assert_eq!(undo.status.code(), Some(3), "{}", text(&undo.stderr));
    assert!(text(&undo.stderr).contains("another revision"), "{}", text(&undo.stderr));
    daemon.end().await;
}

async fn rebuilds() {
    let project = Project::new().await;
    append(&project, 10).await;
    let daemon = Inside::start(&project, Way::Sum, OnError::Halt);
    project.until_value(SUMS, "10 100 550").await;
    let run = |arguments: &'static [&'static str]| {
        let (folder, url) = (project.folder.path().to_owned(), project.postgres_url.clone());
        tokio::task::spawn_blocking(move || {
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_projectord"));
            command.args(arguments).current_dir(folder).env("PROJECTORD_POSTGRES__URL", url);
            let output = command.output().unwrap();
            assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
            text(&output.stdout)
        })
    };
    run(&["rebuild", "accounts", "--wait"]).await.unwrap();
    assert_eq!(project.value("select generation from projectord.projections").await, "2");
    assert_eq!(project.value(SUMS).await, "10 100 550");
    let verified = run(&["verify", "accounts"]).await.unwrap();
    assert!(verified.contains("same accounts: 10 rows"), "{verified}");
    run(&["undo", "accounts", "--yes"]).await.unwrap();
    append(&project, 1).await;
    project.until_value(SUMS, "11 110 605").await;
    run(&["audit"]).await.unwrap();
    daemon.end().await;
}

const TEN_TIMES: &str =
    "-- amounts were in tens\ndata || jsonb_build_object('amount', (data->>'amount')::int * 10)";

async fn upcasts() {
    let project = Project::new().await;
    append(&project, 2).await;
    let daemon = Inside::start(&project, Way::Sum, OnError::Park);
    project.until_value(SUMS, "2 20 110").await;
    daemon.end().await;
    // Another reading of old events is another read model, as another revision is.
    project.write("_upcasters", "Moved.sql", TEN_TIMES);
    project.write("_upcasters", "Unheard.sql", "data");
    let daemon = Inside::start(&project, Way::RefuseThree, OnError::Park);
    project.until_value("select generation from projectord.projections", "2").await;
    assert_eq!(project.value(SUMS).await, "2 4 60");
    project.ok(&["audit"]);
    sqlx::query("update accounts.allowed set three = true").execute(&project.pool).await.unwrap();
    project.until_state("accounts", "live").await;
    let retried = project.ok(&["retry", "accounts"]);
    assert!(retried.contains("16 applied, 0 still parked"), "{retried}");
    assert_eq!(project.value(SUMS).await, "2 20 1100");
    append(&project, 1).await;
    project.until_value(SUMS, "3 30 1650").await;
    let first = "select data->>'amount' from projectord.events where position = 1";
    assert_eq!(project.value(first).await, "1", "the log has what was written");
    project.ok(&["audit"]);
    daemon.end().await;
}

async fn upcaster_fails() {
    let project = Project::new().await;
    append(&project, 1).await;
    project.write("_upcasters", "Moved.sql", "-- why\ndata ||\n jsonb_build_object('n', 1 / (version - 3))");
    let daemon = Inside::start(&project, Way::Sum, OnError::Park);
    project.until_value("select checkpoint from projectord.generations", "11").await;
    assert_eq!(project.value(SUMS).await, "1 2 3");
    let error =
        "select (error->>'file') || ' ' || (error->>'sqlstate') from projectord.parked where position = 3";
    assert_eq!(project.value(error).await, "_upcasters/Moved.sql:2 22012");
    project.ok(&["audit"]);
    daemon.end().await;
    // One that cannot be read at all: it does not go on with events as they were.
    project.write("_upcasters", "Moved.sql", "data;");
    let daemon = Inside::start(&project, Way::Sum, OnError::Park);
    project.until_state("accounts", "halted").await;
    let error = project.value("select error->>'message' from projectord.projections").await;
    assert!(error.contains("the upcaster of \"Moved\", which it handles, is wrong"), "{error}");
    daemon.end().await;
}

async fn cannot_commit() {
    let project = Project::new().await;
    append(&project, 1).await;
    let daemon = Inside::start(&project, Way::Commit, OnError::Halt);
    project.until_state("accounts", "halted").await;
    let error = "select error->>'sqlstate' from projectord.projections";
    assert_eq!(project.value(error).await, "PJ007");
    assert_eq!(project.value("select checkpoint from projectord.generations").await, "0");
    daemon.end().await;
}

async fn test_kit() {
    let project = Project::new().await;
    let mut connection = project.pool.acquire().await.unwrap();
    let moved = |amount: i32| json!({ "amount": amount });
    let given = Given::new()
        .event("a", "Moved", moved(1))
        .and_then(|it| it.event("a", "Noticed", json!({})))
        .and_then(|it| it.event("a", "Moved", moved(2)))
        .and_then(|it| it.event("b", "Moved", moved(5)))
        .and_then(|it| it.event("a", "Moved", moved(3)));
    let given = given.unwrap();
    for (way, on_error, batch, applied, total) in [
        (Way::Sum, OnError::Halt, 1, 5, 11),
        (Way::Sum, OnError::Halt, 3, 5, 11),
        (Way::Double, OnError::Halt, 9, 5, 22),
        // The third version is one that is refused: what follows in its stream waits, or everything does.
        (Way::RefuseThree, OnError::Halt, 9, 2, 1),
        (Way::RefuseThree, OnError::Park, 9, 5, 6),
    ] {
        let definition = Definition::try_from(Code::new(Accounts { way, on_error })).unwrap();
        let mut model = ReadModel::new(&mut connection, &definition, &given).await.unwrap();
        model.apply(5, batch).await.unwrap();
        assert_eq!(model.applied().events, applied, "{way:?} {batch}");
        let rows = model.rows("select sum(total)::int as total from accounts").await.unwrap();
        assert_eq!(rows, [json!({ "total": total })], "{way:?} {batch}");
        if way == Way::RefuseThree {
            assert_eq!(model.applied().failures[0].message, "three is too many");
        }
    }
    project.write("_upcasters", "Moved.sql", TEN_TIMES);
    let code = Code::new(Accounts { way: Way::Sum, on_error: OnError::Halt });
    let definition = Definition::try_from(code).unwrap().with_upcasters(&project.projections()).unwrap();
    let mut model = ReadModel::new(&mut connection, &definition, &given).await.unwrap();
    model.apply_all().await.unwrap();
    let rows = model.rows("select sum(total)::int as total from accounts").await.unwrap();
    assert_eq!(rows, [json!({ "total": 110 })], "old events are read as today");
}

async fn example() {
    let project = Project::new().await;
    project.copy("projections/orders");
    for total in ["12.5", "30"] {
        let data = format!("{{\"user_id\": 7, \"total\": {total}}}");
        let stream = StreamId::random().to_string();
        project.ok(&["setup"]);
        project.ok(&["append", &stream, "OrderCreated", &data, "--stream-type", "order"]);
    }
    let mut config = Config::default();
    config.postgres.url = SecretUrl::from(project.postgres_url.as_str());
    config.projections.path = project.projections();
    let daemon = Daemon::builder(config).projection(rust_projection::Spending).until_caught_up();
    assert_eq!(daemon.run().await.unwrap(), Outcome::CaughtUp);
    let sums = "select user_id || ' ' || orders || ' ' || cents from spending.customers";
    assert_eq!(project.value(sums).await, "7 2 4250");
    assert_eq!(project.value("select count(*) from orders.orders").await, "2", "folders run beside it");
}

async fn panics() {
    let project = Project::new().await;
    project.write("others", "schema.sql", "create table seen (position bigint);");
    project.write("others", "Moved.sql", "insert into seen values (event.position);");
    append(&project, 1).await;
    let daemon = Inside::start(&project, Way::Panic, OnError::Halt);
    project.until_value("select count(*) from others.seen", "10").await;
    append(&project, 2).await;
    project.until_value("select count(*) from others.seen", "30").await;
    assert_eq!(project.value("select count(*) from accounts.accounts where events > 2").await, "0");
    daemon.end().await;
}

async fn waits() {
    let project = Project::new().await;
    project.copy("projections/orders");
    let store = PostgresStore::new(&project.postgres_url.parse().unwrap(), Settings::default());
    store.setup().await.unwrap();
    let unknown = store.wait_for("orders", StreamId::random(), Version(1), Duration::from_millis(50)).await;
    assert!(unknown.unwrap_err().to_string().contains("no projection orders"));
    let _daemon = project.daemon();
    project.until_state("orders", "live").await;
    for _ in 0..20 {
        let order = StreamId::random();
        let created = NewEvent::from_json("OrderCreated", json!({"user_id": 7, "total": 12.5}));
        let commit = Commit::new("order", vec![created]);
        store.append_to_stream(order, ExpectedVersion::NoStream, commit).await.unwrap();
        store.wait_for("orders", order, Version(1), Duration::from_secs(10)).await.unwrap();
        let there = format!("select count(*) from orders.orders where id = '{order}'");
        assert_eq!(project.value(&there).await, "1", "read at once");
        let later = store.wait_for("orders", order, Version(2), Duration::from_millis(100)).await;
        assert!(later.unwrap_err().to_string().contains("the log does not have it yet"));
    }
    let strict = "begin isolation level repeatable read;
                  select projectord.wait_for('orders', gen_random_uuid(), 1)";
    let mut session = project.pool.acquire().await.unwrap();
    let refused = sqlx::Executor::execute(&mut *session, sqlx::raw_sql(strict)).await.unwrap_err();
    assert!(refused.to_string().contains("sees nothing new"), "{refused}");
    session.close().await.unwrap();
}
