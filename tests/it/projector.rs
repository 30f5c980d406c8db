//! The projector applies each event once, in order, whatever happens to it.

use std::time::Duration;

use libtest_mimic::Trial;
use serde_json::json;

use projectord::event::{Commit, NewEvent, StreamId};
use projectord::store::{EventStore, ExpectedVersion, PostgresStore, Settings};

use crate::support::{Project, trial, until};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("projector::follows_the_log_live", follows_the_log_live),
        trial("projector::any_batch_size_gives_the_same_rows", any_batch_size_gives_the_same_rows),
        trial("projector::halts_at_the_event_that_fails_and_goes_on_when_repaired", halts_and_goes_on),
        trial("projector::a_failed_event_leaves_the_other_projections_alone", leaves_others_alone),
        trial("projector::killed_again_and_again_it_applies_each_event_once", killed_again_and_again),
        trial("projector::connections_cut_again_and_again_it_applies_each_event_once", connections_cut),
        trial("projector::two_daemons_apply_each_event_once", two_daemons),
        trial("projector::changed_files_rebuild_refuse_or_wait_as_configured", changed_files),
        trial("projector::a_reload_takes_up_new_and_changed_folders", reload),
        trial("projector::a_rebuild_gives_the_same_rows", a_rebuild_gives_the_same_rows),
        trial("projector::a_rebuild_killed_half_way_goes_on", a_rebuild_killed_half_way_goes_on),
        trial("projector::a_rebuild_never_drops_what_others_made_of_its_tables", refuses_dependants),
        trial("projector::paused_it_stands_still_and_resumed_it_goes_on", pause_and_resume),
        trial("projector::a_checkpoint_that_was_deleted_set_ahead_or_back_is_refused", checkpoint_changed),
        trial("projector::a_checkpoint_is_a_short_row_however_many_files_there_are", short_row),
        trial("projector::a_handler_that_takes_too_long_is_cancelled_and_halts", statement_timeout),
        trial("projector::sigterm_ends_it_in_time_in_the_middle_of_a_backlog", sigterm_in_a_backlog),
    ]
}

/// Insert only and without a key, so that an event applied twice shows; a counter, which is not
/// idempotent; a chain, which depends on the order.
fn write_checks(project: &Project) {
    project.write(
        "audit",
        "schema.sql",
        "create table seen (nth bigint generated always as identity, position bigint, type text);
         create table counter (n bigint not null);
         insert into counter values (0);
         create table chains (stream_id uuid primary key, chain text not null);",
    );
    project.write("audit", "projection.toml", "[on]\n\"*\" = \"any.sql\"\n");
    project.write(
        "audit",
        "any.sql",
        "insert into seen (position, type) values (event.position, event.type);
         update counter set n = n + 1;
         insert into chains values (event.stream_id, md5(event.version::text))
             on conflict (stream_id) do update set chain = md5(chains.chain || event.version);",
    );
}

/// What `audit` must hold, computed from the log without it.
async fn assert_audit_is_right(project: &Project) {
    for (what, sql) in [
        (
            "each event once, in order",
            "select (select array_agg(position order by nth) from audit.seen) =
                    (select array_agg(position order by position) from projectord.events)",
        ),
        ("counted once", "select n = (select count(*) from projectord.events) from audit.counter"),
        (
            "in order of version",
            "with recursive chain as (
                 select stream_id, version, md5(version::text) as chain from projectord.events where version = 1
                 union all
                 select e.stream_id, e.version, md5(c.chain || e.version) from chain c
                   join projectord.events e on e.stream_id = c.stream_id and e.version = c.version + 1)
             select not exists (
                 (select distinct on (stream_id) stream_id, chain from chain order by stream_id, version desc)
                 except select stream_id, chain from audit.chains)",
        ),
    ] {
        assert_eq!(project.value(sql).await, "true", "{what}");
    }
}

async fn store(project: &Project) -> PostgresStore {
    let store = PostgresStore::new(&project.postgres_url.parse().unwrap(), Settings::default());
    store.setup().await.unwrap();
    store
}

