//! Built beside the live rows: refused, failed, cancelled, killed, shared.

use libtest_mimic::Trial;

use super::{ASIDE, GENERATION, MOVED, append, live_project, write_accounts};
use crate::support::{Project, text, trial};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("rebuild::what_cannot_be_built_leaves_the_live_rows_going", refused_build),
        trial("rebuild::a_build_that_fails_leaves_the_live_rows_going", failed_build),
        trial("rebuild::cancelled_it_leaves_no_trace", cancelled),
        trial("rebuild::killed_half_way_it_goes_on_where_it_was", killed_half_way),
        trial("rebuild::workers_that_share_it_make_the_same_rows", shared),
        trial("rebuild::a_halted_projection_is_mended_by_new_files", mends_a_halted_one),
        trial("rebuild::tables_are_vacuumed_while_many_events_change_their_rows", looked_after),
    ]
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

async fn looked_after() {
    let project = Project::new().await;
    // One row fills a page, so that no old version is cleaned away in passing.
    let schema = "create table wide (n bigint primary key, changes int, pad text);
        alter table wide alter pad set storage plain;";
    project.write("wide", "schema.sql", schema);
    let handler = "insert into wide values (event.version % 4, 1, repeat('x', 5000))
        on conflict (n) do update set changes = wide.changes + 1;";
    project.write("wide", "Moved.sql", handler);
    append(&project, 600).await;
    project.ok(&["run", "--until-caught-up"]);
    // Some seconds in all, so that dead rows gather meanwhile.
    project.write("wide", "Moved.sql", &format!("{handler}\nperform pg_sleep(0.001);"));
    let _daemon = project.daemon();
    project.until_value(GENERATION, "2").await;
    // Autovacuum's are counted elsewhere.
    let vacuumed = "select vacuum_count > 0 from pg_stat_user_tables where relid = 'wide.wide'::regclass";
    project.until_value(vacuumed, "true").await;
}
