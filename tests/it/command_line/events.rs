//! Events in and out: appended, refused, read back, and what hostile text in them does.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{STREAM, failed, lines_of_json, set_up};
use crate::support::{Project, text};
pub(super) async fn append_and_stream() {
    let project = set_up().await;
    let data = r#"{"total": 12.5, "items": ["é", null, {"n": -0.0}], "": true}"#;
    let metadata = r#"{"who": "ü"}"#;
    let first = ["append", STREAM, "Created", data, "--stream-type", "order", "--expect", "none"];
    let first = [first.as_slice(), &["--metadata", metadata]].concat();
    assert_eq!(project.ok(&first), format!("{STREAM} 1\n"));
    // An existing stream knows its type; any JSON is data; a number may be negative.
    for (version, data) in [(2, "-1"), (3, "\"text\""), (4, "[]"), (5, "null"), (6, "1e300")] {
        assert_eq!(project.ok(&["append", STREAM, "Changed", data]), format!("{STREAM} {version}\n"));
    }
    let at = (version_of(&project), "--expect");
    assert_eq!(project.ok(&["append", STREAM, "Closed", "{}", at.1, &at.0]), format!("{STREAM} 7\n"));

    let events = lines_of_json(&project.ok(&["stream", STREAM, "--json"]));
    assert_eq!(events.len(), 7);
    for (event, version) in events.iter().zip(1..) {
        assert_eq!((&event["version"], &event["stream_id"]), (&json!(version), &json!(STREAM)));
        assert_eq!(event["stream_type"], "order");
        assert!(event["commit_id"].is_string() && event["recorded_at"].is_string(), "{event}");
    }
    assert_eq!(events[0]["type"], "Created");
    assert_eq!(events[0]["data"], json!({"total": 12.5, "items": ["é", null, {"n": 0}], "": true}));
    assert_eq!(events[0]["metadata"], json!({"who": "ü"}));
    let data: Vec<&Value> = events[1..].iter().map(|event| &event["data"]).collect();
    assert_eq!(data, [&json!(-1), &json!("text"), &json!([]), &json!(null), &json!(1e300), &json!({})]);

    let from_six = lines_of_json(&project.ok(&["stream", STREAM, "--json", "--from", "6"]));
    assert_eq!(from_six, events[5..]);
    let printed = project.ok(&["stream", STREAM]);
    assert_eq!(printed.lines().count(), 8);
    assert!(printed.ends_with(&format!("stream {STREAM} is at version 7\n")), "{printed}");
    assert!(!printed.contains('\x1b'), "no colours where nobody looks");
    let unknown = Uuid::new_v4().to_string();
    assert_eq!(failed(&project.run(&["stream", &unknown]), 5), format!("stream {unknown} not found"));
}

fn version_of(project: &Project) -> String {
    project.ok(&["stream", STREAM]).trim().rsplit(' ').next().unwrap().to_owned()
}

pub(super) async fn conflicts() {
    let project = set_up().await;
    let append = |expect: &str| project.run(&["append", STREAM, "A", "{}", "--expect", expect]);
    assert_eq!(failed(&append("1"), 4), format!("stream {STREAM} is at version 0, expected 1"));
    assert!(append("none").status.success());
    assert_eq!(failed(&append("none"), 4), format!("stream {STREAM} is at version 1, expected no stream"));
    for elsewhere in ["0", "2", "18446744073709551615"] {
        assert_eq!(
            failed(&append(elsewhere), 4),
            format!("stream {STREAM} is at version 1, expected {elsewhere}")
        );
    }
    assert!(append("1").status.success() && append("any").status.success());
    let other_type = project.run(&["append", STREAM, "A", "{}", "--stream-type", "invoice"]);
    assert!(failed(&other_type, 1).contains("is of type \"stream\", not \"invoice\""));
    assert_eq!(version_of(&project), "3");
}

