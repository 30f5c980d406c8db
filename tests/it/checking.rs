//! `projectord check` finds, before a handler runs, what would fail when it does, and what would make a rebuild
//! differ; and says nothing of what is right.

use libtest_mimic::Trial;

use crate::support::{Project, text, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("checking::a_missing_name_is_found_with_file_and_line", missing_names),
        trial("checking::what_is_right_is_no_problem", no_false_alarms),
        trial("checking::what_only_shows_when_it_runs_is_counted", unseen),
        trial("checking::what_differs_in_a_rebuild_is_warned_of", warnings),
        trial("checking::what_only_looks_like_it_is_not", no_false_warnings),
        trial("checking::a_sample_of_the_log_is_run_and_rolled_back", sample),
        trial("checking::one_projection_is_checked_alone", one),
        trial("checking::row_stream_names_a_column_of_a_stream", row_stream),
        trial("checking::the_projections_of_this_repository_are_right", own_projections),
    ]
}

const SCHEMA: &str = "create table t (n bigint, k text primary key, at timestamptz);
create function twice(n bigint) returns bigint language sql as $$ select n * 2 $$;
create view v as select n from t;
";

async fn project() -> Project {
    let project = Project::new().await;
    project.ok(&["setup"]);
    project
}

/// What `check` prints of this kind, without the folder.
fn said(project: &Project, arguments: &[&str], kind: &str) -> Vec<String> {
    let output = project.run(arguments);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(!err.contains("panicked"), "{err}");
    let begin = format!("{kind}: ");
    let lines = out.lines().filter_map(|line| line.strip_prefix(&begin));
    lines.map(|line| line.trim_start_matches("projections/").to_owned()).collect()
}

/// Exactly these lines, by beginning and something in them.
fn assert_said(project: &Project, arguments: &[&str], kind: &str, wanted: &[(String, &str)]) {
    let lines = said(project, arguments, kind);
    for (begin, reason) in wanted {
        let found = lines.iter().filter(|line| line.starts_with(begin) && line.contains(reason)).count();
        assert_eq!(found, 1, "{begin}… {reason} … in {lines:#?}");
    }
    assert_eq!(lines.len(), wanted.len(), "{lines:#?}");
}

async fn missing_names() {
    let project = project().await;
    #[rustfmt::skip]
    let rows = [
        ("table_", "null;\ninsert into missing values (1);", 2, "relation \"missing\" does not exist (SQLSTATE 42P01)"),
        ("column_", "update t\n   set n = 1,\n       missing = 2;", 3, "42703"),
        ("field", "insert into t (n)\nvalues (event.missing);", 1, "record \"event\" has no field \"missing\""),
        ("function_", "perform\n  missing(1);", 2, "42883"),
        ("hinted", "update t set n = n where kk = 'x'", 1, "hint: Perhaps you meant to reference the column \"t.k\""),
        ("a_type", "insert into t (n) values ((event.data->>'n')::bigitn)", 1, "42704"),
        ("wrong_type", "insert into t (n) values (event.data->>'n')", 1, "42804"),
        ("no_key", "insert into t (n) values (1) on conflict (n) do nothing", 1, "42P10"),
        ("constant", "update t set n = 'x'", 1, "22P02"),
        ("in_if", "if exists (select 1 from t) then\n  if true then null;\n  else delete from missing; end if;\nend if;", 3, "42P01"),
        ("condition", "null;\nif exists (select 1 from missing) then null; end if", 2, "42P01"),
        ("in_loop", "for i in 1..3 loop\n  update t set n = i,\n   m = i; end loop;", 3, "42703"),
        ("read_by_loop", "declare r record; begin\n for r in select missing from t loop null; end loop; end;", 2, "42703"),
        ("with_variables", "declare a text; b t;\nbegin\n  select k into strict a from t where n = b.n;\n  update t set n = b.n where k = a and missing;\nend;", 4, "\"missing\" does not exist"),
        ("into_", "declare a text;\nbegin\n  select missing\n into strict a from t; end;", 3, "42703"),
        ("assigned", "declare a bigint; begin\n a := twice(1, 2); end", 2, "42883"),
        ("first_value", "declare\n a bigint := (select max(missing) from t);\nbegin a := 1; end", 2, "42703"),
        ("caught", "begin null; exception when others then\n  insert into missing values (1); end;", 2, "42P01"),
        ("other_schema", "perform 1 from nowhere.t", 1, "42P01"),
        ("declared", "declare a bigint;\n b u; begin null; end", 2, "type \"u\" does not exist (SQLSTATE 42704)"),
        ("rows_for_nobody", "update t set n = 1;\nselect 1;", 2, "perform …"),
        ("umlauts", "-- äöü 😀\nperform 'ü', 'ö', missing;", 2, "42703"),
    ];
    for (name, handler, ..) in rows {
        project.write(name, "schema.sql", SCHEMA);
        project.write(name, "A.sql", handler);
    }
    let wanted = rows.map(|(name, _, line, reason)| (format!("{name}/A.sql:{line}: "), reason));
    assert_said(&project, &["check"], "problem", &wanted);
    assert_eq!(project.run(&["check"]).status.code(), Some(78));
}

