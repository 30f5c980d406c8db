//! Generations beside the live one: built, compared, swapped in, gone back from.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use serde_json::json;
use sqlx::Executor;

use projectord::event::{Commit, NewEvent, StreamId};
use projectord::store::{EventStore, ExpectedVersion, PostgresStore, Settings};

use crate::support::{Daemon, Project, long_trial, text, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("rebuild::readers_see_the_old_rows_until_the_swap_and_the_new_ones_after", swaps),
        trial("rebuild::grants_and_comments_carry_over", grants_carry_over),
        trial("rebuild::plan_verify_swap_and_undo_show_the_rows_that_differ", thirteen_rows),
        trial("rebuild::verify_finds_rows_that_a_replay_would_not_make", verify_finds_drift),
        trial("rebuild::going_back_holds_until_the_files_change", undo_holds),
        trial("rebuild::what_cannot_be_built_leaves_the_live_rows_going", refused_build),
        trial("rebuild::a_build_that_fails_leaves_the_live_rows_going", failed_build),
        trial("rebuild::cancelled_it_leaves_no_trace", cancelled),
        trial("rebuild::killed_half_way_it_goes_on_where_it_was", killed_half_way),
        trial("rebuild::workers_that_share_it_make_the_same_rows", shared),
        trial("rebuild::what_depends_on_the_tables_is_refused_unless_forced", dependants),
        trial("rebuild::whatever_a_drop_would_take_depends_on_the_tables", all_dependants),
        trial("rebuild::a_halted_projection_is_mended_by_new_files", mends_a_halted_one),
        trial("rebuild::old_rows_are_dropped_when_their_time_is_over", old_rows_are_dropped),
        long_trial("rebuild::twenty_swaps_under_load_fail_no_reader", twenty_swaps),
    ]
}

const ACCOUNTS: &str =
    "create table accounts (id uuid primary key, events int not null, total bigint not null);";
const MOVED: &str = "insert into accounts values (event.stream_id, 1, (event.data->>'amount')::int)
    on conflict (id) do update set events = accounts.events + 1, total = accounts.total + excluded.total;";
const GENERATION: &str = "select generation from projectord.projections";

fn write_accounts(project: &Project, handler: &str) {
    project.write("accounts", "schema.sql", ACCOUNTS);
    project.write("accounts", "Moved.sql", handler);
    project.write("accounts", "projection.toml", "partition = \"stream\"\n");
}

async fn store(project: &Project) -> PostgresStore {
    let store = PostgresStore::new(&project.postgres_url.parse().unwrap(), Settings::default());
    store.setup().await.unwrap();
    store
}

/// Streams of ten events each, with amounts 1 to 10.
async fn append(project: &Project, streams: usize) -> Vec<StreamId> {
    let store = store(project).await;
    let mut ids = Vec::new();
    for _ in 0..streams {
        let events = (1..=10).map(|n| NewEvent::from_json("Moved", json!({ "amount": n }))).collect();
        ids.push(StreamId::random());
        let commit = Commit::new("account", events);
        store.append_to_stream(ids[ids.len() - 1], ExpectedVersion::NoStream, commit).await.unwrap();
    }
    ids
}

async fn live_project(streams: usize) -> (Project, Daemon, Vec<StreamId>) {
    let project = Project::new().await;
    write_accounts(&project, MOVED);
    let ids = append(&project, streams).await;
    let daemon = project.daemon();
    project.until_state("accounts", "live").await;
    (project, daemon, ids)
}

async fn execute(project: &Project, sql: &str) {
    project.pool.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()))).await.unwrap();
}

/// Schemas that are a read model's, without the one that readers see.
const ASIDE: &str = "select count(*) from pg_namespace where nspname like 'accounts@%'";

async fn swaps() {
    let (project, _daemon, _) = live_project(20).await;
    let rows = project.rows("accounts.accounts").await;
    execute(&project, "create table public.seen as select 'accounts.accounts'::regclass::oid as old").await;
    project.ok(&["rebuild", "accounts", "--wait"]);
    assert_eq!(project.value(GENERATION).await, "2");
    assert_eq!(project.rows("accounts.accounts").await, rows);
    let other = "select old <> 'accounts.accounts'::regclass::oid from public.seen";
    assert_eq!(project.value(other).await, "true", "other tables");
    // The old rows are fed on.
    append(&project, 3).await;
    for schema in ["accounts", "\"accounts@1\""] {
        project.until_value(&format!("select count(*) from {schema}.accounts"), "23").await;
    }
    project.ok(&["audit"]);
    let status = project.ok(&["status"]);
    assert!(status.contains("generation 1 can be gone back to"), "{status}");
}

