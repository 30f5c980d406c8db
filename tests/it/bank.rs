//! A bank's 262,200 events go in at one end and come out as the figures that the literature publishes,
//! whatever is killed on the way. (BPI Challenge 2012, doi 10.4121/uuid:3926db30-f712-4394-aebc-75976070e91f)

use std::path::PathBuf;
use std::time::Duration;

use libtest_mimic::Trial;

use crate::support::{Project, long_trial, rethinkdb_is_here, until};

const EVENTS: &str = "262200";
const TABLES: [&str; 2] = ["loan_applications.applications", "loan_applications.status_counts"];

pub fn trials() -> Vec<Trial> {
    let data = data().exists();
    if !data {
        eprintln!("SKIPPED: the bank's tests need ../shared/data/bpic2012.ndjson.gz");
    }
    vec![
        long_trial("bank::the_log_as_store_gives_the_published_figures", through_postgres)
            .with_ignored_flag(!data),
        long_trial("bank::rethinkdb_gives_the_same_rows_whatever_is_killed", through_rethinkdb)
            .with_ignored_flag(!data || !rethinkdb_is_here()),
    ]
}

fn data() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data/bpic2012.ndjson.gz")
}

async fn new_project(project: Project) -> Project {
    project.copy("tests/projections/loan_applications");
    project.ok(&["setup"]);
    project
}

async fn assert_figures(project: &Project) {
    for (status, ever) in
        [("SUBMITTED", "13087"), ("APPROVED", "2246"), ("DECLINED", "7635"), ("CANCELLED", "2807")]
    {
        let sql = format!("select ever from loan_applications.status_counts where status = '{status}'");
        assert_eq!(project.value(&sql).await, ever, "{status}");
        let events = format!("select count(*) from projectord.events where type = 'A_{status}'");
        assert_eq!(project.value(&events).await, ever, "A_{status}");
    }
    for (sql, wanted) in [
        ("select count(*) from projectord.events", EVENTS),
        ("select position from projectord.log_head", EVENTS),
        ("select count(distinct type) from projectord.events", "24"),
        ("select count(*) from loan_applications.applications", "13087"),
        ("select count(*) from loan_applications.applications where decision = 'APPROVED'", "2246"),
        ("select sum(now) from loan_applications.status_counts", "13087"),
        ("select sum(offers) from loan_applications.applications", "7030"),
    ] {
        assert_eq!(project.value(sql).await, wanted, "{sql}");
    }
}

async fn rows(project: &Project) -> Vec<String> {
    let mut rows = Vec::new();
    for table in TABLES {
        rows.push(project.rows(table).await);
    }
    rows
}

async fn through_postgres() {
    let project = new_project(Project::new().await).await;
    let file = data();
    let file = file.to_str().unwrap();
    let printed = project.ok(&["import", file]);
    assert!(printed.contains("262,200 events added, 0 were there already"), "{printed}");
    let printed = project.ok(&["import", file, "--batch", "50"]);
    assert!(printed.contains("0 events added, 262,200 were there already"), "{printed}");
    project.ok(&["run", "--until-caught-up"]);
    assert_figures(&project).await;
    let live = rows(&project).await;
    let _daemon = project.daemon();
    project.until_state("loan_applications", "live").await;
    project.ok(&["rebuild", "loan_applications", "--yes", "--wait"]);
    assert!(rows(&project).await == live, "a rebuild gives other rows");
    assert_eq!(project.value("select generation from projectord.projections").await, "2");
}

async fn through_rethinkdb() {
    let reference = new_project(Project::new().await).await;
    let file = data();
    let file = file.to_str().unwrap();
    reference.ok(&["import", file]);
    reference.ok(&["run", "--until-caught-up"]);

    let project = new_project(Project::on_rethinkdb().await).await;
    let import = || project.command(&["import", file, "--batch", "100", "--writers", "64"]);
    // The import is killed once the daemon has seen some of it; the daemon again and again.
    let mut killed = import().stdout(std::process::Stdio::null()).spawn().unwrap();
    let daemon = project.daemon();
    let head = "select position > 20000 from projectord.log_head";
    until("part of the import is in the log", Duration::from_secs(300), async || {
        project.value(head).await == "true"
    })
    .await;
    killed.kill().unwrap();
    killed.wait().unwrap();
    daemon.kill();
    let mut import = import().stdout(std::process::Stdio::null()).spawn().unwrap();
    while import.try_wait().unwrap().is_none() {
        let daemon = project.daemon();
        tokio::time::sleep(Duration::from_millis(fastrand::u64(500..3000))).await;
        daemon.kill();
    }
    assert!(import.wait().unwrap().success());
    project.ok(&["run", "--until-caught-up"]);
    assert_figures(&project).await;
    assert!(rows(&project).await == rows(&reference).await, "the two backends give different rows");
    let in_order = "select bool_and(version = nth) from (select version,
        row_number() over (partition by stream_id order by position) as nth from projectord.events) e";
    assert_eq!(project.value(in_order).await, "true");
}