async fn no_false_alarms() {
    let project = project().await;
    let rows = [
        "insert into t values (twice(event.version), event.data->>'k', event.recorded_at) on conflict (k) do update set n = excluded.n;",
        "update t set n = 1 where k = event.type; if found then perform twice(1); end if; if not found then null; end if;",
        "<<top>> declare a text; b bigint := 0; r record; s t; begin
           select k, n into strict a, b from t where k = event.stream_type; update t set n = b + top.b where k = a;
           for r in select * from t loop b := b + r.n; end loop;
           select * into s from t; s.n := 1; update t set n = s.n where k = s.k;
           declare a bigint; begin a := 1; update t set n = a; end;
         exception when no_data_found then raise notice '% %', sqlstate, sqlerrm; update t set k = sqlerrm; end;",
        "<<l>> for i in reverse 3..1 loop continue l when i = 2; update t set n = i; end loop; while false loop exit; end loop;",
        "create temp table made (x int) on commit drop; insert into made values (1); drop table made;",
        "execute 'create table later (x int)'; insert into later values (1);",
        "declare c cursor for select n from t; x bigint; begin open c; fetch c into x; close c; get diagnostics x = row_count; end",
        "case event.version when 1 then update t set n = 1; else null; end case;",
        "with a as (insert into t (k) values ('a') returning n) update t set n = a.n from a; delete from t where k in (select k from t);",
        "merge into t using (select event.position as p) s on t.n = s.p when matched then delete;",
        "declare a text[]; b text; begin a[1] := event.type; a := a || array['x']; foreach b in array a loop update t set k = b; end loop; end",
        "assert true; perform 1 / event.position; perform (event.data->>'n')::int, (event.data->>'at')::timestamptz;",
        "insert into mine.t values (event.position);",
    ];
    for (nth, handler) in rows.iter().enumerate() {
        let name = if handler.contains("mine.t") { "mine".into() } else { format!("p{nth}") };
        project.write(&name, "schema.sql", SCHEMA);
        project.write(&name, "A.sql", handler);
    }
    assert_eq!(said(&project, &["check"], "problem"), [""; 0]);
    project.ok(&["check"]);
}

async fn unseen() {
    let project = project().await;
    project.write("seen", "schema.sql", SCHEMA);
    project.write("seen", "A.sql", "insert into t (n) values (event.position)");
    project.write("unseen", "schema.sql", SCHEMA);
    let handler =
        "declare r record; begin execute 'select 1 as n'; select 1 as n into r; update t set n = r.n; end";
    project.write("unseen", "A.sql", handler);
    assert_eq!(
        said(&project, &["check"], "note"),
        ["unseen: 2 statements only show what they do on an event; try --sample"]
    );
}

async fn warnings() {
    let project = project().await;
    sqlx::raw_sql("create schema theirs; create table theirs.rates (n int); create function theirs.f() returns int language sql as 'select 1'")
        .execute(&project.pool)
        .await
        .unwrap();
    let schema = "create table t (
    n serial,
    i bigint generated always as identity,
    at timestamptz default now(),
    id uuid default gen_random_uuid(),
    d date default current_date
);
create sequence s;
create table u (n bigint default nextval('s'));
create function f() returns text language plpgsql as $$ begin
    return clock_timestamp(); end $$;