/// Streams of `per_stream` events, ten to a commit.
async fn append(store: &PostgresStore, streams: u64, per_stream: u64) {
    for _ in 0..streams {
        let stream = StreamId::random();
        let events: Vec<NewEvent> =
            (1..=per_stream).map(|n| NewEvent::from_json("Counted", json!({ "n": n }))).collect();
        for events in events.chunks(10) {
            let commit = Commit::new("counter", events.to_vec());
            store.append_to_stream(stream, ExpectedVersion::Any, commit).await.unwrap();
        }
    }
}

async fn until_caught_up(project: &Project, projection: &str) {
    let sql = format!(
        "select g.checkpoint = h.position from projectord.projections p
           join projectord.generations g on g.projection = p.name and g.generation = p.generation,
                projectord.log_head h where p.name = '{projection}'"
    );
    project.until_value(&sql, "true").await;
}

async fn follows_the_log_live() {
    let project = Project::new().await;
    project.copy("projections/orders");
    project.copy("projections/customers");
    let store = store(&project).await;
    let _daemon = project.daemon();
    project.until_state("orders", "live").await;
    let stream = StreamId::random();
    let created = NewEvent::from_json("OrderCreated", json!({"user_id": 7, "total": 12.5}));
    let sent = NewEvent::from_json("StatusChanged", json!({"status": "sent"}));
    let other = NewEvent::from_json("NobodyCares", json!({}));
    for event in [created, other, sent] {
        store
            .append_to_stream(stream, ExpectedVersion::Any, Commit::new("order", vec![event]))
            .await
            .unwrap();
    }
    project.until_value("select status || version || total from orders.orders", "sent312.50").await;
    project
        .until_value("select orders || ' ' || total from customers.customers where user_id = 7", "1 12.50")
        .await;
    until_caught_up(&project, "customers").await;
}

async fn any_batch_size_gives_the_same_rows() {
    let project = Project::new().await;
    write_checks(&project);
    append(&store(&project).await, 12, 25).await;
    let mut rows = Vec::new();
    for batch in ["1", "3", "7", "100000"] {
        sqlx::query("update projectord.projections set rebuild_wanted = 'in_place'")
            .execute(&project.pool)
            .await
            .ok();
        let output = project
            .command(&["run", "--until-caught-up"])
            .env("PROJECTORD_PROJECTOR__MAX_BATCH", batch)
            .output()
            .unwrap();
        assert!(output.status.success());
        assert_audit_is_right(&project).await;
        rows.push((
            project.value("select string_agg(position || type, ' ' order by nth) from audit.seen").await,
            project.rows("audit.chains").await,
        ));
    }
    assert!(rows.iter().all(|other| *other == rows[0]));
}

fn write_poisoned(project: &Project) {
    project.write("poisoned", "schema.sql", "create table numbers (n int not null check (n <> 13));");
    project.write(
        "poisoned",
        "Counted.sql",
        "-- A line before it.\ninsert into numbers values ((event.data->>'n')::int);",
    );
}

async fn halts_and_goes_on() {
    let project = Project::new().await;
    write_poisoned(&project);
    append(&store(&project).await, 1, 40).await;
    let daemon = project.daemon();
    project.until_state("poisoned", "halted").await;
    let error = "from projectord.projections where name = 'poisoned'";
    assert_eq!(project.value(&format!("select error->'event'->>'position' {error}")).await, "13");
    assert_eq!(project.value(&format!("select error->>'sqlstate' {error}")).await, "23514");
    assert_eq!(project.value(&format!("select error->>'file' {error}")).await, "Counted.sql:2");
    assert_eq!(project.value("select count(*) from poisoned.numbers").await, "12");
    assert_eq!(project.value("select checkpoint from projectord.generations").await, "12");
    assert!(project.ok(&["status"]).contains("Counted.sql:2"));

    // Resumed without a repair, it halts at the same event.
    project.ok(&["resume", "poisoned"]);
    project.until_state("poisoned", "halted").await;
    // The cause goes away without a restart.
    sqlx::query("alter table poisoned.numbers drop constraint numbers_n_check")
        .execute(&project.pool)
        .await
        .unwrap();
    project.ok(&["resume", "poisoned"]);
    project.until_state("poisoned", "live").await;
    assert_eq!(project.value("select count(*) from poisoned.numbers").await, "40");
    assert_eq!(daemon.stop(Duration::from_secs(5)).await, Some(0));
}

