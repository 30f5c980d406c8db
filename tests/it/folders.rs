//! Projections' folders: what is wrong with one is one line that names the file, and stops no other.

use std::os::unix::fs::symlink;
use std::time::Duration;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::support::{Project, text, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("folders::a_name_that_is_none_is_refused", names),
        trial("folders::a_file_that_cannot_be_used_is_named", files),
        trial("folders::what_leads_out_of_the_folder_is_refused", outside),
        trial("folders::a_mistake_in_the_manifest_is_named_with_its_line", manifests),
        trial("folders::a_mapping_that_cannot_be_meant_is_refused", mappings),
        trial("folders::what_would_end_the_transaction_or_the_batch_is_refused", forbidden_statements),
        trial("folders::a_quote_that_is_not_closed_is_refused_with_its_line", unclosed),
        trial("folders::a_syntax_error_is_named_with_file_and_line", syntax_errors),
        trial("folders::a_syntax_error_halts_that_projection_alone", syntax_error_halts),
        trial("folders::check_changes_nothing", check_changes_nothing),
        trial("folders::check_says_what_it_could_not_check", check_without_schema),
        trial("folders::a_missing_folder_is_named", missing_folder),
        trial("folders::drafts_and_other_files_are_left_out", left_out),
        trial("folders::a_schema_of_somebody_elses_is_left_alone", foreign_schema),
        trial("folders::a_missing_table_or_column_halts_at_the_first_such_event", missing_names),
        trial("folders::a_handler_cannot_commit_by_stealth", hidden_commit),
    ]
}

const ORDER: &str = "6763e85f-f8d5-5bee-ad04-4ed1d6d49798";

/// A project with one projection that is right, and an event for it.
async fn project() -> Project {
    let project = Project::new().await;
    project.copy("projections/orders");
    project.ok(&["setup"]);
    project.ok(&[
        "append",
        ORDER,
        "OrderCreated",
        r#"{"user_id": 7, "total": 12.5}"#,
        "--stream-type",
        "order",
    ]);
    project
}

/// A projection that is right: a table `t (n bigint)` and a handler for `A`.
fn write_good(project: &Project, name: &str) {
    project.write(name, "schema.sql", "create table t (n bigint);\n");
    project.write(name, "A.sql", "insert into t values (event.position);\n");
}

/// A projection that is right but for one file.
fn write_with(project: &Project, name: &str, file: &str, bytes: impl AsRef<[u8]>) {
    write_good(project, name);
    std::fs::write(project.projections().join(name).join(file), bytes).unwrap();
}

/// `check` says exactly this: for each place below `projections/` one line with this reason.
fn assert_problems<P: AsRef<str>>(project: &Project, wanted: &[(P, &str)]) {
    let output = project.run(&["check"]);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(78), "{out}{err}");
    assert!(!err.contains("panicked"), "{err}");
    for (place, reason) in wanted {
        let begin = format!("problem: projections/{}: ", place.as_ref());
        let lines: Vec<&str> = out.lines().filter(|line| line.starts_with(&begin)).collect();
        assert!(lines.len() == 1 && lines[0].contains(reason), "{begin}… {reason} …, not once in\n{out}");
    }
    assert_eq!(out.lines().count(), wanted.len(), "{out}");
    let plural = if wanted.len() == 1 { "" } else { "s" };
    assert_eq!(err, format!("projectord: {} problem{plural}\n", wanted.len()));
}

/// The daemon says so too, and the projection that is right gets its event.
async fn assert_others_go_on(project: &Project) {
    let output = project.run(&["run", "--until-caught-up"]);
    let err = text(&output.stderr);
    assert!(!err.contains("panicked") && err.contains("\"ERROR\""), "{err}");
    assert_eq!(project.value("select string_agg(status, ',') from orders.orders").await, "created", "{err}");
}