create view v as select * from projectord.events;
";
    project.write("orders", "schema.sql", schema);
    let handler = "insert into t (n, at) values (1, CURRENT_TIMESTAMP);
update t set n = random() * 2 where at < localtimestamp;
perform pg_catalog.now(), statement_timestamp();
perform setval('s', 3), theirs.f();
insert into u select r.n from theirs.rates r;
update orders.u set n = 1;
perform 1 where 'today'::date > d from t;";
    project.write(
        "orders",
        "A.sql",
        &handler.replace("perform 1 where 'today'::date > d from t", "delete from t where d < 'today'::date"),
    );
    #[rustfmt::skip]
    let wanted = [
        ("schema.sql:2", "t.n: a sequence"),
        ("schema.sql:3", "t.i: a sequence"),
        ("schema.sql:4", "now(): another time"),
        ("schema.sql:5", "gen_random_uuid(): volatile"),
        ("schema.sql:6", "current_date: another time"),
        ("schema.sql:9", "nextval(): a sequence"),
        ("schema.sql:11", "clock_timestamp(): another time"),
        ("schema.sql:12", "projectord.events: of another schema"),
        ("A.sql:1", "current_timestamp: another time"),
        ("A.sql:2", "random(): volatile"),
        ("A.sql:2", "localtimestamp: another time"),
        ("A.sql:3", "pg_catalog.now()"),
        ("A.sql:3", "statement_timestamp()"),
        ("A.sql:4", "setval(): a sequence"),
        ("A.sql:4", "theirs.f(): volatile"),
        ("A.sql:5", "theirs.rates: of another schema"),
        ("A.sql:6", "orders.u: a rebuild is made in a schema of another name"),
        ("A.sql:7", "'today': another time"),
    ];
    let wanted = wanted.map(|(place, reason)| (format!("orders/{place}: "), reason));
    assert_said(&project, &["check"], "warning", &wanted);
    assert!(project.ok(&["check"]).ends_with("ok: configuration and projections orders\n"));
}