async fn leaves_others_alone() {
    let project = Project::new().await;
    write_poisoned(&project);
    write_checks(&project);
    append(&store(&project).await, 1, 40).await;
    let output = project.run(&["run", "--until-caught-up"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(crate::support::text(&output.stderr).contains("halted: poisoned"));
    assert_audit_is_right(&project).await;
}

/// Small batches, so that there is something in hand when it ends.
fn slow_daemon(project: &Project) -> std::process::Child {
    project
        .command(&["run"])
        .env("PROJECTORD_PROJECTOR__MAX_BATCH", "5")
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap()
}

async fn killed_again_and_again() {
    let project = Project::new().await;
    write_checks(&project);
    let store = store(&project).await;
    append(&store, 20, 100).await;
    for _ in 0..15 {
        let mut daemon = slow_daemon(&project);
        tokio::time::sleep(Duration::from_millis(fastrand::u64(30..120))).await;
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        append(&store, 1, 20).await;
    }
    project.ok(&["run", "--until-caught-up"]);
    assert_audit_is_right(&project).await;
}

async fn connections_cut() {
    let project = Project::new().await;
    write_checks(&project);
    append(&store(&project).await, 20, 100).await;
    let mut daemon = slow_daemon(&project);
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(20..80))).await;
        sqlx::query(
            "select pg_terminate_backend(pid) from pg_stat_activity
              where application_name = 'projectord' and datname = current_database()",
        )
        .execute(&project.pool)
        .await
        .unwrap();
    }
    until_caught_up(&project, "audit").await;
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    assert_audit_is_right(&project).await;
}

async fn two_daemons() {
    let project = Project::new().await;
    write_checks(&project);
    let store = store(&project).await;
    append(&store, 10, 100).await;
    let daemons = [slow_daemon(&project), slow_daemon(&project)];
    append(&store, 5, 50).await;
    until_caught_up(&project, "audit").await;
    for mut daemon in daemons {
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }
    assert_audit_is_right(&project).await;
}

async fn changed_files() {
    let project = Project::new().await;
    write_checks(&project);
    append(&store(&project).await, 2, 20).await;
    project.ok(&["run", "--until-caught-up"]);
    let generation = "select generation from projectord.projections";
    assert_eq!(project.value(generation).await, "1");
    project.write(
        "audit",
        "schema.sql",
        "create table seen (position bigint, type text, extra int default 5);
        create table counter (n bigint not null); insert into counter values (0);
        create table chains (stream_id uuid primary key, chain text not null);",
    );
    project.write(
        "audit",
        "any.sql",
        "insert into seen values (event.position, event.type); update counter set n = n + 1;",
    );

    let run = |on_change: &str| {
        let mut command = project.command(&["run", "--until-caught-up"]);
        command.env("PROJECTORD_PROJECTIONS__ON_CHANGE", on_change).output().unwrap()
    };
    assert!(run("ignore").status.success());
    assert_eq!(project.value(generation).await, "1");
    assert_eq!(run("refuse").status.code(), Some(3));
    assert!(project.value("select error from projectord.projections").await.contains("files have changed"));
    assert_eq!(project.value(generation).await, "1");
    assert!(run("rebuild").status.success());
    assert_eq!(project.value(generation).await, "2");
    assert_eq!(project.value("select sum(extra) from audit.seen").await, "200");
}