async fn names() {
    let project = project().await;
    let long = "a".repeat(49);
    let wanted = [
        ("Orders", "\"Orders\" cannot name"),
        ("1st", "a lower-case letter"),
        ("with-dash", "a-z, 0-9 and _"),
        ("with space", "cannot name"),
        ("größen", "cannot name"),
        ("x\"; drop schema orders; --", "cannot name"),
        (long.as_str(), "at most 47"),
        ("pg_orders", "reserved"),
        ("public", "reserved"),
        ("information_schema", "reserved"),
        ("projectord", "reserved"),
        ("projectord_check", "reserved"),
    ];
    for (name, _) in wanted {
        write_good(&project, name);
    }
    assert_problems(&project, &wanted);
    // The longest that is allowed.
    write_good(&project, &"a".repeat(48));
    assert_others_go_on(&project).await;
    let count = "select count(*) from pg_namespace where nspname like 'aaaa%' or nspname = 'orders'";
    assert_eq!(project.value(count).await, "2");
}

async fn files() {
    let project = project().await;
    for (name, file, bytes) in [
        ("no_text", "A.sql", b"select '\xff'" as &[u8]),
        ("no_text_schema", "schema.sql", b"-- \xe9"),
        ("no_text_manifest", "projection.toml", b"# \xe9"),
        ("with_nul", "A.sql", b"insert into t\nvalues (1) \0;"),
        ("with_nul_schema", "schema.sql", b"create table t (n bigint);\0"),
        ("says_nothing", "A.sql", b"-- nothing;\n/* ; */\n"),
    ] {
        write_with(&project, name, file, bytes);
    }
    for name in ["no_schema", "no_handler", "handler_is_a_folder", "manifest_is_a_folder"] {
        write_good(&project, name);
    }
    let path = |inside: &str| project.projections().join(inside);
    std::fs::remove_file(path("no_schema/schema.sql")).unwrap();
    std::fs::remove_file(path("no_handler/A.sql")).unwrap();
    std::fs::create_dir(path("handler_is_a_folder/B.sql")).unwrap();
    std::fs::create_dir(path("manifest_is_a_folder/projection.toml")).unwrap();
    std::fs::create_dir(path("nothing_in_it")).unwrap();
    let wanted = [
        ("no_text/A.sql", "not UTF-8"),
        ("no_text_schema/schema.sql", "not UTF-8"),
        ("no_text_manifest/projection.toml", "not UTF-8"),
        ("with_nul/A.sql:2", "NUL"),
        ("with_nul_schema/schema.sql:1", "NUL"),
        ("says_nothing/A.sql", "no statement"),
        ("no_schema", "no schema.sql"),
        ("no_handler", "no handler"),
        ("handler_is_a_folder/B.sql", "directory"),
        ("manifest_is_a_folder/projection.toml", "directory"),
        ("nothing_in_it", "no schema.sql"),
    ];
    assert_problems(&project, &wanted);
    assert_others_go_on(&project).await;
}

async fn outside() {
    let project = project().await;
    let outside = project.folder.path().join("outside.sql");
    std::fs::write(&outside, "insert into t values (1);").unwrap();
    let names = ["linked", "linked_schema", "linked_manifest", "linked_nowhere", "dotted", "absolute"];
    for name in names {
        write_good(&project, name);
    }
    let path = |inside: &str| project.projections().join(inside);
    symlink(&outside, path("linked/B.sql")).unwrap();
    std::fs::remove_file(path("linked_schema/schema.sql")).unwrap();
    symlink("../../outside.sql", path("linked_schema/schema.sql")).unwrap();
    symlink("../orders/projection.toml", path("linked_manifest/projection.toml")).unwrap();
    symlink("nowhere.sql", path("linked_nowhere/B.sql")).unwrap();
    project.write("dotted", "projection.toml", "[on]\n\"X\" = \"../orders/OrderCreated.sql\"\n");
    project.write("absolute", "projection.toml", &format!("[on]\n\"X\" = {outside:?}\n"));
    let wanted = [
        ("linked/B.sql", "outside the projection's folder"),
        ("linked_schema/schema.sql", "outside the projection's folder"),
        ("linked_manifest/projection.toml", "outside the projection's folder"),
        ("linked_nowhere/B.sql", "No such file"),
        ("dotted/projection.toml", "\"../orders/OrderCreated.sql\", which is no handler in this folder"),
        ("absolute/projection.toml", "outside.sql\", which is no handler in this folder"),
    ];
    assert_problems(&project, &wanted);
    assert_others_go_on(&project).await;
    // A link that stays inside is a file like any other: so a volume's files may be mounted.
    for name in names {
        std::fs::remove_dir_all(path(name)).unwrap();
    }
    write_good(&project, "inside");
    symlink("A.sql", path("inside/B.sql")).unwrap();
    project.ok(&["check"]);
}

