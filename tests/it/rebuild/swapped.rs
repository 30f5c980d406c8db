//! Swapped in, compared before and after, gone back from.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use serde_json::json;

use projectord::event::{Commit, NewEvent, StreamId};
use projectord::store::{EventStore, ExpectedVersion};

use super::{ASIDE, GENERATION, MOVED, append, execute, live_project, store, write_accounts};
use crate::support::{Project, long_trial, text, trial};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("rebuild::readers_see_the_old_rows_until_the_swap_and_the_new_ones_after", swaps),
        trial("rebuild::grants_and_comments_carry_over", grants_carry_over),
        trial("rebuild::plan_verify_swap_and_undo_show_the_rows_that_differ", thirteen_rows),
        trial("rebuild::verify_finds_rows_that_a_replay_would_not_make", verify_finds_drift),
        trial("rebuild::going_back_holds_until_the_files_change", undo_holds),
        trial("rebuild::old_rows_are_dropped_when_their_time_is_over", old_rows_are_dropped),
        long_trial("rebuild::twenty_swaps_under_load_fail_no_reader", twenty_swaps),
    ]
}

async fn swaps() {
    let (project, _daemon, _) = live_project(20).await;
    let rows = project.rows("accounts.accounts").await;
    execute(&project, "create table public.seen as select 'accounts.accounts'::regclass::oid as old").await;
    project.ok(&["rebuild", "accounts", "--wait"]);
    assert_eq!(project.value(GENERATION).await, "2");
    assert_eq!(project.rows("accounts.accounts").await, rows);
    let other = "select old <> 'accounts.accounts'::regclass::oid from public.seen";
    assert_eq!(project.value(other).await, "true", "other tables");
    let known = "select reltuples from pg_class where oid = 'accounts.accounts'::regclass";
    assert_eq!(project.value(known).await, "20", "the planner knows what is in them");
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
