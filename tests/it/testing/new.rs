//! `projectord new`: what it makes is right as it is.

use libtest_mimic::Trial;

use crate::support::{Project, text, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("new::a_template_needs_no_database_and_passes", template),
        trial("new::a_projection_of_the_events_that_there_are_passes", from_events),
        trial("new::it_changes_nothing_that_is_there", refused),
    ]
}

/// As it is, it passes `check` and `test`, and runs.
async fn assert_right(project: &Project, name: &str) {
    project.ok(&["check"]);
    let said = project.ok(&["test", name]);
    assert!(said.contains(&format!("ok: {name}/first")) && said.ends_with("1 passed, 0 failed\n"), "{said}");
    project.ok(&["run", "--until-caught-up"]);
    let state = format!("select state from projectord.projections where name = '{name}'");
    assert_ne!(project.value(&state).await, "halted");
}

async fn template() {
    let project = Project::new().await;
    let mut command = project.command(&["new", "things"]);
    let output = command.env("PROJECTORD_POSTGRES__URL", "postgres://127.0.0.1:1/d").output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    project.ok(&["setup"]);
    assert_right(&project, "things").await;
}

async fn from_events() {
    let project = Project::new().await;
    project.ok(&["setup"]);
    let stream = |nth: u32| format!("6763e85f-f8d5-5bee-ad04-4ed1d6d4{nth:04}");
    let odd = r#"{"userId": 7, "total": 12.5, "order": "it's", "id": null, "at": "2024-03-01T10:00:00+01:00", "paid": true,
                  "customer": "6763e85f-f8d5-5bee-ad04-4ed1d6d49798", "lines": [{"a": "é\n\u007f", "b": null}], "ä b": "x\\y"}"#;
    let events = [
        (1, "OrderCreated", r#"{"userId": 8, "total": 1}"#),
        (2, "OrderCreated", odd),
        (2, "Order's end/*", r#"{"why": {"deep": 1}}"#),
        (2, "order's end?", r#"[1, 2]"#),
        (3, "schema", r#"{"n": 1}"#),
    ];
    for (nth, event_type, data) in events {
        project.ok(&[
            "append",
            &stream(nth),
            event_type,
            data,
            "--stream-type",
            "order",
            "--metadata",
            r#"{"by": "me"}"#,
        ]);
    }
    let said = project.ok(&["new", "order", "--from-types", "*"]);
    assert!(said.contains("tests/first.toml"), "{said}");
    let schema = std::fs::read_to_string(project.projections().join("order/schema.sql")).unwrap();
    let columns = [
        "create table \"order\" (",
        "user_id     bigint",
        "total       numeric",
        "\"order\"     text",
        "data_id     text",
        "at          timestamptz",
        "paid        boolean",
        "customer    uuid",
        "lines       jsonb",
        "why         jsonb",
    ];
    for column in columns {
        assert!(schema.contains(column), "no {column:?} in\n{schema}");
    }
    assert_right(&project, "order").await;
    let row = "select concat_ws(' ', user_id, total, \"order\", paid, version, last_event) from \"order\".\"order\" where version = 3";
    assert_eq!(project.value(row).await, "7 12.5 it's t 3 order's end?");
    assert_eq!(project.value("select count(*) from \"order\".\"order\"").await, "3");
    // Names that PostgreSQL or a handler has for itself.
    for name in ["event", "t", "user"] {
        project.ok(&["new", name, "--from-types", "Order*"]);
        assert_right(&project, name).await;
    }
}

async fn refused() {
    let project = Project::new().await;
    project.write("orders", "notes.txt", "mine");
    for (arguments, code, reason) in [
        (&["new", "orders"] as &[&str], 1, "projections/orders is there already"),
        (&["new", "Orders"], 2, "a lower-case letter"),
        (&["new", "pg_orders"], 2, "reserved"),
        (&["new", "others", "--from-types", "Order*"], 1, "projectord setup"),
    ] {
        let output = project.run(arguments);
        let err = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{err}");
        assert!(err.contains(reason), "{err}");
    }
    project.ok(&["setup"]);
    assert_eq!(project.run(&["new", "others", "--from-types", "Order*"]).status.code(), Some(5));
    let mut command = project.command(&["new", "others", "--from-types", "*"]);
    let output = command.env("PROJECTORD_POSTGRES__URL", "postgres://127.0.0.1:1/d").output().unwrap();
    assert_eq!(output.status.code(), Some(69));
    assert!(text(&output.stderr).contains("without --from-types no database is needed"));
    let left: Vec<_> =
        std::fs::read_dir(project.projections()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(left, ["orders"]);
    assert_eq!(std::fs::read_dir(project.projections().join("orders")).unwrap().count(), 1);
}
