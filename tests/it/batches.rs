//! `batch.sql`: one statement over all events of a batch, with the promises that handlers of single events have.

use libtest_mimic::Trial;
use serde_json::json;

use projectord::event::{Commit, NewEvent, StreamId};
use projectord::store::{EventStore, ExpectedVersion, PostgresStore, Settings};

use crate::support::{Project, text, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("batches::rows_are_those_of_handlers_whatever_the_batches", same_rows),
        trial("batches::only_events_of_the_types_in_the_mapping_are_in_the_batch", mapping),
        trial("batches::the_event_that_fails_is_found_and_parked", parked),
        trial("batches::old_events_are_read_through_upcasters", upcast),
        trial("batches::a_test_finds_rows_that_depend_on_where_a_batch_ends", ends_of_batches),
        trial("batches::what_is_wrong_is_said_with_its_line", problems),
    ]
}

const SCHEMA: &str =
    "create table totals (stream_id uuid primary key, n bigint, total numeric, last bigint);";
const SINGLE: &str =
    "insert into totals values (event.stream_id, 1, (event.data->>'total')::numeric, event.version)
on conflict (stream_id) do update
   set n = totals.n + 1, total = totals.total + excluded.total, last = excluded.last;";
const BATCH: &str = "-- Several events of a stream may be in one batch.
with sums as (
    select stream_id, count(*) as n, sum((data->>'total')::numeric) as total, max(version) as last
      from batch
     group by stream_id
)
insert into totals select * from sums
on conflict (stream_id) do update
   set n = totals.n + excluded.n, total = totals.total + excluded.total, last = excluded.last; -- the last line";

async fn project() -> (Project, PostgresStore) {
    let project = Project::new().await;
    project.ok(&["setup"]);
    let store = PostgresStore::new(&project.postgres_url.parse().unwrap(), Settings::default());
    (project, store)
}

async fn append(store: &PostgresStore, stream: StreamId, event_type: &str, total: &serde_json::Value) {
    let commit = Commit::new("order", vec![NewEvent::from_json(event_type, json!({"total": total}))]);
    store.append_to_stream(stream, ExpectedVersion::Any, commit).await.unwrap();
}

fn write(project: &Project, name: &str, file: &str, sql: &str) {
    project.write(name, "schema.sql", SCHEMA);
    project.write(name, file, sql);
}

async fn same_rows() {
    let (project, store) = project().await;
    write(&project, "single", "Paid.sql", SINGLE);
    write(&project, "whole", "batch.sql", BATCH);
    project.write("whole", "projection.toml", "partition = \"stream\"\n");
    project.ok(&["check", "--sample", "10"]);
    let streams: Vec<StreamId> = (0..7).map(|_| StreamId::random()).collect();
    let daemon = project.daemon_with(&[("PROJECTORD_PROJECTOR__MAX_BATCH", "5")]);
    for nth in 0..150_usize {
        append(&store, streams[nth * nth % 7], "Paid", &json!(nth)).await;
    }
    let reached = "select count(*) from projectord.generations where checkpoint = 150";
    project.until_value(reached, "2").await;
    let rows = project.rows("single.totals").await;
    assert_eq!(project.rows("whole.totals").await, rows);
    drop(daemon);
    // In batches of another size, by two workers, and all at once.
    for most in ["1", "64", "5000"] {
        let daemon = project.daemon_with(&[("PROJECTORD_PROJECTOR__MAX_BATCH", most)]);
        project.ok(&["verify", "whole"]);
        project.ok(&["rebuild", "whole", "--wait"]);
        assert_eq!(project.rows("whole.totals").await, rows, "{most}");
        drop(daemon);
    }
    // The digests are those of the log.
    let audited = project.ok(&["audit"]);
    assert!(audited.contains("whole"), "{audited}");
}

async fn mapping() {
    let (project, store) = project().await;
    write(&project, "paid", "batch.sql", BATCH);
    project.write("paid", "projection.toml", "[on]\n\"Paid*\" = \"batch.sql\"\nRefunded = \"batch.sql\"\n");
    for event_type in ["Paid", "PaidTwice", "Refunded", "Cancelled", "Unpaid"] {
        append(&store, StreamId::random(), event_type, &json!(1)).await;
    }
    project.ok(&["run", "--until-caught-up"]);
    assert_eq!(project.value("select count(*) from paid.totals").await, "3");
    project.ok(&["audit"]);
}