async fn grants_carry_over() {
    let (project, _daemon, _) = live_project(2).await;
    let role = format!("reader_{}", uuid::Uuid::new_v4().simple());
    execute(
        &project,
        &format!(
            "create role {role};
             grant usage on schema accounts to {role};
             grant select (id), update (total) on accounts.accounts to {role};
             grant delete on accounts.accounts to {role} with grant option;
             comment on table accounts.accounts is 'One row each.';
             comment on column accounts.accounts.total is 'In cents.';
             comment on constraint accounts_pkey on accounts.accounts is 'Its stream.'"
        ),
    )
    .await;
    let granted = format!(
        "select has_schema_privilege('{role}', 'accounts', 'usage') || ' '
             || has_column_privilege('{role}', 'accounts.accounts', 'id', 'select') || ' '
             || has_column_privilege('{role}', 'accounts.accounts', 'events', 'select') || ' '
             || has_column_privilege('{role}', 'accounts.accounts', 'total', 'update') || ' '
             || has_table_privilege('{role}', 'accounts.accounts', 'delete with grant option') || ' '
             || obj_description('accounts.accounts'::regclass) || ' '
             || col_description('accounts.accounts'::regclass, 3) || ' '
             || (select obj_description(oid, 'pg_constraint') from pg_constraint
                  where conname = 'accounts_pkey' and connamespace = 'accounts'::regnamespace)"
    );
    let expected = "true true false true true One row each. In cents. Its stream.";
    assert_eq!(project.value(&granted).await, expected);
    project.ok(&["rebuild", "accounts", "--wait"]);
    assert_eq!(project.value(&granted).await, expected, "beside");
    project.ok(&["rebuild", "accounts", "--wait", "--in-place", "--yes"]);
    assert_eq!(project.value(GENERATION).await, "3");
    assert_eq!(project.value(&granted).await, expected, "in place");
    execute(&project, &format!("drop owned by {role}; drop role {role}")).await;
}

/// A handler that makes 13 rows differently, and one column more.
async fn thirteen_rows() {
    let project = Project::new().await;
    write_accounts(&project, MOVED);
    let ids = append(&project, 40).await;
    let configured = |arguments: &[&str]| {
        let mut command = project.command(arguments);
        command.env("PROJECTORD_PROJECTIONS__ON_CHANGE", "ignore");
        command
    };
    let mut daemon = configured(&["run"]).stderr(std::process::Stdio::null()).spawn().unwrap();
    project.until_state("accounts", "live").await;
    let before = project.rows("accounts.accounts").await;
    let odd = ids[..13].iter().map(|id| format!("'{id}'")).collect::<Vec<_>>().join(", ");
    write_accounts(
        &project,
        &format!("{MOVED}\nupdate accounts set total = 0 where id = event.stream_id and id in ({odd});"),
    );
    let plan = project.ok(&["plan", "accounts"]);
    assert!(plan.contains("Moved.sql changed") && plan.contains("400 in the log"), "{plan}");
    assert!(!plan.contains("schema.sql"), "{plan}");
    // The daemon builds what it has loaded, which is not yet this.
    let early = text(&configured(&["verify", "accounts"]).output().unwrap().stdout);
    assert!(
        early.contains("let the daemon reload them (SIGHUP)") && early.contains("same accounts"),
        "{early}"
    );
    std::process::Command::new("kill").args(["-HUP", &daemon.id().to_string()]).status().unwrap();
    // Without a terminal nobody can be asked: the answer is no, and nothing is changed.
    let until_new_files = Instant::now();
    let shown = loop {
        let output = configured(&["rebuild", "accounts", "--verify"]).output().unwrap();
        let shown = text(&output.stdout);
        if shown.contains("13 rows differ") || until_new_files.elapsed() > Duration::from_secs(20) {
            assert_eq!(output.status.code(), Some(1), "{shown}{}", text(&output.stderr));
            break shown;
        }
    };
    assert!(shown.contains("accounts: 13 rows differ; 40 rows live, 40 new"), "{shown}");
    for id in &ids[..13] {
        let line = shown.lines().find(|line| line.contains(&id.to_string()));
        let words: Vec<&str> = line.unwrap_or_default().split_whitespace().collect();
        assert_eq!(words, [id.to_string().as_str(), "total", "55", "0"], "{shown}");
    }
    assert!(!shown.contains(&ids[13].to_string()), "{shown}");
    assert_eq!(project.value(GENERATION).await, "1");
    assert_eq!(project.value(ASIDE).await, "0");

    let swapped = configured(&["rebuild", "accounts", "--verify", "--yes"]).output().unwrap();
    assert!(swapped.status.success(), "{}", text(&swapped.stderr));
    assert_eq!(project.value("select count(*) from accounts.accounts where total = 0").await, "13");
    let undone = configured(&["undo", "accounts", "--yes"]).output().unwrap();
    assert!(undone.status.success(), "{}", text(&undone.stderr));
    assert_eq!(project.rows("accounts.accounts").await, before);
    project.ok(&["audit"]);
    daemon.kill().unwrap();
    daemon.wait().unwrap();
}