async fn manifests() {
    let project = project().await;
    for (name, manifest) in [
        ("unknown_key", "description = \"x\"\non_eror = \"halt\"\n"),
        ("unknown_section", "\n[no]\n\"A\" = \"A.sql\"\n"),
        ("unknown_value", "\n\non_error = \"skip\"\n"),
        ("wrong_kind", "on = \"A.sql\"\n"),
        ("wrong_file", "[on]\n\"X\" = 5\n"),
        ("syntax", "description = \"x\"\non_error halt\n"),
        ("twice", "[on]\n\"A\" = \"A.sql\"\n\"A\" = \"A.sql\"\n"),
    ] {
        write_with(&project, name, "projection.toml", manifest);
    }
    let wanted = [
        (
            "unknown_key/projection.toml:2",
            "`on_eror`, expected one of `description`, `on_error`, `partition`, `row_stream`, `on`",
        ),
        ("unknown_section/projection.toml:2", "`no`"),
        ("unknown_value/projection.toml:3", "`skip`"),
        ("wrong_kind/projection.toml:1", "string"),
        ("wrong_file/projection.toml:2", "expected a string"),
        ("syntax/projection.toml:2", "expected"),
        ("twice/projection.toml:3", "duplicate"),
    ];
    assert_problems(&project, &wanted);
    assert_others_go_on(&project).await;
}

async fn mappings() {
    let project = project().await;
    for (name, on) in [
        ("missing_file", "\"X\" = \"B.sql\""),
        ("schema_as_handler", "\"X\" = \"schema.sql\""),
        ("no_type", "\"\" = \"A.sql\""),
        ("long_type", &format!("\"{}\" = \"A.sql\"", "x".repeat(201))),
        ("nul_type", "\"a\\u0000\" = \"A.sql\""),
        ("set_glob", "\"A_[xy]*\" = \"A.sql\""),
        ("brace_glob", "\"{A,B}?\" = \"A.sql\""),
        ("two_files", "\"A\" = \"B.sql\""),
    ] {
        write_with(&project, name, "projection.toml", format!("[on]\n{on}\n"));
    }
    project.write("two_files", "B.sql", "insert into t values (1);");
    let wanted = [
        ("missing_file/projection.toml", "[on] \"X\" names \"B.sql\", which is no handler"),
        ("schema_as_handler/projection.toml", "which is no handler"),
        ("no_type/projection.toml", "cannot be empty"),
        ("long_type/projection.toml", "200 bytes"),
        ("nul_type/projection.toml", "\\u0000"),
        ("set_glob/projection.toml", "a glob knows * and ? only"),
        ("brace_glob/projection.toml", "a glob knows * and ? only"),
        ("two_files/A.sql", "the event type \"A\" to \"B.sql\" already"),
    ];
    assert_problems(&project, &wanted);
    assert_others_go_on(&project).await;
}

