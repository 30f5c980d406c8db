//! `projectord test`: what passes, what fails, what it says, and what it leaves behind.

use std::io::Write;
use std::process::Output;

use flate2::Compression;
use flate2::write::GzEncoder;
use libtest_mimic::Trial;

use crate::support::{Project, text, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("testing::the_projections_of_this_repository_pass", repository),
        trial("testing::it_works_before_setup_and_needs_no_lock_of_the_log", without_setup_or_lock),
        trial("testing::a_difference_shows_expected_and_found_under_the_key", difference),
        trial("testing::values_are_compared_as_their_columns_type_has_it", values),
        trial("testing::rows_that_depend_on_where_a_batch_ends_are_found", batches),
        trial("testing::rows_that_depend_on_more_than_the_events_are_found", clocks),
        trial("testing::an_event_that_fails_is_expected_or_told", errors),
        trial("testing::parked_events_leave_the_other_streams_rows", parked),
        trial("testing::a_file_that_is_wrong_is_named_with_its_line", bad_files),
        trial("testing::events_come_from_a_file_beside_the_test", event_files),
        trial("testing::nothing_is_left_in_the_database", nothing_left),
        trial("testing::junit_is_xml_whatever_the_tests_say", junit),
        trial("testing::without_a_server_it_ends_with_69", away),
        trial("testing::it_works_with_the_roles_of_least_privilege", least_privilege),
    ]
}

const GIVEN: &str = "[[given]]\nstream = \"a\"\ntype = \"A\"\ndata = { n = 1 }\n
[[given]]\nstream = \"b\"\ntype = \"A\"\ndata = { n = 2 }\n
[[given]]\nstream = \"c\"\ntype = \"A\"\ndata = { n = 3 }\n
[[given]]\nstream = \"a\"\ntype = \"B\"\ndata = { n = 4 }\n\n";

/// A projection with a row for each stream.
fn write_counters(project: &Project, name: &str) {
    project.write(
        name,
        "schema.sql",
        "create table counters (n bigint check (n < 100), id uuid primary key, note text);",
    );
    project.write(
        name,
        "A.sql",
        "insert into counters values ((event.data->>'n')::bigint, event.stream_id, null);",
    );
    project.write(
        name,
        "B.sql",
        "update counters set n = (event.data->>'n')::bigint where id = event.stream_id;",
    );
}

fn write_test(project: &Project, name: &str, file: &str, expects: &str) {
    project.write(name, &format!("tests/{file}.toml"), &format!("{GIVEN}{expects}"));
}

fn said(output: &Output) -> String {
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

/// What it prints; it must end with this code.
fn test(project: &Project, code: i32) -> String {
    let output = project.run(&["test"]);
    assert_eq!(output.status.code(), Some(code), "{}", said(&output));
    said(&output)
}

fn assert_has(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "no {part:?} in\n{said}");
    }
}

async fn repository() {
    let project = Project::new().await;
    for projection in ["projections/orders", "projections/customers", "examples/projections/permits"] {
        project.copy(projection);
    }
    let said = test(&project, 0);
    assert_has(&said, &["ok: orders/first", "ok: customers/first", "ok: permits/medians"]);
    assert!(said.trim_end().ends_with(" passed, 0 failed"), "{said}");
}

async fn without_setup_or_lock() {
    let project = Project::new().await;
    project.copy("projections/orders");
    test(&project, 0);
    assert_eq!(project.value("select to_regnamespace('projectord')").await, "");
    project.ok(&["setup"]);
    let mut writer = project.pool.begin().await.unwrap();
    sqlx::query("select from projectord.log_head for update").execute(&mut *writer).await.unwrap();
    test(&project, 0);
    writer.rollback().await.unwrap();
    assert_eq!(project.value("select count(*) from projectord.events").await, "0");
}