pub(super) async fn same_commit() {
    let project = set_up().await;
    let commit = Uuid::new_v4().to_string();
    let append = |expect: &str| {
        project.run(&["append", STREAM, "A", "{}", "--commit-id", &commit, "--expect", expect])
    };
    for _ in 0..3 {
        assert_eq!(text(&append("none").stdout), format!("{STREAM} 1\n"));
    }
    project.ok(&["append", STREAM, "B", "{}", "--expect", "1"]);
    assert_eq!(text(&append("none").stdout), format!("{STREAM} 1\n"), "however much later");
    // At another place it is another append, and does not fit.
    failed(&append("1"), 4);
    assert_eq!(version_of(&project), "2");
    assert_eq!(project.value("select commit_id from projectord.events where version = 1").await, commit);
}

pub(super) async fn refused_events() {
    let project = set_up().await;
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let long_type = "x".repeat(201);
    #[rustfmt::skip]
    let rows = [
        ("A", r#"{"a": ["x\u0000"]}"#.to_owned(), 1, "data.a[0]: the text contains \\u0000"),
        ("A", r#"{"a\u0000": 1}"#.into(), 1, "\\u0000"),
        ("A", r#"{"a": "\ud800"}"#.into(), 2, "not JSON"),
        ("A", deep(65), 1, "nested deeper than 64"),
        ("A", deep(7_000), 2, "recursion limit"),
        ("A", deep(60_000), 2, "recursion limit"),
        ("A", "9007199254740993".into(), 1, "send it as text"),
        ("A", "1e400".into(), 2, "number out of range"),
        ("A", r#"{"$reql_type$": "TIME"}"#.into(), 1, "reserved by RethinkDB"),
        ("", "{}".into(), 1, "the event type is empty"),
        (&long_type, "{}".into(), 1, "the limit is 200"),
    ];
    for (event_type, data, code, reason) in rows {
        let output = project.run(&["append", STREAM, event_type, &data]);
        let err = text(&output.stderr);
        let begin: String = data.chars().take(40).collect();
        assert_eq!(output.status.code(), Some(code), "{begin}: {err}");
        assert!(err.contains(reason) && !err.contains("panicked"), "{begin}: {err}");
    }
    // The limits are the store's, and configured.
    let mut small = project.command(&["append", STREAM, "A", &format!("\"{}\"", "x".repeat(2_000))]);
    let output = small.env("PROJECTORD_STORE__MAX_COMMIT_BYTES", "1024").output().unwrap();
    assert!(failed(&output, 1).contains("the limit is 1024"));
    assert_eq!(failed(&project.run(&["stream", STREAM]), 5), format!("stream {STREAM} not found"));
    // What is odd but allowed.
    let odd = ["append", STREAM, "Typ 'x'; DROP TABLE orders;--\n\"ü\"", r#"{"a": 1, "a": [69, [1]]}"#];
    project.ok(&odd);
    let event = &lines_of_json(&project.ok(&["stream", STREAM, "--json"]))[0];
    assert_eq!((&event["type"], &event["data"]), (&json!(odd[2]), &json!({"a": [69, [1]]})));
}

pub(super) async fn tail() {
    let project = set_up().await;
    for n in 1..=12 {
        let event_type = if n % 3 == 0 { "Order_Sent" } else { "OrderPaid" };
        project.ok(&["append", &Uuid::new_v4().to_string(), event_type, &n.to_string()]);
    }
    let positions = |arguments: &[&str]| -> Vec<u64> {
        let printed = project.ok(&[&["tail", "--no-follow", "--json"], arguments].concat());
        lines_of_json(&printed).iter().map(|event| event["position"].as_u64().unwrap()).collect()
    };
    assert_eq!(positions(&[]), (3..=12).collect::<Vec<_>>(), "the newest ten");
    assert_eq!(positions(&["--from", "0"]), (1..=12).collect::<Vec<_>>());
    assert_eq!(positions(&["--from", "11"]), [11, 12]);
    assert_eq!(positions(&["--from", "13"]), [0; 0]);
    assert_eq!(positions(&["--from", "1", "--type", "Order_*"]), [3, 6, 9, 12], "_ is no wildcard");
    assert_eq!(positions(&["--from", "1", "--type", "Order?Sent"]), [3, 6, 9, 12]);
    assert_eq!(positions(&["--from", "1", "--type", "order*"]), [0; 0]);
    let printed = project.ok(&["tail", "--no-follow", "--from", "12"]);
    assert!(printed.contains("Order_Sent") && printed.lines().count() == 1, "{printed}");

    // Live: what is appended while it runs, from elsewhere too.
    let mut tail =
        project.command(&["tail", "--json", "--from", "13"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    for position in 13..=15 {
        project.ok(&["append", STREAM, "A", "{}"]);
        let event: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!((&event["position"], &event["version"]), (&json!(position), &json!(position - 12)));
    }
    tail.kill().unwrap();
    tail.wait().unwrap();
}

pub(super) async fn text_of_others() {
    let project = set_up().await;
    project.ok(&["append", STREAM, "Line\nbreak \u{1b}[2J\u{9b}", "\"\u{9b}31m\\n\""]);
    for arguments in [&["stream", STREAM] as &[&str], &["tail", "--no-follow"]] {
        let printed = project.ok(arguments);
        assert!(printed.lines().next().unwrap().contains(r"Line\nbreak \u{1b}[2J\u{9b}"), "{printed}");
        assert!(!printed.chars().any(|c| c.is_control() && c != '\n'), "{printed:?}");
    }
}

pub(super) async fn sql_in_events() {
    let project = set_up().await;
    project.copy("projections/orders");
    let drop = "'); DROP TABLE orders;--";
    let texts = [
        drop,
        "$$; drop schema orders cascade; $$",
        "$projectord$; drop schema orders cascade; --",
        "\\'; drop table orders; --",
        "E'\\''; select 1; --",
        "${jndi:x} {{x}} %s $1 :x ?",
        "'' OR 1=1 --",
        "\"; drop table orders; --\n/*",
    ];
    let mut streams = Vec::new();
    for hostile in texts {
        let stream = Uuid::new_v4().to_string();
        let metadata = json!({ hostile: hostile }).to_string();
        let created = json!({"user_id": 7, "total": 1, hostile: hostile}).to_string();
        let created = ["append", &stream, "OrderCreated", &created, "--stream-type", hostile];
        project.ok(&[created.as_slice(), &["--metadata", &metadata]].concat());
        project.ok(&["append", &stream, hostile, &json!(hostile).to_string(), "--metadata", &metadata]);
        project.ok(&["append", &stream, "StatusChanged", &json!({"status": hostile}).to_string()]);
        streams.push(stream);
    }
    project.ok(&["run", "--until-caught-up"]);
    for (stream, hostile) in streams.iter().zip(texts) {
        let row: (String, i32, i64) =
            sqlx::query_as("select status, user_id, version from orders.orders where id = $1::uuid")
                .bind(stream)
                .fetch_one(&project.pool)
                .await
                .unwrap();
        assert_eq!(row, (hostile.to_owned(), 7, 3));
        let events = lines_of_json(&project.ok(&["stream", stream, "--json"]));
        assert_eq!((&events[0]["stream_type"], &events[1]["type"]), (&json!(hostile), &json!(hostile)));
        assert_eq!(
            (&events[1]["data"], &events[1]["metadata"]),
            (&json!(hostile), &json!({ hostile: hostile }))
        );
        if hostile.contains(['[', '{']) {
            continue;
        }
        let found =
            lines_of_json(&project.ok(&["tail", "--no-follow", "--json", "--from", "1", "--type", hostile]));
        assert!(found.iter().any(|event| event["type"] == hostile), "{hostile}: {found:?}");
    }
    assert_eq!(project.value("select count(*) from orders.orders").await, texts.len().to_string());
    assert_eq!(project.value("select count(*) from projectord.events").await, (3 * texts.len()).to_string());
}