async fn verify_finds_drift() {
    let (project, _daemon, ids) = live_project(12).await;
    let same = project.ok(&["verify", "accounts"]);
    assert!(same.contains("same accounts: 12 rows"), "{same}");
    let by_hand = format!(
        "update accounts.accounts set total = 1 where id = '{}';
         delete from accounts.accounts where id = '{}';
         insert into accounts.accounts values ('00000000-0000-4000-8000-000000000000', 1, 1)",
        ids[0], ids[1]
    );
    execute(&project, &by_hand).await;
    let differs = project.run(&["verify", "accounts"]);
    let shown = text(&differs.stdout);
    assert_eq!(differs.status.code(), Some(1), "{shown}");
    assert!(shown.contains("3 rows differ; 12 rows live, 12 new"), "{shown}");
    assert!(shown.contains("no such row"), "{shown}");
    assert_eq!(project.value(GENERATION).await, "1");
    assert_eq!(project.value(ASIDE).await, "0", "nothing is left of it");
}

async fn undo_holds() {
    let (project, daemon, _) = live_project(5).await;
    let nothing = project.run(&["undo", "accounts", "--yes"]);
    assert_eq!(nothing.status.code(), Some(5), "{}", text(&nothing.stderr));
    write_accounts(&project, &MOVED.replace("::int)", "::int * 2)"));
    daemon.signal("HUP");
    project.until_value(GENERATION, "2").await;
    assert_eq!(project.value("select sum(total) from accounts.accounts").await, "550");
    append(&project, 1).await;
    project.until_value("select sum(total) from accounts.accounts", "660").await;
    project.ok(&["undo", "accounts", "--yes"]);
    assert_eq!(
        project.value("select sum(total) from accounts.accounts").await,
        "330",
        "with what came since"
    );
    // The files are those that were gone back from: neither a reload nor a restart builds them again.
    daemon.signal("HUP");
    assert_eq!(daemon.stop(Duration::from_secs(5)).await, Some(0));
    project.ok(&["run", "--until-caught-up"]);
    assert_eq!(project.value(GENERATION).await, "1");
    let daemon = project.daemon();
    project.until_state("accounts", "live").await;
    // Twice undone is as it was.
    project.ok(&["undo", "accounts", "--yes"]);
    assert_eq!(project.value("select sum(total) from accounts.accounts").await, "660");
    write_accounts(&project, &MOVED.replace("::int)", "::int * 3)"));
    daemon.signal("HUP");
    project.until_value("select sum(total) from accounts.accounts", "990").await;
}

async fn refused_build() {
    let (project, daemon, _) = live_project(5).await;
    project.write("accounts", "schema.sql", "create table accounts (id nosuchtype);");
    daemon.signal("HUP");
    let reason = "select rebuild_error->>'message' like '%nosuchtype%' from projectord.projections";
    project.until_value(reason, "true").await;
    append(&project, 1).await;
    project.until_value("select count(*) from accounts.accounts", "6").await;
    assert_eq!(project.value("select state from projectord.projections").await, "live");
    let status = project.ok(&["status"]);
    assert!(status.contains("a rebuild could not begin") && status.contains("schema.sql:1"), "{status}");
    let refused = project.run(&["rebuild", "accounts", "--wait"]);
    assert_eq!(refused.status.code(), Some(3), "{}", text(&refused.stderr));
    assert_eq!(project.value(ASIDE).await, "0");
    write_accounts(&project, &MOVED.replace("::int)", "::int * 2)"));
    daemon.signal("HUP");
    project.until_value("select sum(total) from accounts.accounts", "660").await;
    assert_eq!(project.value("select rebuild_error is null from projectord.projections").await, "true");
}