async fn reload() {
    let project = Project::new().await;
    write_checks(&project);
    let store = store(&project).await;
    append(&store, 2, 20).await;
    let daemon = project.daemon();
    project.until_state("audit", "live").await;
    project.write("late", "schema.sql", "create table numbers (n int);");
    project.write("late", "Counted.sql", "insert into numbers values ((event.data->>'n')::int);");
    daemon.signal("HUP");
    project.until_value("select count(*) from late.numbers", "40").await;
    // A folder that cannot be read leaves everything as it was.
    project.write("late", "Counted.sql", "commit;");
    project.write("other", "schema.sql", "create table t ();");
    daemon.signal("HUP");
    until("the problem is logged", Duration::from_secs(10), async || {
        project.log().contains("COMMIT is not allowed")
    })
    .await;
    append(&store, 1, 10).await;
    project.until_value("select count(*) from late.numbers", "50").await;
    project.write("late", "Counted.sql", "insert into numbers values (-1);");
    daemon.signal("HUP");
    project
        .until_value("select count(*) || ' ' || min(n) || ' ' || max(n) from late.numbers", "50 -1 -1")
        .await;
    assert_eq!(daemon.stop(Duration::from_secs(5)).await, Some(0));
}

async fn a_rebuild_gives_the_same_rows() {
    let project = Project::new().await;
    project.copy("projections/orders");
    project.copy("projections/customers");
    write_checks(&project);
    let store = store(&project).await;
    let _daemon = project.daemon();
    for n in 0..60 {
        let stream = StreamId::random();
        let created = NewEvent::from_json("OrderCreated", json!({"user_id": n % 7, "total": n}));
        let sent = NewEvent::from_json("StatusChanged", json!({"status": "sent"}));
        let commit = Commit::new("order", vec![created, sent]);
        store.append_to_stream(stream, ExpectedVersion::NoStream, commit).await.unwrap();
    }
    let tables = ["orders.orders", "customers.customers", "audit.counter", "audit.chains"];
    for projection in ["orders", "customers", "audit"] {
        until_caught_up(&project, projection).await;
    }
    let mut live = Vec::new();
    for table in tables {
        live.push(project.rows(table).await);
    }
    for projection in ["orders", "customers", "audit"] {
        project.ok(&["rebuild", projection, "--yes", "--wait"]);
    }
    for (table, live) in tables.iter().zip(&live) {
        assert_eq!(project.rows(table).await, *live, "{table}");
    }
    assert_eq!(project.value("select count(*) from projectord.generations where generation = 2").await, "3");
}

async fn a_rebuild_killed_half_way_goes_on() {
    let project = Project::new().await;
    write_checks(&project);
    append(&store(&project).await, 20, 100).await;
    project.ok(&["run", "--until-caught-up"]);
    sqlx::query("update projectord.projections set rebuild_wanted = 'in_place'")
        .execute(&project.pool)
        .await
        .unwrap();
    let mut daemon = slow_daemon(&project);
    project
        .until_value(
            "select checkpoint between 10 and 1900 from projectord.generations where generation = 2",
            "true",
        )
        .await;
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    project.ok(&["run", "--until-caught-up"]);
    assert_eq!(
        project.value("select generation || ' ' || checkpoint from projectord.generations").await,
        "2 2000"
    );
    assert_audit_is_right(&project).await;
}