async fn difference() {
    let project = Project::new().await;
    write_counters(&project, "counters");
    let rows = r#"rows = [{ n = 5, id = "a" }, { n = 2, id = "b" }, { id = "c", n = 3 }]"#;
    write_test(&project, "counters", "last", &format!("[[expect]]\ntable = \"counters\"\n{rows}\n"));
    let more = "[[expect]]\nafter = 2\ntable = \"counters\"\nrows = [{ id = \"a\", n = 1 }]\n
[[expect]]\nafter = 3\nquery = \"select n from counters order by n\"\nrows = [{ n = 3 }, { n = 2 }, { n = 1 }]\n
[[expect]]\nafter = 1\ntable = \"counters\"\ncount = 7\n
[[expect]]\ntable = \"counters\"\nrows = [{ m = 1 }]\n
[[expect]]\ntable = \"others\"\nrows = []\n
[[expect]]\ntable = \"counters\"\nrows = [{ id = \"z\" }]\n";
    write_test(&project, "counters", "more", more);
    write_test(&project, "counters", "right", "[[expect]]\nafter = 0\ntable = \"counters\"\nrows = []\n");
    let said = test(&project, 1);
    assert_has(
        &said,
        &[
            "failed: counters/last",
            "projections/counters/tests/last.toml:21: table counters after 4 events: the rows are others\n",
            "            id  n\n  expected  a   5\n  found     a   4\n",
            "            id  n\n  not expected  b   2\n".trim_start(),
            "more.toml:26: query after 3 events: the rows are others\n",
            "more.toml:31: table counters after 1 event: 7 rows expected, 1 found",
            "more.toml:36: table counters after 4 events: no column \"m\"; there are n, id, note",
            "relation \"others\" does not exist",
            "id = \"z\" is no UUID, and no stream of the events given",
            "ok: counters/right",
            "1 passed, 2 failed",
            "projectord: 2 tests failed",
        ],
    );
}