async fn failed_build() {
    let (project, daemon, _) = live_project(5).await;
    write_accounts(&project, &format!("{MOVED}\nif event.version = 7 then raise exception 'seven'; end if;"));
    daemon.signal("HUP");
    let reason = "select error->>'message' from projectord.generations where state = 'building'";
    project.until_value(reason, "seven").await;
    append(&project, 1).await;
    project.until_value("select count(*) from accounts.accounts", "6").await;
    let status = project.ok(&["status"]);
    assert!(status.contains("cannot be built on from 6: Moved.sql:3: seven"), "{status}");
    // Corrected files replace it.
    write_accounts(&project, &MOVED.replace("::int)", "::int * 2)"));
    daemon.signal("HUP");
    project.until_value("select sum(total) from accounts.accounts", "660").await;
    assert_eq!(project.value(GENERATION).await, "3");
}

/// Batches of one event, so that there is time to do something.
fn slow_daemon(project: &Project) -> std::process::Child {
    let mut command = project.command(&["run"]);
    command.env("PROJECTORD_PROJECTOR__MAX_BATCH", "1").stderr(std::process::Stdio::null()).spawn().unwrap()
}

/// Caught up, and then rebuilt by a slow daemon, which has come a part of the way.
async fn half_built() -> (Project, std::process::Child) {
    let project = Project::new().await;
    write_accounts(&project, MOVED);
    append(&project, 300).await;
    project.ok(&["run", "--until-caught-up"]);
    let daemon = slow_daemon(&project);
    project.until_value("select count(*) from projectord.leases where owner is not null", "1").await;
    project.ok(&["rebuild", "accounts"]);
    let under_way = "select checkpoint between 5 and 2500 from projectord.generations where generation = 2";
    project.until_value(under_way, "true").await;
    (project, daemon)
}

async fn cancelled() {
    let (project, mut daemon) = half_built().await;
    let twice = project.run(&["rebuild", "accounts"]);
    assert_eq!(twice.status.code(), Some(4), "{}", text(&twice.stderr));
    project.ok(&["rebuild", "accounts", "--cancel"]);
    assert_eq!(project.value(ASIDE).await, "0");
    assert_eq!(project.value("select string_agg(state, ' ') from projectord.generations").await, "live");
    let again = project.run(&["rebuild", "accounts", "--cancel"]);
    assert_eq!(again.status.code(), Some(5), "{}", text(&again.stderr));
    append(&project, 1).await;
    project.until_value("select count(*) from accounts.accounts", "301").await;
    assert_eq!(project.value(ASIDE).await, "0");
    daemon.kill().unwrap();
    daemon.wait().unwrap();
}

async fn killed_half_way() {
    let (project, mut daemon) = half_built().await;
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    let reached = project.value("select checkpoint from projectord.generations where generation = 2").await;
    assert!(reached.parse::<i64>().unwrap() >= 5);
    project.ok(&["run", "--until-caught-up"]);
    assert_eq!(project.value(GENERATION).await, "2");
    assert_eq!(
        project.value("select min(events) || ' ' || sum(total) from accounts.accounts").await,
        "10 16500"
    );
    project.ok(&["audit"]);
    assert_eq!(project.value(ASIDE).await, "1", "the rows to go back to, and nothing else");
}

