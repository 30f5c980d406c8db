//! Upcasters: handlers read old events as they are written today, and the log stays as it is.

use libtest_mimic::Trial;
use serde_json::Value;

use projectord::projector::test_upcasters;

use crate::support::{Project, text, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("upcasting::handlers_read_old_events_as_they_are_written_today", upcast),
        trial("upcasting::a_changed_upcaster_rebuilds_what_depends_on_it", changed),
        trial("upcasting::an_error_names_the_upcasters_file_and_line", errors),
        trial("upcasting::what_is_no_pure_expression_is_refused", refused),
        trial("upcasting::a_projection_does_not_run_without_an_upcaster_that_it_needs", needed),
        trial("upcasting::cases_say_what_an_event_becomes", cases),
    ]
}

const UPCASTER: &str = "case when coalesce((metadata->>'schema')::int, 1) < 2 then data || '{\"currency\": \"EUR\"}' else data end -- of old";

fn stream(n: u32) -> String {
    format!("00000000-0000-4000-8000-{n:012}")
}

/// Three orders, of which the second is written as today; and a projection of them.
async fn project() -> Project {
    let project = Project::new().await;
    project.ok(&["setup"]);
    project.write(
        "orders",
        "schema.sql",
        "create table o (id bigint primary key, currency text, schema text);",
    );
    let handler =
        "insert into o values (event.position, event.data->>'currency', event.metadata->>'schema');";
    project.write("orders", "OrderCreated.sql", handler);
    project.write("others", "schema.sql", "create table o (n bigint);");
    project.write("others", "Other.sql", "insert into o values (event.position);");
    let append = |n, data, metadata| {
        project.ok(&["append", &stream(n), "OrderCreated", data, "--metadata", metadata]);
    };
    append(1, r#"{"total": 5}"#, "{}");
    append(2, r#"{"total": 5, "currency": "USD"}"#, r#"{"schema": 2}"#);
    append(3, r#"{"total": 6}"#, r#"{"schema": 1}"#);
    project.ok(&["append", &stream(4), "Other", "{}"]);
    project
}

async fn upcast() {
    let project = project().await;
    project.write("_upcasters", "OrderCreated.sql", UPCASTER);
    // Of the old data, not the new.
    let metadata = "-- both are of the old values\nmetadata || jsonb_build_object('schema',\n coalesce(data->>'currency', 'was none') || version || type)";
    project.write("_upcasters", "OrderCreated.metadata.sql", metadata);
    project.write("_upcasters", "Unheard.sql", "data");
    assert_eq!(project.ok(&["check"]), "ok: configuration and projections orders, others\n");
    project.ok(&["run", "--until-caught-up"]);
    assert_eq!(
        project.rows("orders.o").await,
        "(1,EUR,\"was none1OrderCreated\")\n(2,USD,USD1OrderCreated)\n(3,EUR,\"was none1OrderCreated\")"
    );
    // The log is what it was, and the digest is the log's.
    assert_eq!(
        project.value("select data from projectord.events where position = 1").await,
        r#"{"total": 5}"#
    );
    project.ok(&["audit"]);
}

async fn changed() {
    let project = project().await;
    project.ok(&["run", "--until-caught-up"]);
    let generations = "select string_agg(name || generation, ' ' order by name) from projectord.projections";
    let currencies = "select string_agg(coalesce(currency, '-'), ' ' order by id) from orders.o";
    assert_eq!(project.value(currencies).await, "- USD -");
    assert_eq!(project.value(generations).await, "orders1 others1");
    for (nth, (upcaster, wanted)) in
        [(UPCASTER, "EUR USD EUR"), ("data || '{\"currency\": \"X\"}'", "X X X")].iter().enumerate()
    {
        project.write("_upcasters", "OrderCreated.sql", upcaster);
        let _daemon = project.daemon();
        project.until_value(currencies, wanted).await;
        project.until_value(generations, &format!("orders{} others1", nth + 2)).await;
    }
    let files = "select string_agg(key, ' ') from projectord.sources o join projectord.generations using (projection, generation),
                       jsonb_object_keys(o.files) key
                  where projection = 'orders' and state = 'live' and key like '\\_upcasters%'";
    assert_eq!(project.value(files).await, "_upcasters/OrderCreated.sql");
}

async fn errors() {
    let project = project().await;
    for (upcaster, line, sqlstate) in [
        ("-- an upcaster\n\n  data || jsonb_build_object('n',\n 5 / (version - 1))", 3, "22012"),
        ("jsonb_build_object('n', (data->>'total')::date)", 1, "22007"),
        ("data->'nothing'", 1, "22004"),
    ] {
        project.write("_upcasters", "OrderCreated.sql", upcaster);
        // The files have changed: a projection that is halted is built anew.
        assert_eq!(project.run(&["run", "--until-caught-up"]).status.code(), Some(3), "{upcaster}");
        let error = project.value("select error from projectord.projections where name = 'orders'").await;
        let error: Value = serde_json::from_str(&error).unwrap();
        assert_eq!(error["file"], format!("_upcasters/OrderCreated.sql:{line}"), "{error}");
        assert_eq!(
            (&error["sqlstate"], &error["event"]["position"]),
            (&sqlstate.into(), &1.into()),
            "{error}"
        );
        let output = project.run(&["check", "orders", "--sample", "5"]);
        let said = text(&output.stdout);
        assert!(
            said.contains(&format!("problem: projections/_upcasters/OrderCreated.sql:{line}: ")),
            "{said}"
        );
        sqlx::raw_sql(
            "drop schema if exists orders cascade; delete from projectord.projections where name = 'orders'",
        )
        .execute(&project.pool)
        .await
        .unwrap();
    }
}

async fn refused() {
    let project = project().await;
    sqlx::raw_sql(
        "create schema ext; create function ext.f(jsonb) returns jsonb language sql as 'select $1'",
    )
    .execute(&project.pool)
    .await
    .unwrap();
    // Said of the file, and of the projection that cannot do without.
    let by_load = [
        ("data;\nselect 1", 1, "one expression"),
        ("jsonb_build_object('at',\n now())", 2, "now() has no place"),
        ("(select to_jsonb(e) from\n projectord.events e)", 2, "reads no tables"),
        ("data) || (data", 1, "parenthesis"),
    ];
    let by_postgres = [
        ("data ||\n missing(data)", 2, "42883"),
        ("data || jsonb_build_object('x',\n dta)", 2, "42703"),
        ("data ||", 1, "42601"),
        ("data = metadata", 1, "42846"),
        ("ext.f(data)", 1, "ext.f() is volatile"),
        ("jsonb_build_object('x', lastval())", 1, "lastval() is volatile"),
    ];
    for (upcaster, line, reason) in by_load.into_iter().chain(by_postgres) {
        project.write("_upcasters", "OrderCreated.sql", upcaster);
        let output = project.run(&["check"]);
        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(78), "{upcaster}: {said}");
        let begin = format!("problem: projections/_upcasters/OrderCreated.sql:{line}: ");
        let found = said.lines().filter(|it| it.starts_with(&begin) && it.contains(reason)).count();
        assert_eq!(found, 1, "{upcaster}: {begin}… {reason} … in {said}");
    }
}

async fn needed() {
    let project = project().await;
    project.write("_upcasters", "OrderCreated.sql", "data;");
    let output = project.run(&["run", "--until-caught-up"]);
    assert_eq!(project.value("select count(*) from others.o").await, "1", "{}", text(&output.stderr));
    assert_eq!(project.value("select to_regclass('orders.o')").await, "");
    let said =
        project.value("select error->>'message' from projectord.projections where name = 'orders'").await;
    assert!(said.contains("the upcaster of \"OrderCreated\", which it handles, is wrong"), "{said}");
    assert_eq!(
        project.value("select count(*) from projectord.projections where name like '\\_%'").await,
        "0"
    );
}

async fn cases() {
    let project = project().await;
    project.write("_upcasters", "OrderCreated.sql", UPCASTER);
    let cases = r#"
[[case]]
type = "OrderCreated"
data = '{"total": 5}'
expect_data = { total = 5.0, currency = "EUR" }
expect_metadata = {}

[[case]]
type = "OrderCreated"
data = { total = 5 }
metadata = { schema = 2 }
expect_data = { total = 5, currency = "EUR" }

[[case]]
type = "Unknown"
data = {}

[[case]]
type = "OrderCreated"
data = {}
metadata = { schema = "x" }
"#;
    project.write("_upcasters/tests", "orders.toml", cases);
    project.write("_upcasters/tests", "wrong.toml", "[[case]]\ntype = \"A\"\ndta = {}\n");
    let mut connection = project.pool.acquire().await.unwrap();
    let (tests, problems) = test_upcasters(&mut connection, &project.projections()).await.unwrap();
    let failures: Vec<(usize, String)> =
        tests.iter().map(|it| (it.line, it.failure.clone().unwrap_or_default())).collect();
    assert_eq!(failures[0], (2, String::new()));
    assert_eq!(
        failures[1],
        (8, r#"data is {"total": 5} where {"currency":"EUR","total":5} is expected"#.into())
    );
    assert!(failures[2].1.contains("no upcaster of \"Unknown\""), "{failures:?}");
    assert!(failures[3].1.contains("OrderCreated.sql") && failures[3].1.contains("22P02"), "{failures:?}");
    assert_eq!(problems.len(), 1);
    assert!(problems[0].to_string().contains("wrong.toml:3: unknown field `dta`"), "{}", problems[0]);
    let output = project.run(&["check"]);
    let said = text(&output.stdout);
    assert_eq!(
        said.lines().filter(|it| it.starts_with("problem: projections/_upcasters/tests/")).count(),
        4,
        "{said}"
    );
}