async fn values() {
    let project = Project::new().await;
    let schema = "create type mood as enum ('glad');
        create table kinds (id int primary key, price numeric, total numeric(12, 2), at timestamptz, day date, took interval,
                            mood mood, tags text[], doc jsonb, \"Odd name\" text, yes boolean, double float8, none text);
        insert into kinds values (1, 12.50, 3, '2024-03-01 12:00+02', '2024-03-01', '26:00', 'glad', '{a,b}',
                                  '{\"b\": 1, \"a\": [1, null]}', 'x', true, 0.1, null);";
    project.write("kinds", "schema.sql", schema);
    project.write("kinds", "A.sql", "null;");
    let row = r#"[[expect]]
table = "kinds"
rows = [{ id = 1, price = 12.5, total = 3, at = 2024-03-01T10:00:00Z, day = 2024-03-01, took = "1 day 2 hours", mood = "glad", tags = ["a", "b"], "Odd name" = "x", yes = true, double = 0.1, "none is null" = true }]

[[expect]]
query = "select doc->'b' as b from kinds;"
rows = [{ b = 1 }]
"#;
    write_test(&project, "kinds", "right", row);
    test(&project, 0);
    for (column, value, found) in [
        ("price", "12.51", "12.5"),
        ("\"total is null\"", "true", "3"),
        ("none", "\"\"", "null"),
        ("yes", "false", "true"),
        ("at", "2024-03-01T10:00:01Z", "2024-03-01"),
        ("id", "\"one\"", "invalid input syntax for type integer: \"one\""),
    ] {
        write_test(
            &project,
            "kinds",
            "right",
            &format!("[[expect]]\ntable = \"kinds\"\nrows = [{{ {column} = {value} }}]"),
        );
        assert_has(&test(&project, 1), &[found]);
    }
}

async fn batches() {
    let project = Project::new().await;
    let expects = "[[expect]]\ntable = \"counters\"\ncount = 3\n";
    for (name, handler) in [
        (
            "temporary",
            "create temp table if not exists mine (n bigint) on commit drop;
             insert into pg_temp.mine values (1);
             insert into counters select count(*), event.stream_id from pg_temp.mine;",
        ),
        (
            "settings",
            "perform set_config('lab.seen', 'x' || coalesce(current_setting('lab.seen', true), ''), false);
             insert into counters values (length(current_setting('lab.seen')), event.stream_id);",
        ),
        ("transactions", "insert into counters values (1, event.stream_id, txid_current());"),
    ] {
        write_counters(&project, name);
        project.write(name, "A.sql", handler);
        project.write(name, "B.sql", "null;");
        write_test(&project, name, "rows", expects);
        let said = text(&project.run(&["test", name]).stdout);
        let what =
            "after 4 events, table counters has other rows in batches of 3 (found) than one event at a time";
        assert_has(&said, &[what, "depend on where a batch ends", "  id  n", "0 passed, 1 failed"]);
    }
}

async fn clocks() {
    let project = Project::new().await;
    for value in ["now()", "clock_timestamp()", "random()", "gen_random_uuid()"] {
        write_counters(&project, "counters");
        project.write(
            "counters",
            "A.sql",
            &format!("insert into counters values (1, event.stream_id, {value}::text);"),
        );
        write_test(&project, "counters", "rows", "[[expect]]\ntable = \"counters\"\ncount = 3\n");
        assert_has(&test(&project, 1), &["or on more than the events, as now()"]);
    }
}

async fn errors() {
    let project = Project::new().await;
    write_counters(&project, "counters");
    project.write("counters", "B.sql", "\nupdate counters set n = 1000 where id = event.stream_id;");
    write_test(&project, "counters", "a", "[[expect]]\ntable = \"counters\"\ncount = 3\n");
    let right = "[error]\nat = 4\nsqlstate = \"23514\"\nmessage = \"check constraint\"\n\n[[expect]]\ntable = \"counters\"\ncount = 3\n";
    write_test(&project, "counters", "b", right);
    write_test(&project, "counters", "c", "[error]\nat = 4\nmessage = \"something else\"\n");
    write_test(&project, "counters", "d", "[error]\nat = 2\n");
    let said = test(&project, 1);
    assert_has(
        &said,
        &[
            "tests/a.toml: B.sql:2: new row for relation \"counters\" violates check constraint",
            "(SQLSTATE 23514) at event 4, \"B\", version 2 of stream \"a\"",
            "ok: counters/b",
            "tests/c.toml:21: expected \"something else\", found: B.sql:2: new row",
            "tests/d.toml:21: event 2 was to fail, and it did not",
            "1 passed, 3 failed",
        ],
    );
}

async fn parked() {
    let project = Project::new().await;
    write_counters(&project, "counters");
    project.write("counters", "projection.toml", "on_error = \"park\"\n");
    project.write(
        "counters",
        "A.sql",
        "insert into counters values (98 + (event.data->>'n')::bigint, event.stream_id);",
    );
    let expects = "[[error]]\nat = 2\nsqlstate = \"23514\"\n[[error]]\nat = 3\n
[[expect]]\ntable = \"counters\"\nrows = [{ id = \"a\", n = 4 }]\n";
    write_test(&project, "counters", "rows", expects);
    test(&project, 0);
    // The later event of a parked stream is not applied either.
    project.write(
        "counters",
        "A.sql",
        "insert into counters values (99 + (event.data->>'n')::bigint, event.stream_id);",
    );
    project.write("counters", "B.sql", "insert into counters values (7, event.stream_id);");
    let expects = "[[error]]\nat = 1\n[[error]]\nat = 2\n[[error]]\nat = 3\n[[expect]]\ntable = \"counters\"\nrows = []\n";
    write_test(&project, "counters", "rows", expects);
    test(&project, 0);
}

async fn bad_files() {
    let project = Project::new().await;
    write_counters(&project, "counters");
    let rows = [
        ("key", "[[expect]]\ntable = \"counters\"\nrowz = []\n", ":23: unknown field `rowz`"),
        ("toml", "[[expect]]\ntable = \"counters\n", ":22: "),
        ("nothing", "", ": it expects nothing"),
        ("neither", "\n[[expect]]\ntable = \"counters\"\n", ":22: neither rows nor count"),
        ("both", "[[expect]]\ntable = \"t\"\nquery = \"q\"\ncount = 1\n", ":21: either table or query"),
        ("after", "[[expect]]\nafter = 5\ntable = \"t\"\ncount = 1\n", ":21: after = 5, of 4 events"),
        ("error", "[error]\nat = 9\n", ":21: at = 9, of 4 events"),
        ("event", "[[given]]\nstream = \"a\"\ntype = \"\"\n", ":21: the event type is empty"),
        ("no_type", "[[given]]\nstream = \"a\"\n", ":21: no type"),
        (
            "outside",
            "[[given]]\nevents = \"../../../other.ndjson\"\n",
            "other.ndjson: it lies outside the projection's folder",
        ),
        ("missing", "[[given]]\nevents = \"missing.ndjson\"\n", "missing.ndjson: cannot read it"),
        (
            "line",
            "[[given]]\nevents = \"line.ndjson\"\n",
            "line.ndjson:2: not an event: missing field `data`",
        ),
    ];
    std::fs::write(project.folder.path().join("other.ndjson"), "").unwrap();
    project.write(
        "counters",
        "tests/line.ndjson",
        "\u{feff}{\"stream_id\":\"a\",\"type\":\"A\",\"data\":{}}\n{\"stream\":\"a\",\"type\":\"A\"}\n",
    );
    for (name, expects, _) in rows {
        write_test(&project, "counters", name, expects);
    }
    // One that is right runs all the same.
    write_test(&project, "counters", "right", "[[expect]]\ntable = \"counters\"\ncount = 3\n");
    let said = test(&project, 78);
    for (name, _, reason) in rows {
        let is_it =
            |line: &&str| line.starts_with("problem: projections/counters/tests/") && line.contains(reason);
        assert!(said.lines().any(|line| is_it(&line)), "{name}: no {reason:?} in\n{said}");
    }
    assert_has(&said, &["ok: counters/right", "1 passed, 0 failed", "projectord: 12 problems"]);
    // SQL that PostgreSQL refuses is the projection's problem, and its tests do not run.
    std::fs::remove_dir_all(project.projections().join("counters/tests")).unwrap();
    write_test(&project, "counters", "right", "[[expect]]\ntable = \"counters\"\ncount = 3\n");
    project.write("counters", "A.sql", "\nselekt 1;");
    assert_has(
        &test(&project, 78),
        &["problem: projections/counters/A.sql:2: syntax error", "0 passed, 0 failed"],
    );
    // And one that is not there is neither.
    let output = project.run(&["test", "nowhere"]);
    assert_eq!(output.status.code(), Some(5), "{said}");
}

async fn event_files() {
    let project = Project::new().await;
    write_counters(&project, "counters");
    let line = |stream: &str, n: u32| {
        format!(
            "{{\"stream_id\": \"{stream}\", \"stream_type\": \"counter\", \"type\": \"A\", \"data\": {{\"n\": {n}}}, \"metadata\": {{}}, \"position\": 99, \"version\": 7, \"commit_id\": \"x\", \"recorded_at\": \"2024-01-01T00:00:00Z\"}}\n"
        )
    };
    let stream = "6763e85f-f8d5-5bee-ad04-4ed1d6d49798";
    project.write("counters", "tests/events.ndjson", &format!("{}\n{}", line(stream, 1), line("b", 2)));
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(line("c", 3).as_bytes()).unwrap();
    std::fs::write(project.projections().join("counters/tests/more.ndjson.gz"), gzip.finish().unwrap())
        .unwrap();
    let test_file = format!(
        "[[given]]\nevents = \"events.ndjson\"\n\n[[given]]\nevents = \"more.ndjson.gz\"\n
[[given]]\nstream = \"d\"\ntype = \"A\"\ndata_json = '{{\"n\": 4, \"m\": null}}'\n
[[expect]]\ntable = \"counters\"\nrows = [{{ id = \"{stream}\", n = 1 }}, {{ id = \"b\" }}, {{ id = \"c\", n = 3 }}, {{ id = \"d\", n = 4 }}]\n"
    );
    project.write("counters", "tests/files.toml", &test_file);
    test(&project, 0);
}

async fn nothing_left() {
    let project = Project::new().await;
    project.ok(&["setup"]);
    write_counters(&project, "counters");
    write_test(&project, "counters", "right", "[[expect]]\ntable = \"counters\"\ncount = 3\n");
    write_test(&project, "counters", "wrong", "[[expect]]\ntable = \"counters\"\ncount = 4\n");
    write_counters(&project, "refused");
    project.write(
        "refused",
        "schema.sql",
        "create table counters (n bigint); create table counters (n bigint);",
    );
    write_test(&project, "refused", "right", "[[expect]]\ntable = \"counters\"\ncount = 3\n");
    let everything = "select string_agg(nspname, ',' order by nspname)
                             || (select count(*) from pg_class where relname !~ '^pg_') || (select count(*) from pg_proc)
                        from pg_namespace where nspname !~ '^pg_'";
    let before = project.value(everything).await;
    test(&project, 78);
    assert_eq!(project.value(everything).await, before);
    // A handler that never ends is cancelled.
    std::fs::remove_dir_all(project.projections().join("refused")).unwrap();
    project.write("counters", "A.sql", "perform pg_sleep(1000);");
    let mut command = project.command(&["test"]);
    let output = command.env("PROJECTORD_PROJECTOR__BATCH_TIMEOUT", "1s").output().unwrap();
    assert_has(&said(&output), &["(SQLSTATE 57014) at event 1", "0 passed, 2 failed"]);
    assert_eq!(project.value(everything).await, before);
}

async fn junit() {
    let project = Project::new().await;
    write_counters(&project, "counters");
    write_test(&project, "counters", "right", "[[expect]]\ntable = \"counters\"\ncount = 3\n");
    let odd = "[[expect]]\nquery = \"select '<a & b>\\u0007]]>' as odd\"\nrows = [{ odd = \"\\\"'\" }]\n";
    write_test(&project, "counters", "odd", odd);
    write_test(&project, "counters", "bad", "[[expect]]\n");
    let output = project.run(&["test", "--junit", "results.xml"]);
    assert_eq!(output.status.code(), Some(78));
    let xml = std::fs::read_to_string(project.folder.path().join("results.xml")).unwrap();
    let report = quick_junit::Report::deserialize_from_str(&xml).unwrap();
    assert_eq!((report.tests, report.failures, report.errors), (3, 1, 1), "{xml}");
    let suite = &report.test_suites[0];
    let names: Vec<&str> = suite.test_cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!((suite.name.as_str(), &names[..2]), ("counters", &["counters/odd", "counters/right"][..]));
    assert!(xml.contains("&lt;a &amp; b&gt;"), "{xml}");
}

async fn away() {
    let project = Project::new().await;
    project.copy("projections/orders");
    let mut command = project.command(&["test"]);
    let output = command.env("PROJECTORD_POSTGRES__URL", "postgres://127.0.0.1:1/d").output().unwrap();
    assert_eq!(output.status.code(), Some(69), "{}", said(&output));
}

async fn least_privilege() {
    let mut project = Project::new().await;
    let roles = include_str!("../../../deploy/roles.sql");
    let passwords = "alter role projectord_owner password 'of-the-tests';
                     alter role projectord_projector password 'of-the-tests'";
    for sql in [roles, passwords] {
        sqlx::Executor::execute(&project.pool, sqlx::raw_sql(sql)).await.unwrap();
    }
    let (scheme, rest) = project.postgres_url.split_once("://").unwrap();
    let place = rest.split_once('@').map_or(rest, |(_, place)| place).to_owned();
    let scheme = scheme.to_owned();
    project.postgres_url = format!("{scheme}://projectord_owner:of-the-tests@{place}");
    project.ok(&["setup"]);
    project.postgres_url = format!("{scheme}://projectord_projector:of-the-tests@{place}");
    project.copy("projections/orders");
    test(&project, 0);
    assert_eq!(project.value("select count(*) from pg_namespace where nspname ~ 'orders'").await, "0");
}