async fn no_false_warnings() {
    let project = project().await;
    // Schemas by the names that tables and aliases have here.
    sqlx::raw_sql("create schema a; create table a.n (x int); create schema t; create table t.k (x int)")
        .execute(&project.pool)
        .await
        .unwrap();
    let schema = "-- now(), random()\ncreate table t (now bigint, random text default 'now()', k text);
        /* current_date */ create table serial (\"current_date\" int, serial text);
        create function now_of(x bigint) returns bigint language sql as 'select x';
        create function nextval(x bigint) returns bigint language sql as $$ select x $$;";
    project.write("good", "schema.sql", schema);
    let handler = "insert into t (now, random) values (event.position, 'now()'); -- random()
        update t set now = now + 1, k = t.k where now_of(now) = nextval(1::bigint);
        perform set_config('timezone', 'UTC', true); insert into serial (serial) values ('today');
        update t set k = E'\\'now()' where now = date_part('year', event.recorded_at)";
    project.write("good", "A.sql", handler);
    assert_eq!(said(&project, &["check"], "warning"), [""; 0]);
    project.ok(&["check"]);
}

async fn sample() {
    let project = project().await;
    let streams = [1, 2].map(|n| format!("00000000-0000-4000-8000-{n:012}"));
    let append = |stream: &str, event_type: &str, data: &str| {
        project.ok(&["append", stream, event_type, data]);
    };
    append(&streams[0], "Made", r#"{"n": "1"}"#);
    for n in 1..=5 {
        append(&streams[0], "Changed", &format!(r#"{{"n": "{n}"}}"#));
    }
    append(&streams[1], "Made", r#"{"n": "secret-1"}"#);
    append(&streams[1], "Other", "{}");
    append(&streams[1], "Made", r#"{"n": "secret-2"}"#);
    project.write("p", "schema.sql", "create table t (id uuid primary key, n bigint not null);");
    project.write(
        "p",
        "Made.sql",
        "insert into t (id, n)\nvalues (event.stream_id, nullif(length(event.data->>'n'), 8));\n",
    );
    // It relies on what its stream had before.
    let changed = "declare before t; begin\nselect * into strict before from t where id = event.stream_id;\nupdate t set n = (event.data->>'n')::int where id = before.id;\nend;";
    project.write("p", "Changed.sql", changed);
    let everything = "select (select count(*) from pg_class) || ' ' || (select count(*) from pg_proc) || ' ' || (select count(*) from pg_namespace where nspname !~ '^pg_')";
    project.ok(&["check"]);
    let before = project.value(everything).await;
    let arguments = ["check", "--sample", "2"];
    let wanted = "null value in column \"n\" of relation \"t\" violates not-null constraint (SQLSTATE 23502) at event 7, \"Made\", version 1 of stream";
    assert_said(&project, &arguments, "problem", &[("p/Made.sql:1: ".into(), wanted)]);
    let problem = said(&project, &arguments, "problem").remove(0);
    assert!(problem.ends_with(", and at 1 more") && !problem.contains("secret"), "{problem}");
    // Both of stream 2; of stream 1 the newest two, and what was before them.
    assert_eq!(said(&project, &arguments, "note"), ["p: 8 events of the log were run through its handlers"]);
    assert_eq!(project.run(&arguments).status.code(), Some(78));
    assert_eq!(project.value(everything).await, before, "one that fails leaves nothing either");
    // Those that somebody skipped are not run: a rebuild leaves them out as well.
    project.run(&["run", "--until-caught-up"]);
    let skipped = "insert into projectord.skipped (projection, position) values ('p', 7), ('p', 9)";
    sqlx::query(skipped).execute(&project.pool).await.unwrap();
    assert!(project.ok(&arguments).contains("p: 6 events of the log"));
    let before = project.value(everything).await;
    // Put right, all is well, and nothing stays.
    project.write("p", "Made.sql", "insert into t values (event.stream_id, 1) on conflict do nothing;");
    assert!(project.ok(&arguments).contains("p: 6 events of the log"));
    assert_eq!(project.value(everything).await, before);
    assert_eq!(project.value("select count(*) from projectord.events").await, "9");
    for wrong in ["0", "x", "-1"] {
        assert_eq!(project.run(&["check", "--sample", wrong]).status.code(), Some(2), "{wrong}");
    }
}

async fn one() {
    let project = project().await;
    for (name, handler) in [("good", "null;"), ("bad", "perform missing();"), ("worse", "commit;")] {
        project.write(name, "schema.sql", SCHEMA);
        project.write(name, "A.sql", handler);
    }
    assert_eq!(project.ok(&["check", "good"]), "ok: configuration and projection good\n");
    assert_said(&project, &["check", "bad"], "problem", &[("bad/A.sql:1: ".into(), "42883")]);
    assert_said(&project, &["check", "worse"], "problem", &[("worse/A.sql:1: ".into(), "COMMIT")]);
    let output = project.run(&["check", "godo"]);
    assert_eq!(output.status.code(), Some(5));
    assert!(text(&output.stderr).contains("no projection \"godo\""), "{}", text(&output.stderr));
}

async fn row_stream() {
    let project = project().await;
    for (name, row_stream) in [
        ("right", "t.id"),
        ("no_table", "u.id"),
        ("no_column", "t.ids"),
        ("no_stream", "t.n"),
        ("no_key", "keyless.id"),
        ("no_point", "t"),
    ] {
        let schema = "create table t (id uuid primary key, n bigint); create table keyless (id uuid);";
        project.write(name, "schema.sql", schema);
        project.write(name, "A.sql", "null;");
        project.write(
            name,
            "projection.toml",
            &format!("description = \"x\"\nrow_stream = \"{row_stream}\"\n"),
        );
    }
    let wanted = [
        ("no_table", "schema.sql makes no table u"),
        ("no_column", "the table t has no column ids"),
        ("no_stream", "t.n is of type bigint"),
        ("no_key", "no primary key"),
        ("no_point", "as in \"orders.id\""),
    ];
    let wanted = wanted.map(|(name, reason)| (format!("{name}/projection.toml:2: "), reason));
    assert_said(&project, &["check"], "problem", &wanted);
}

async fn own_projections() {
    let project = project().await;
    for folder in ["projections/orders", "projections/customers", "tests/projections/loan_applications"] {
        project.copy(folder);
    }
    assert_eq!(
        project.ok(&["check"]),
        "ok: configuration and projections customers, loan_applications, orders\n"
    );
}