async fn forbidden_statements() {
    let project = project().await;
    #[rustfmt::skip]
    let rows = [
        ("commits", "A.sql", "insert into t values (1);\ncommit;", "COMMIT is not allowed"),
        ("commits_deep", "A.sql", "if true then\nCommit And Chain; end if;", "COMMIT AND CHAIN is not"),
        ("rolls_back", "A.sql", "begin null; exception when others then\nrollback; end;", "ROLLBACK is not"),
        ("sets_role", "A.sql", "-- ;\nset role postgres;", "SET ROLE POSTGRES is not allowed"),
        ("sets_role_deep", "A.sql", "if a then null; else\nset local role x; end if", "SET LOCAL ROLE is not"),
        ("sets_session", "A.sql", "/* ;\n*/ set session authorization x", "SET SESSION AUTHORIZATION is not"),
        ("resets_role", "A.sql", "null;\nreset role;", "RESET ROLE is not allowed"),
        ("saves", "A.sql", "null;\nsavepoint a;", "SAVEPOINT A is not allowed"),
        ("schema_commits", "schema.sql", "create table t (n bigint);\ncommit;", "COMMIT is not allowed"),
        ("schema_ends", "schema.sql", "create table t (n bigint);\nend;", "END is not allowed"),
        ("schema_starts", "schema.sql", "\nstart transaction;", "START TRANSACTION is not allowed"),
        ("schema_copies", "schema.sql", "create table t (n bigint);\ncopy t from stdin;", "use INSERT"),
        // These two would leave out the other events of the batch, and the checkpoint would pass them.
        ("returns", "A.sql", "if event.version = 1 then\nreturn; end if;", "later events of the batch"),
        ("exits", "A.sql", "insert into t values (1);\nexit when true;", "later events of the batch"),
    ];
    for (name, file, sql, _) in rows {
        write_with(&project, name, file, sql);
    }
    assert_problems(&project, &rows.map(|(name, file, _, reason)| (format!("{name}/{file}:2"), reason)));
    assert_others_go_on(&project).await;
    assert_eq!(project.value("select count(*) from pg_namespace where nspname ~ '^schema_'").await, "0");
}

async fn unclosed() {
    let project = project().await;
    let rows = [
        ("string", "A.sql", "insert into t\nvalues ('x);"),
        ("escape_string", "A.sql", "perform\n e'\\';"),
        ("quoted_name", "A.sql", "insert into\n \"t values (1);"),
        ("dollar", "A.sql", "perform\n $x$ $y$;"),
        ("block_comment", "A.sql", "null;\n/* /* */ null;"),
        ("in_schema", "schema.sql", "create table t (n bigint);\ncomment on table t is 'x;"),
    ];
    for (name, file, sql) in rows {
        write_with(&project, name, file, sql);
        // Together with the next handler it might be closed, and say something else.
        project.write(name, "B.sql", "insert into t values (1); -- it's\n");
    }
    assert_problems(&project, &rows.map(|(name, file, _)| (format!("{name}/{file}:2"), "not closed")));
    assert_others_go_on(&project).await;
}

/// Projection, file, text, the line that is wrong, SQLSTATE.
#[rustfmt::skip]
const SYNTAX_ERRORS: [(&str, &str, &str, usize, &str); 8] = [
    ("updat", "A.sql", "insert into t\nvalues (1);\nupdat t set n = 1;\n", 3, "42601"),
    ("after_umlauts", "A.sql", "-- äöü 😀\nperform 'ü';\n\nselekt 1;", 4, "42601"),
    ("carriage_returns", "A.sql", "perform 1;\r\nselekt 1;\r\n", 2, "42601"),
    ("no_end_if", "A.sql", "if true then\n  perform 1;\n", 2, "42601"),
    ("too_many_ends", "A.sql", "perform 1;\nend loop;", 2, "42601"),
    ("tabel", "schema.sql", "create table t (n bigint);\n\ncreate tabel u ();\n", 3, "42601"),
    ("no_such_type", "schema.sql", "create table t\n(n bigitn);", 2, "42704"),
    ("no_such_table", "schema.sql", "create table t (n bigint);\ncreate view v as select * from s;", 2, "42P01"),
];

async fn syntax_errors() {
    let project = project().await;
    let mut wanted = Vec::new();
    for (name, file, sql, line, sqlstate) in SYNTAX_ERRORS {
        write_with(&project, name, file, sql);
        wanted.push((format!("{name}/{file}:{line}"), sqlstate));
    }
    assert_problems(&project, &wanted);
    for (name, ..) in SYNTAX_ERRORS {
        std::fs::remove_dir_all(project.projections().join(name)).unwrap();
    }
    // What some editors put before a text is no error.
    write_with(&project, "marked", "A.sql", "\u{feff}insert into t values (1);");
    write_with(&project, "marked", "schema.sql", "\u{feff}create table t (n bigint);");
    project.ok(&["check"]);
}