async fn parked() {
    let (project, store) = project().await;
    write(&project, "whole", "batch.sql", BATCH);
    project.write("whole", "projection.toml", "on_error = \"park\"\n");
    let (good, bad) = (StreamId::random(), StreamId::random());
    for nth in 0..40 {
        append(&store, good, "Paid", &json!(nth)).await;
        append(&store, bad, "Paid", &if nth == 11 { json!("much") } else { json!(nth) }).await;
    }
    let _daemon = project.daemon();
    project.until_value("select checkpoint from projectord.generations", "80").await;
    // The one that fails, and what follows in its stream.
    assert_eq!(project.value("select count(*) from projectord.parked").await, "29");
    let of = |stream| format!("select n from whole.totals where stream_id = '{stream}'");
    assert_eq!((project.value(&of(good)).await, project.value(&of(bad)).await), ("40".into(), "11".into()));
    let parked = project.ok(&["parked", "whole", "--json"]);
    assert!(parked.contains("batch.sql:2"), "{parked}");
    project.ok(&["audit"]);
    project.ok(&["skip", "whole", "24", "--yes"]);
    project.ok(&["retry", "whole"]);
    project.until_value("select count(*) from projectord.parked", "0").await;
    assert_eq!(project.value(&of(bad)).await, "39");
    project.ok(&["audit"]);
}

async fn upcast() {
    let (project, store) = project().await;
    write(&project, "whole", "batch.sql", BATCH);
    let upcasters = project.projections().join("_upcasters");
    std::fs::create_dir_all(&upcasters).unwrap();
    std::fs::write(
        upcasters.join("Paid.sql"),
        "-- in cents, once\njsonb_build_object('total',\n(data->>'total')::int / 100)",
    )
    .unwrap();
    project.ok(&["check"]);
    let stream = StreamId::random();
    append(&store, stream, "Paid", &json!(700)).await;
    append(&store, stream, "Refunded", &json!(5)).await;
    project.ok(&["run", "--until-caught-up"]);
    assert_eq!(project.value("select total from whole.totals").await, "12");
    project.ok(&["audit"]);
    // One that gives nothing halts it, with the upcaster's file.
    std::fs::write(upcasters.join("Paid.sql"), "case when data->>'total' <> '9' then data end").unwrap();
    project.ok(&["run", "--until-caught-up"]);
    append(&store, stream, "Paid", &json!(9)).await;
    let run = project.run(&["run", "--until-caught-up"]);
    assert!(!run.status.success());
    let error = project.value("select error::text from projectord.projections").await;
    assert!(error.contains("_upcasters/Paid.sql") && error.contains("gives null"), "{error}");
}

async fn ends_of_batches() {
    let (project, _) = project().await;
    let given = "[[given]]\nstream = \"1\"\ntype = \"Paid\"\ndata = { total = 1 }\n\n".repeat(2);
    let expected = "[[expect]]\ntable = \"totals\"\nrows = [{ n = 2, total = \"2\" }]\n";
    for (name, sql) in
        [("right", BATCH.to_owned()), ("wrong", BATCH.replace("totals.n + excluded.n", "excluded.n"))]
    {
        write(&project, name, "batch.sql", &sql);
        std::fs::create_dir(project.projections().join(name).join("tests")).unwrap();
        project.write(name, "tests/two.toml", &format!("{given}{expected}"));
    }
    project.ok(&["test", "right"]);
    let wrong = project.run(&["test", "wrong"]);
    assert_eq!(wrong.status.code(), Some(1), "{}{}", text(&wrong.stdout), text(&wrong.stderr));
}

async fn problems() {
    let (project, _) = project().await;
    let cases = [
        ("beside", "delete from totals", "batch.sql: it runs for all events of a batch at once"),
        ("none", "-- nothing\n", "batch.sql:1: it has no statement"),
        ("reads", "\nselect 1 from batch", "batch.sql:2: SELECT FROM BATCH begins nothing that writes rows"),
        ("two", "delete from totals;\n\ndelete from totals", "batch.sql:3: a second statement begins here"),
        ("block", "begin null; end", "batch.sql:1: BEGIN begins nothing that writes rows"),
        ("leaves", "insert into totals select 1;\nreturn;", "batch.sql:2: RETURN is not allowed here"),
        (
            "table",
            "-- a\nwith a as (select 1)\ndelete from nowhere",
            "batch.sql:3: relation \"nowhere\" does not exist",
        ),
        (
            "column",
            "delete from totals where stream_id in\n  (select wrong from batch)",
            "batch.sql:2: column \"wrong\"",
        ),
        ("syntax", "insert into totals\nselekt 1", "batch.sql:2: syntax error"),
        ("event", "delete from totals\n where n = event.version", "batch.sql:2: missing FROM-clause entry"),
    ];
    for (name, sql, _) in &cases {
        write(&project, name, "batch.sql", sql);
    }
    project.write("beside", "Paid.sql", SINGLE);
    let checked = project.run(&["check"]);
    assert!(!checked.status.success());
    let said = text(&checked.stdout) + &text(&checked.stderr);
    for (name, _, wanted) in cases {
        assert!(said.contains(&format!("{name}/{wanted}")), "{name}: {wanted}\n{said}");
    }
}