/// Above the length that is worth sharing; with an event in it that is parked.
async fn shared() {
    let project = Project::new().await;
    let handler = format!(
        "if event.version = 3 and event.stream_id::text like '%a' then raise exception 'a'; end if;\n{MOVED}"
    );
    write_accounts(&project, &handler);
    project.write("accounts", "projection.toml", "partition = \"stream\"\non_error = \"park\"\n");
    append(&project, 1100).await;
    project.ok(&["run", "--until-caught-up"]);
    let rows = project.rows("accounts.accounts").await;
    let parked =
        "select string_agg(position::text, ' ' order by position) from projectord.parked where generation = ";
    let before = project.value(&format!("{parked} 1")).await;
    assert!(!before.is_empty());
    project.ok(&["rebuild", "accounts"]);
    let mut killed = 0;
    for _ in 0..3 {
        // Killed while the shares are at different places.
        let mut daemon = project.command(&["run"]);
        daemon.env("PROJECTORD_PROJECTOR__MAX_BATCH", "5").stderr(std::process::Stdio::null());
        let mut daemon = daemon.spawn().unwrap();
        let moved = "select max(checkpoint) > 100 from projectord.shares";
        project.until_value(moved, "true").await;
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        killed += usize::from(project.value("select count(*) from projectord.shares").await == "2");
    }
    assert!(killed > 0, "it was never killed while it was shared");
    project.ok(&["run", "--until-caught-up"]);
    assert_eq!(project.value(GENERATION).await, "2");
    assert_eq!(project.rows("accounts.accounts").await, rows);
    assert_eq!(project.value(&format!("{parked} 2")).await, before);
    assert_eq!(project.value("select count(*) from projectord.shares").await, "0");
    project.ok(&["audit"]);
}

async fn dependants() {
    let (project, daemon, _) = live_project(3).await;
    let view = "create view public.sums as select sum(total) from accounts.accounts";
    execute(&project, view).await;
    let plan = project.ok(&["plan", "accounts"]);
    assert!(plan.contains("view public.sums"), "{plan}");
    let refused = project.run(&["rebuild", "accounts", "--wait"]);
    assert_eq!(refused.status.code(), Some(4));
    assert!(text(&refused.stderr).contains("view public.sums"), "{}", text(&refused.stderr));
    // Where nobody asks, because the files have changed: it is built, and waits.
    write_accounts(&project, &MOVED.replace("::int)", "::int * 2)"));
    daemon.signal("HUP");
    let waits = "select error->>'message' like '%view public.sums%' from projectord.generations where state = 'building'";
    project.until_value(waits, "true").await;
    assert_eq!(project.value("select * from public.sums").await, "165");
    append(&project, 1).await;
    project.until_value("select * from public.sums", "220").await;
    execute(&project, "drop view public.sums").await;
    project.until_value(GENERATION, "2").await;
    assert_eq!(project.value("select sum(total) from accounts.accounts").await, "440");

    execute(&project, view).await;
    project.ok(&["rebuild", "accounts", "--wait", "--force"]);
    assert_eq!(project.value(GENERATION).await, "3");
    append(&project, 1).await;
    project.until_value("select * from public.sums", "550").await;
}

/// Everything that a drop would take along, each once, and nothing of the read model's own.
async fn all_dependants() {
    let (project, _daemon, _) = live_project(2).await;
    let own = "select string_agg(d, ', ') is null from projectord.dependants('accounts') d";
    assert_eq!(project.value(own).await, "true");
    execute(
        &project,
        "create schema reports;
         create view reports.sums as select sum(total) from accounts.accounts;
         create view reports.twice as select * from reports.sums;
         create materialized view reports.kept as select * from accounts.accounts;
         create table reports.copies (id int primary key, whole accounts.accounts, of uuid references accounts.accounts);
         create table reports.child () inherits (accounts.accounts);
         create function reports.how_many() returns bigint begin atomic select count(*) from accounts.accounts; end;
         create function reports.of(accounts.accounts) returns int language sql as 'select 1';
         create table reports.secured (id uuid);
         alter table reports.secured enable row level security;
         create policy known on reports.secured using (id in (select id from accounts.accounts));
         create publication accounts_out for table accounts.accounts",
    )
    .await;
    let all = "select string_agg(d, ', ' order by d) from projectord.dependants('accounts') d";
    let expected = [
        "foreign key of reports.copies",
        "function reports.how_many()",
        "function reports.of(accounts.accounts)",
        "materialized view reports.kept",
        "policy known on reports.secured",
        "publication relation accounts.accounts in publication accounts_out",
        "table column reports.copies.whole",
        "table reports.child",
        "view reports.sums",
        "view reports.twice",
    ];
    assert_eq!(project.value(all).await, expected.join(", "));
    let refused = project.run(&["rebuild", "accounts", "--wait"]);
    assert_eq!(refused.status.code(), Some(4));

    execute(&project, "drop schema reports cascade; drop publication accounts_out").await;
    project.ok(&["rebuild", "accounts", "--wait"]);
    execute(&project, "create view public.sums as select sum(total) from accounts.accounts").await;
    let undo = project.run(&["undo", "accounts", "--yes"]);
    assert_eq!(undo.status.code(), Some(4), "{}", text(&undo.stderr));
    assert!(
        text(&undo.stderr).contains("depend on accounts: view public.sums; drop them"),
        "{}",
        text(&undo.stderr)
    );
}