async fn syntax_error_halts() {
    let project = project().await;
    for (name, file, sql, ..) in SYNTAX_ERRORS {
        write_with(&project, name, file, sql);
    }
    let output = project.run(&["run", "--until-caught-up"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    for (name, .., sqlstate) in SYNTAX_ERRORS {
        assert!(text(&output.stderr).lines().last().unwrap().contains(name));
        let row = format!(
            "select row(state, error->>'sqlstate') from projectord.projections where name = '{name}'"
        );
        assert_eq!(project.value(&row).await, format!("(halted,{sqlstate})"), "{name}");
        // Nothing of it was made.
        assert_eq!(project.value(&format!("select to_regnamespace('{name}')")).await, "");
    }
    assert_eq!(project.value("select count(*) from orders.orders").await, "1");
    // With the file put right, the next start goes on.
    write_good(&project, "updat");
    project.run(&["run", "--until-caught-up"]);
    project.until_state("updat", "live").await;
}

async fn check_changes_nothing() {
    let project = project().await;
    write_good(&project, "good");
    let everything = "select string_agg(nspname, ',' order by nspname) || (select count(*) from pg_class)
                          || ',' || (select count(*) from pg_proc) || ',' || (select count(*) from projectord.projections)
                        from pg_namespace where nspname !~ '^pg_'";
    let before = project.value(everything).await;
    assert_eq!(project.ok(&["check"]), "ok: configuration and projections good, orders\n");
    write_with(&project, "bad", "schema.sql", "create table t (n bigint);\ncreate table t (n bigint);");
    assert_problems(&project, &[("bad/schema.sql", "\"t\" already exists (SQLSTATE 42P07)")]);
    assert_eq!(project.value(everything).await, before);
    // Also while the read models are there.
    std::fs::remove_dir_all(project.projections().join("bad")).unwrap();
    project.ok(&["run", "--until-caught-up"]);
    project.ok(&["check"]);
    assert_eq!(project.value("select count(*) from orders.orders").await, "1");
}

async fn check_without_schema() {
    let project = Project::new().await;
    assert_eq!(
        project.ok(&["check"]).lines().last(),
        Some("ok: configuration; no projections in projections")
    );
    project.copy("projections/orders");
    let said = project.ok(&["check"]);
    assert!(said.contains("not compiled") && said.contains("projectord setup"), "{said}");
    assert_eq!(project.value("select to_regnamespace('projectord')").await, "");
    // Without a server, what needs none is checked.
    write_with(&project, "commits", "A.sql", "commit;");
    let mut check = project.command(&["check"]);
    let output = check.env("PROJECTORD_POSTGRES__URL", "postgres://127.0.0.1:1/d").output().unwrap();
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(78));
    assert!(said.contains("commits/A.sql:1: COMMIT") && said.contains("not compiled"), "{said}");
}

async fn missing_folder() {
    let project = Project::new().await;
    project.ok(&["setup"]);
    for verb in [&["check"] as &[&str], &["run", "--until-caught-up"]] {
        let output = project.command(verb).env("PROJECTORD_PROJECTIONS__PATH", "nowhere").output().unwrap();
        let err = text(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{err}");
        assert!(
            err.lines().last().is_some_and(|last| {
                last.starts_with("projectord: /")
                    && last.contains("/nowhere: cannot read projections: ")
                    && last.ends_with("[projections] path says where they are")
            }),
            "{err}"
        );
    }
}

async fn left_out() {
    let project = project().await;
    for name in ["_draft", ".hidden"] {
        write_with(&project, name, "A.sql", "commit;");
    }
    std::fs::write(project.projections().join("README.md"), "about").unwrap();
    write_good(&project, "good");
    for file in ["notes.txt", ".A.sql.swp", ".#B.sql"] {
        project.write("good", file, "about");
    }
    assert_eq!(project.ok(&["check"]), "ok: configuration and projections good, orders\n");
}

async fn foreign_schema() {
    let project = project().await;
    write_good(&project, "theirs");
    for sql in ["create schema theirs", "create table theirs.t as select 42 as n"] {
        sqlx::query(sql).execute(&project.pool).await.unwrap();
    }
    assert_eq!(project.run(&["run", "--until-caught-up"]).status.code(), Some(3));
    assert_eq!(
        project.value("select state from projectord.projections where name = 'theirs'").await,
        "halted"
    );
    let said = project.ok(&["status"]);
    assert!(said.contains("the schema theirs exists") && said.contains("rename"), "{said}");
    assert_eq!(project.value("select n from theirs.t").await, "42");
    assert_eq!(project.value("select count(*) from orders.orders").await, "1");
    // Not even a rebuild takes it.
    project.ok(&["rebuild", "theirs", "--yes"]);
    assert_eq!(project.run(&["run", "--until-caught-up"]).status.code(), Some(3));
    assert_eq!(project.value("select n from theirs.t").await, "42");
    // Renamed, it is out of the way.
    sqlx::query("alter schema theirs rename to kept").execute(&project.pool).await.unwrap();
    project.ok(&["run", "--until-caught-up"]);
    assert_eq!(project.value("select count(*) from theirs.t").await, "0");
    assert_eq!(project.value("select n from kept.t").await, "42");
}

async fn missing_names() {
    let project = project().await;
    let rows = [
        ("no_table", "insert into missing values (1);", "42P01"),
        ("no_column", "update t set missing = 1;", "42703"),
        ("no_field", "insert into t values (event.missing);", "42703"),
        ("no_function", "perform missing(1);", "42883"),
    ];
    for (name, sql, _) in rows {
        write_good(&project, name);
        project.write(name, "B.sql", &format!("insert into t values (event.position);\n{sql}"));
    }
    write_good(&project, "good");
    let stream = "00000000-0000-4000-8000-000000000001";
    for event_type in ["A", "A", "B", "A", "B"] {
        project.ok(&["append", stream, event_type, "{}"]);
    }
    let _daemon = project.daemon();
    project.until_value("select count(*) from good.t", "3").await;
    for (name, _, sqlstate) in rows {
        project.until_state(name, "halted").await;
        // Everything before the event is there, and nothing of it.
        assert_eq!(project.value(&format!("select string_agg(n::text, ',') from {name}.t")).await, "2,3");
        let status: Value = serde_json::from_str(&project.ok(&["status", "--json"])).unwrap();
        let projections = status["projections"].as_array().unwrap();
        let halted = projections.iter().find(|it| it["name"] == name).unwrap();
        assert_eq!((halted["state"].as_str(), halted["position"].as_u64()), (Some("halted"), Some(3)));
        let error = &halted["error"];
        assert_eq!((error["sqlstate"].as_str(), error["file"].as_str()), (Some(sqlstate), Some("B.sql:2")));
        let event = &error["event"];
        assert_eq!((&event["position"], &event["type"]), (&4.into(), &"B".into()), "{error}");
        assert_eq!((&event["stream_id"], &event["version"]), (&stream.into(), &3.into()), "{error}");
        assert!(error["message"].as_str().unwrap().contains("missing"), "{error}");
    }
}

async fn hidden_commit() {
    let project = project().await;
    let handlers = [
        ("executed", "execute 'commit';"),
        ("in_a_block", "do $$ begin commit; end $$;"),
        ("in_a_procedure", "call stealth();"),
    ];
    for (name, sql) in handlers {
        write_good(&project, name);
        project.write(name, "A.sql", &format!("insert into t values (event.position);\n{sql}"));
    }
    let procedure = "create procedure stealth() language plpgsql as $$ begin commit; end $$;";
    project.write("in_a_procedure", "schema.sql", &format!("create table t (n bigint);\n{procedure}"));
    project.ok(&["append", ORDER, "A", "{}"]);
    let daemon = project.daemon();
    for (name, _) in handlers {
        project.until_state(name, "halted").await;
        assert_eq!(project.value(&format!("select count(*) from {name}.t")).await, "0", "{name}");
        let checkpoint = format!("select checkpoint from projectord.generations where projection = '{name}'");
        assert_eq!(project.value(&checkpoint).await, "1", "{name}");
    }
    project.until_state("orders", "live").await;
    assert_eq!(daemon.stop(Duration::from_secs(5)).await, Some(0));
}