async fn refuses_dependants() {
    let project = Project::new().await;
    write_checks(&project);
    append(&store(&project).await, 1, 10).await;
    project.ok(&["run", "--until-caught-up"]);
    sqlx::query("create view public.mine as select count(*) from audit.seen")
        .execute(&project.pool)
        .await
        .unwrap();
    let _daemon = project.daemon();
    project.until_state("audit", "live").await;
    let output = project.run(&["rebuild", "audit", "--in-place", "--yes", "--wait"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(
        crate::support::text(&output.stderr).contains("view public.mine"),
        "{}",
        crate::support::text(&output.stderr)
    );
    assert_eq!(project.value("select * from public.mine").await, "10");
    sqlx::query("drop view public.mine").execute(&project.pool).await.unwrap();
    project.ok(&["rebuild", "audit", "--in-place", "--yes", "--wait"]);
    assert_eq!(project.value("select generation from projectord.projections").await, "2");
    project.until_state("audit", "live").await;
}

async fn pause_and_resume() {
    let project = Project::new().await;
    write_checks(&project);
    let store = store(&project).await;
    append(&store, 1, 10).await;
    let _daemon = project.daemon();
    project.until_state("audit", "live").await;
    project.ok(&["pause", "audit"]);
    project.until_state("audit", "paused").await;
    append(&store, 1, 10).await;
    assert_eq!(project.value("select checkpoint from projectord.generations").await, "10");
    project.ok(&["resume", "audit"]);
    until_caught_up(&project, "audit").await;
    assert_audit_is_right(&project).await;
}

/// Nothing is guessed: the projection halts with a reason, its rows stay as they are, and a rebuild, which
/// somebody must ask for, puts it right.
async fn checkpoint_changed() {
    for (by_hand, sqlstate) in [
        ("update projectord.generations set checkpoint = 999", "PJ009"),
        ("update projectord.generations set checkpoint = 4", "PJ009"),
        ("update projectord.generations set events = events - 1", "PJ009"),
        // Sealed again by whoever did it: then the log tells.
        (
            "update projectord.generations set checkpoint = 999, seal = projectord.seal(1, 999, events, digest)",
            "PJ002",
        ),
        ("delete from projectord.generations", "PJ008"),
    ] {
        let project = Project::new().await;
        write_checks(&project);
        append(&store(&project).await, 1, 10).await;
        project.ok(&["run", "--until-caught-up"]);
        let rows = project.rows("audit.seen").await;
        sqlx::query(by_hand).execute(&project.pool).await.unwrap();
        assert_eq!(project.run(&["run", "--until-caught-up"]).status.code(), Some(3), "{by_hand}");
        assert_eq!(project.value("select error->>'sqlstate' from projectord.projections").await, sqlstate);
        assert_eq!(project.rows("audit.seen").await, rows, "{by_hand}");
        let daemon = project.daemon();
        project.until_value("select count(*) from projectord.leases where owner is not null", "1").await;
        project.until_state("audit", "halted").await;
        project.ok(&["rebuild", "audit", "--wait"]);
        project.until_state("audit", "live").await;
        assert_eq!(daemon.stop(Duration::from_secs(5)).await, Some(0));
        assert_audit_is_right(&project).await;
        project.ok(&["audit"]);
    }
}

/// Each batch writes it anew, and what an older state still needs of it fills its page.
async fn short_row() {
    let project = Project::new().await;
    project.write("wide", "schema.sql", "create table seen (position bigint);");
    for nth in 0..60 {
        project.write("wide", &format!("Happened{nth}.sql"), "insert into seen values (event.position);");
    }
    project.ok(&["setup"]);
    let _daemon = project.daemon();
    project.until_state("wide", "live").await;
    let row = "select pg_column_size(g) < 256 from projectord.generations g";
    assert_eq!(project.value(row).await, "true");
    let sources = "select cardinality(handles) from projectord.sources";
    assert_eq!(project.value(sources).await, "60");
}

async fn statement_timeout() {
    let project = Project::new().await;
    project.write("slow", "schema.sql", "create table t (n int);");
    project.write("slow", "Counted.sql", "perform pg_sleep(case when event.version = 3 then 60 else 0 end);");
    append(&store(&project).await, 1, 5).await;
    let mut command = project.command(&["run", "--until-caught-up"]);
    let output = command.env("PROJECTORD_PROJECTOR__BATCH_TIMEOUT", "400ms").output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(project.value("select error->>'sqlstate' from projectord.projections").await, "57014");
    assert_eq!(project.value("select checkpoint from projectord.generations").await, "2");
}

async fn sigterm_in_a_backlog() {
    let project = Project::new().await;
    write_checks(&project);
    append(&store(&project).await, 50, 100).await;
    let mut command = project.command(&["run"]);
    command.env("PROJECTORD_PROJECTOR__MAX_BATCH", "20");
    let child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
    project.until_value("select checkpoint > 20 from projectord.generations", "true").await;
    let begun = std::time::Instant::now();
    std::process::Command::new("kill").arg(child.id().to_string()).status().unwrap();
    let status = child.wait_with_output().unwrap().status;
    assert_eq!(status.code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    project.ok(&["run", "--until-caught-up"]);
    assert_audit_is_right(&project).await;
}