async fn mends_a_halted_one() {
    let project = Project::new().await;
    write_accounts(&project, &format!("if event.position = 25 then raise exception 'no'; end if;\n{MOVED}"));
    append(&project, 4).await;
    let daemon = project.daemon();
    project.until_state("accounts", "halted").await;
    assert_eq!(project.value("select sum(total) from accounts.accounts").await, "120");
    write_accounts(&project, MOVED);
    daemon.signal("HUP");
    project.until_state("accounts", "live").await;
    assert_eq!(project.value("select sum(total) from accounts.accounts").await, "220");
    assert_eq!(project.value("select error is null from projectord.projections").await, "true");
    let undo = project.run(&["undo", "accounts", "--yes"]);
    assert_eq!(undo.status.code(), Some(3), "one that is halted: {}", text(&undo.stderr));
}

async fn old_rows_are_dropped() {
    let project = Project::new().await;
    write_accounts(&project, MOVED);
    append(&project, 3).await;
    let mut command = project.command(&["run"]);
    command.env("PROJECTORD_REBUILD__KEEP_OLD", "1s").stderr(std::process::Stdio::null());
    let mut daemon = command.spawn().unwrap();
    project.until_state("accounts", "live").await;
    project.ok(&["rebuild", "accounts", "--wait"]);
    project.until_value(ASIDE, "0").await;
    assert_eq!(
        project.value("select string_agg(generation::text, ' ') from projectord.generations").await,
        "2"
    );
    daemon.kill().unwrap();
    daemon.wait().unwrap();
}

/// A reader 200 times a second, a writer as often, and one rebuild after another.
async fn twenty_swaps() {
    let (project, _daemon, _) = live_project(100).await;
    let project = Arc::new(project);
    let (stop, reads, generations) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let reader = tokio::spawn({
        let (project, stop, reads) = (Arc::clone(&project), Arc::clone(&stop), Arc::clone(&reads));
        async move {
            let mut before = 0;
            while !stop.load(Ordering::Relaxed) {
                // Prepared once, as readers do it. Rows of one generation have one marker.
                let (rows, events): (i64, i64) = sqlx::query_as(
                    "select count(*), coalesce(sum(events), 0)::bigint from accounts.accounts",
                )
                .fetch_one(&project.pool)
                .await
                .unwrap();
                assert!(rows >= 100 && events >= before, "{rows} rows of {events} events after {before}");
                before = events;
                reads.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    });
    let writer = tokio::spawn({
        let (project, stop) = (Arc::clone(&project), Arc::clone(&stop));
        async move {
            let store = store(&project).await;
            let mut late = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let stream = StreamId::random();
                let event = NewEvent::from_json("Moved", json!({ "amount": 1 }));
                let commit = Commit::new("account", vec![event]);
                store.append_to_stream(stream, ExpectedVersion::NoStream, commit).await.unwrap();
                let begun = Instant::now();
                let seen: Result<(i64,), _> =
                    sqlx::query_as("select projectord.wait_for('accounts', $1, 1, interval '10 seconds')")
                        .bind(stream.0)
                        .fetch_one(&project.pool)
                        .await;
                seen.unwrap();
                late.push(begun.elapsed());
            }
            late.sort();
            late
        }
    });
    let swaps = tokio::task::spawn_blocking({
        let (project, generations) = (Arc::clone(&project), Arc::clone(&generations));
        move || {
            for _ in 0..20 {
                project.ok(&["rebuild", "accounts", "--wait"]);
                generations.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    swaps.await.unwrap();
    stop.store(true, Ordering::Relaxed);
    reader.await.unwrap();
    let late = writer.await.unwrap();
    assert_eq!(project.value(GENERATION).await, "21");
    assert!(reads.load(Ordering::Relaxed) > 200, "{reads:?} reads");
    let p99 = late[late.len() * 99 / 100];
    assert!(p99 < Duration::from_secs(1), "visible after {p99:?}, of {} appends", late.len());
    project.ok(&["audit"]);
}
