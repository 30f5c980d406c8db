//! 8,577 events of permit applications come out as figures that were computed without the daemon.

use std::path::PathBuf;

use libtest_mimic::Trial;

use crate::support::{Project, long_trial};

pub fn trials() -> Vec<Trial> {
    let data = data().exists();
    if !data {
        eprintln!("SKIPPED: the permits' test needs ../shared/data/receipt.ndjson.gz");
    }
    vec![
        long_trial("permits::the_medians_are_exact_live_and_after_a_rebuild", medians)
            .with_ignored_flag(!data),
    ]
}

fn data() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data/receipt.ndjson.gz")
}

/// What PostgreSQL makes of the log itself, without the projection.
const FROM_THE_LOG: &str = "select string_agg(concat_ws(' ', department, n, median), ', ' order by department) from (
    select department, count(*) n, percentile_cont(0.5) within group (order by lead_time) median from (
        select max(data->>'department') department,
               max((metadata->>'occurred_at')::timestamptz) - min((metadata->>'occurred_at')::timestamptz) lead_time
          from projectord.events where position <= $1 group by stream_id) c group by department) m";
const FROM_THE_ROWS: &str = "select string_agg(concat_ws(' ', department, cases, median_lead_time), ', ' order by department) from permits.departments";

async fn assert_figures(project: &Project) {
    for (sql, wanted) in [
        // Computed from the file, in another language.
        ("select count(*) from permits.cases", "1434"),
        ("select sum(steps) from permits.cases", "8577"),
        (
            "select count(*) from permits.cases where step = 'T10 Determine necessity to stop indication'",
            "828",
        ),
        ("select max(lead_time) = interval '275 days 20:09:01.524' from permits.cases", "true"),
        ("select count(*) from permits.cases where channel = 'Internet' and department = 'General'", "1211"),
        (
            FROM_THE_ROWS,
            "Customer contact 29 00:00:00, Experts 15 11 days 06:45:58.792, General 1390 00:49:20.195",
        ),
    ] {
        assert_eq!(project.value(sql).await, wanted, "{sql}");
    }
    assert_eq!(project.value(FROM_THE_ROWS).await, project.value(&FROM_THE_LOG.replace("$1", "9000")).await);
}

async fn medians() {
    let project = Project::new().await;
    project.ok(&["setup"]);
    project.copy("examples/projections/permits");
    let file = data();
    let import = |lines: usize| {
        let text = std::process::Command::new("zcat").arg(&file).output().unwrap().stdout;
        let some: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').take(lines).collect();
        std::fs::write(project.folder.path().join("some.ndjson"), some.concat()).unwrap();
        project.ok(&["import", "some.ndjson"]);
    };
    // Caught up with more and more of it, and exact each time.
    for lines in [1, 2, 3, 10, 11, 12, 500, 501, 2_000] {
        import(lines);
        project.ok(&["run", "--until-caught-up"]);
        let now = FROM_THE_LOG.replace("$1", &lines.to_string());
        assert_eq!(project.value(FROM_THE_ROWS).await, project.value(&now).await, "after {lines} events");
    }
    project.ok(&["import", file.to_str().unwrap()]);
    project.ok(&["run", "--until-caught-up"]);
    assert_figures(&project).await;
    let rows = async || [project.rows("permits.cases").await, project.rows("permits.departments").await];
    let live = rows().await;
    let _daemon = project.daemon();
    project.until_state("permits", "live").await;
    project.ok(&["rebuild", "permits", "--yes", "--wait"]);
    assert!(rows().await == live, "a rebuild gives other rows");
    assert_figures(&project).await;
    project.ok(&["audit"]);
}
