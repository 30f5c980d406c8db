//! The command line: what each verb does, says, and ends with.

mod import;
mod pages;

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use libtest_mimic::Trial;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Project, text, trial, until};

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial("command_line::what_cannot_be_meant_shows_the_usage", usage),
        trial("command_line::every_verb_has_help_with_an_example", help),
        trial("command_line::setup_may_be_repeated", setup),
        trial("command_line::an_event_appended_is_read_back", append_and_stream),
        trial("command_line::an_append_elsewhere_is_a_conflict", conflicts),
        trial("command_line::the_same_commit_again_adds_nothing", same_commit),
        trial("command_line::an_event_that_breaks_a_rule_is_refused", refused_events),
        trial("command_line::tail_follows_the_log", tail),
        trial("command_line::status_is_documented_and_says_whether_a_daemon_runs", status),
        trial("command_line::pause_resume_and_rebuild_are_done_by_the_daemon", control),
        trial("command_line::a_rebuild_is_not_begun_by_accident", rebuild_asks),
        trial("command_line::a_projection_that_is_not_there_is_not_found", unknown_projection),
        trial("command_line::a_server_that_is_away_is_unavailable", away),
        trial("command_line::what_is_missing_on_the_server_is_said_with_a_hint", missing_on_the_server),
        trial("command_line::a_wrong_password_is_said_once_and_never_shown", wrong_password),
        trial("command_line::a_closed_output_ends_it_quietly", closed_output),
        trial("command_line::an_output_that_is_full_is_an_error", full_output),
        trial("command_line::text_of_others_stays_on_its_line", text_of_others),
        trial("command_line::completions_are_what_each_shell_takes", pages::completions),
        trial("command_line::the_manual_is_what_man_takes", pages::manual),
        trial("command_line::sql_in_an_event_is_stored_literally", sql_in_events),
    ];
    trials.extend(import::trials());
    trials
}

const STREAM: &str = "6763e85f-f8d5-5bee-ad04-4ed1d6d49798";
const SECRET: &str = "hunter2";

/// The binary, without a project.
fn projectord(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_projectord"));
    command.args(arguments).current_dir(folder.path()).env_remove("PROJECTORD_CONFIG").stdin(Stdio::null());
    command.output().unwrap()
}

/// It ended with this code, and said one line about it; that line.
fn failed(output: &Output, code: i32) -> String {
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}{err}");
    assert_eq!((out.as_str(), err.lines().count()), ("", 1), "{err}");
    err.trim().strip_prefix("projectord: ").unwrap_or_else(|| panic!("{err}")).to_owned()
}

async fn set_up() -> Project {
    let project = Project::new().await;
    project.ok(&["setup"]);
    project
}

fn lines_of_json(printed: &str) -> Vec<Value> {
    printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn status_of(project: &Project) -> Value {
    serde_json::from_str(&project.ok(&["status", "--json"])).unwrap()
}

async fn usage() {
    for (arguments, reason, usage) in [
        (&["--bogus"] as &[&str], "--bogus", "projectord [OPTIONS] <COMMAND>"),
        (&["bogus"], "bogus", "projectord [OPTIONS] <COMMAND>"),
        (&[], "", "projectord [OPTIONS] <COMMAND>"),
        (&["--config"], "--config <FILE>", "projectord [OPTIONS] <COMMAND>"),
        (&["status", "--bogus"], "--bogus", "projectord status"),
        (&["append"], "<STREAM>", "projectord append"),
        (&["append", STREAM, "A"], "<DATA>", "projectord append"),
        (&["append", "no-uuid", "A", "{}"], "no-uuid", "projectord append"),
        (&["append", STREAM, "A", "{"], "not JSON", "projectord append"),
        (&["append", STREAM, "A", "{}", "--expect"], "--expect", "projectord append"),
        (&["append", STREAM, "A", "{}", "--expect", "some"], "none, any, or a version", "projectord append"),
        (&["append", STREAM, "A", "{}", "--metadata", "x"], "not JSON", "projectord append"),
        (&["append", STREAM, "A", "{}", "--commit-id", "x"], "--commit-id", "projectord append"),
        (&["append", STREAM, "A", "{}", "more"], "more", "projectord append"),
        (&["stream", "no-uuid"], "no-uuid", "projectord stream"),
        (&["tail", "--from", "-1"], "-1", "projectord tail"),
        (&["tail", "--from", "first"], "first", "projectord tail"),
        (&["tail", "--type", "A_[xy]*"], "a glob knows", "projectord tail"),
        (&["import"], "<FILE>", "projectord import"),
        (&["import", "f", "--batch", "0"], "--batch", "projectord import"),
        (&["import", "f", "--batch", "10001"], "--batch", "projectord import"),
        (&["rebuild"], "<NAME>", "projectord rebuild"),
        (&["pause", "a", "b"], "'b'", "projectord pause"),
        (&["demo", "--for", "5"], "--for", "projectord demo"),
    ] {
        let output = projectord(arguments);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!((output.status.code(), out.as_str()), (Some(2), ""), "{arguments:?}: {err}");
        assert!(err.contains(reason) && err.contains(&format!("Usage: {usage}")), "{arguments:?}: {err}");
    }
}

async fn help() {
    let output = projectord(&["--help"]);
    let all = text(&output.stdout);
    assert!(output.status.success() && output.stderr.is_empty());
    for code in ["0 ", "1 ", "2 ", "3 ", "4 ", "5 ", "69 ", "78 "] {
        assert!(all.lines().any(|line| line.trim_start().starts_with(code)), "exit code {code} in {all}");
    }
    let verbs =
        all.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // A line that is further in goes on with what the one before says.
    let verbs: Vec<&str> = verbs.filter(|line| !line.starts_with("   ")).map(str::trim).collect();
    let verbs: Vec<&str> = verbs.iter().filter_map(|line| line.split(' ').next()).collect();
    let known = "setup run demo import append stream tail explain status audit plan rebuild verify undo pause resume parked retry skip operations new test check config completions man help";
    assert_eq!(verbs.join(" "), known);
    for verb in verbs.iter().filter(|verb| **verb != "help") {
        let output = projectord(&[verb, "--help"]);
        let said = text(&output.stdout);
        assert!(output.status.success(), "{verb}");
        let example = format!("projectord {verb}");
        let (_, examples) = said.split_once("Example").unwrap_or_else(|| panic!("{said}"));
        assert!(examples.contains(&example), "{said}");
    }
}

async fn setup() {
    let project = Project::new().await;
    let said = project.ok(&["setup"]);
    assert!(said.contains("projectord:***@"), "{said}");
    project.ok(&["append", STREAM, "A", "{}"]);
    assert_eq!(project.ok(&["setup"]), said);
    assert_eq!(project.value("select count(*) from projectord.events").await, "1");
}

async fn append_and_stream() {
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

async fn conflicts() {
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

async fn same_commit() {
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

async fn refused_events() {
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

async fn tail() {
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

/// The fields that docs/operations.md lists for `status --json`, by the object that has them.
fn documented() -> Vec<(String, String)> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    let section = docs.split("\n## status --json\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let mut fields = Vec::new();
    for row in rows {
        let names: Vec<&str> = row.split(", ").map(|name| name.trim_matches('`')).collect();
        let object = names[0].rsplit_once('.').map_or("", |(object, _)| object);
        let names = names.iter().map(|name| name.rsplit('.').next().unwrap());
        fields.extend(names.map(|name| (object.to_owned(), name.trim_end_matches("[]").to_owned())));
    }
    fields
}

async fn status() {
    let project = set_up().await;
    project.copy("projections/orders");
    let said = project.ok(&["status"]);
    assert!(
        said.contains("not running") && said.contains("0 events") && said.contains("none has run yet"),
        "{said}"
    );
    assert_eq!(status_of(&project)["projections"], json!([]));

    project.ok(&["append", STREAM, "OrderCreated", r#"{"user_id": 7, "total": 1}"#]);
    project.ok(&["run", "--until-caught-up"]);
    project.ok(&["append", STREAM, "StatusChanged", r#"{"status": "paid"}"#]);
    let down = status_of(&project);
    assert_eq!(down["daemons"], json!([]), "one that has ended is gone");
    assert_eq!(down["store"], json!({"kind": "postgres", "url": null, "id": null}));
    assert_eq!((&down["ingest"], &down["log"]["head"]), (&json!(null), &json!(2)));
    let orders = &down["projections"][0];
    assert_eq!(
        (&orders["name"], &orders["wanted"], &orders["generation"]),
        (&json!("orders"), &json!("running"), &json!(1))
    );
    assert_eq!(
        (&orders["position"], &orders["head"], &orders["lag_events"]),
        (&json!(1), &json!(2), &json!(1))
    );
    assert!(orders["lag_seconds"].as_f64().unwrap() > 0.0 && orders["error"].is_null(), "{orders}");
    let said = project.ok(&["status"]);
    assert!(said.contains("daemon   not running") && said.contains("down"), "{said}");

    // Every field is documented, and every documented one is there.
    let documented = documented();
    for (object, value) in
        [("", &down), ("store", &down["store"]), ("log", &down["log"]), ("projections[]", orders)]
    {
        let keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
        let names: Vec<&str> =
            documented.iter().filter(|it| it.0 == object).map(|it| it.1.as_str()).collect();
        assert!(
            keys.iter().all(|key| names.contains(key)
                || (object.is_empty() && value[*key].is_object())
                || (object.is_empty() && value[*key].is_array())),
            "{object}: {keys:?} beside {names:?}"
        );
        let absent = names.iter().filter(|name| !keys.contains(name)).count();
        assert_eq!(absent, 0, "{object}: {names:?} beside {keys:?}");
    }

    let daemon = project.daemon();
    project.until_state("orders", "live").await;
    until("the daemon is seen", Duration::from_secs(10), async || {
        status_of(&project)["daemons"][0]["pid"] == json!(daemon.pid())
    })
    .await;
    project.until_value("select status from orders.orders", "paid").await;
    let live = status_of(&project);
    let orders = &live["projections"][0];
    assert_eq!(
        (&orders["state"], &orders["lag_events"], &orders["lag_seconds"]),
        (&json!("live"), &json!(0), &json!(0.0))
    );
    let said = project.ok(&["status"]);
    assert!(said.contains(&format!("pid {}", daemon.pid())) && said.contains("live"), "{said}");
    assert_eq!(daemon.stop(Duration::from_secs(5)).await, Some(0));
    assert_eq!(status_of(&project)["daemons"], json!([]));
}

async fn control() {
    let project = set_up().await;
    project.copy("projections/orders");
    project.ok(&["append", STREAM, "OrderCreated", r#"{"user_id": 7, "total": 1}"#]);
    let daemon = project.daemon();
    project.until_state("orders", "live").await;
    project.until_value("select count(*) from projectord.daemons", "1").await;

    assert_eq!(project.ok(&["pause", "orders"]), "orders will pause\n");
    project.until_state("orders", "paused").await;
    project.ok(&["append", STREAM, "StatusChanged", r#"{"status": "paid"}"#]);
    assert_eq!(project.ok(&["resume", "orders"]), "orders will go on\n");
    project.until_value("select status from orders.orders", "paid").await;

    sqlx::query("update orders.orders set status = 'wrong'").execute(&project.pool).await.unwrap();
    let said = project.ok(&["rebuild", "orders", "--yes", "--wait"]);
    assert!(said.ends_with("orders is rebuilt: generation 2, 2 events\n"), "{said}");
    assert_eq!(project.value("select status from orders.orders").await, "paid");
    assert_eq!(daemon.stop(Duration::from_secs(5)).await, Some(0));

    // Without a daemon, what is wanted is written down for the next one.
    assert!(project.ok(&["pause", "orders"]).contains("no daemon is running"));
    assert!(project.ok(&["resume", "orders"]).contains("no daemon is running"));
    assert!(project.ok(&["rebuild", "orders", "--yes"]).contains("no daemon is running"));
    assert_eq!(
        failed(&project.run(&["rebuild", "orders", "--yes"]), 4),
        "a rebuild of orders is under way already: wait until it has ended, or cancel it"
    );
    project.ok(&["run", "--until-caught-up"]);
    assert_eq!(status_of(&project)["projections"][0]["generation"], json!(3));
}

async fn rebuild_asks() {
    let project = set_up().await;
    project.copy("projections/orders");
    project.ok(&["run", "--until-caught-up"]);
    for arguments in
        [&["rebuild", "orders", "--in-place"] as &[&str], &["rebuild", "orders", "--in-place", "--wait"]]
    {
        let said = failed(&project.run(arguments), 2);
        assert!(said.contains("drop the read model orders") && said.contains("--yes"), "{said}");
        // What comes from elsewhere is no answer.
        let answer = project.folder.path().join("answer");
        std::fs::write(&answer, "y\n").unwrap();
        let mut command = project.command(arguments);
        let output = command.stdin(std::fs::File::open(&answer).unwrap()).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
    }
    assert_eq!(status_of(&project)["projections"][0]["rebuild_wanted"], json!(null));
}

async fn unknown_projection() {
    let project = set_up().await;
    for verb in [&["pause", "oders"] as &[&str], &["resume", "oders"], &["rebuild", "oders", "--yes"]] {
        assert_eq!(failed(&project.run(verb), 5), "no projection \"oders\"; none has run yet");
    }
    project.copy("projections/orders");
    project.ok(&["run", "--until-caught-up"]);
    for verb in [&["pause", "oders"] as &[&str], &["resume", "oders"], &["rebuild", "oders", "--yes"]] {
        assert_eq!(failed(&project.run(verb), 5), "no projection \"oders\"; known are orders");
    }
    failed(&project.run(&["pause", "x'; drop schema projectord cascade; --"]), 5);
    project.ok(&["pause", "orders"]);
}

/// Verbs that need PostgreSQL.
const ASKING: [&[&str]; 9] = [
    &["setup"],
    &["append", STREAM, "A", "{}"],
    &["append", STREAM, "A", "{}", "--stream-type", "order"],
    &["stream", STREAM],
    &["tail", "--no-follow"],
    &["status"],
    &["pause", "orders"],
    &["rebuild", "orders", "--yes"],
    &["import", "events.ndjson"],
];

/// What each of them says to a PostgreSQL at this URL; all at once, since each waits for it.
fn ask_all(project: &Project, url: &str) -> Vec<Output> {
    let line = json!({"stream_id": STREAM, "stream_type": "order", "type": "A", "data": {}});
    std::fs::write(project.folder.path().join("events.ndjson"), line.to_string()).unwrap();
    let spawned = ASKING.map(|arguments| {
        let mut command = project.command(arguments);
        command.env("PROJECTORD_POSTGRES__URL", url).env("PROJECTORD_STORE__DEADLINE", "6s");
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    });
    spawned.into_iter().map(|child| child.wait_with_output().unwrap()).collect()
}

async fn away() {
    let project = set_up().await;
    let dead = format!("postgres://writer:{SECRET}@127.0.0.1:1/shop");
    let nowhere = format!("postgres://writer:{SECRET}@nowhere.invalid/shop");
    let plain = format!("{}?sslmode=require", project.postgres_url);
    for (url, reason) in [(&dead, "PostgreSQL"), (&nowhere, "cannot reach PostgreSQL"), (&plain, "TLS")] {
        for (output, arguments) in ask_all(&project, url).iter().zip(ASKING) {
            let said = failed(output, 69);
            assert!(said.contains(reason) && said.contains("projectord config"), "{arguments:?}: {said}");
            assert!(!said.contains(SECRET) && !said.contains("panicked"), "{arguments:?}: {said}");
        }
    }
    assert_eq!(project.value("select count(*) from projectord.events").await, "0");
}

async fn missing_on_the_server() {
    let project = Project::new().await;
    for arguments in &ASKING[1..ASKING.len() - 1] {
        let output = project.run(arguments);
        // The library knows no better than that the store does not answer as it should.
        let said = failed(&output, if matches!(arguments[0], "append" | "stream") { 69 } else { 1 });
        assert!(said.contains("run `projectord setup`"), "{arguments:?}: {said}");
    }
    let (server, _) = project.postgres_url.rsplit_once('/').unwrap();
    for (output, arguments) in ask_all(&project, &format!("{server}/nothing")).iter().zip(ASKING) {
        let said = failed(output, 69);
        assert!(
            said.contains("\"nothing\" does not exist") && said.contains("createdb"),
            "{arguments:?}: {said}"
        );
    }
}

async fn wrong_password() {
    let project = set_up().await;
    project.copy("projections/orders");
    let role = format!("r{}", Uuid::new_v4().simple());
    let sql = format!("create role {role} superuser login password 'right'");
    sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&project.pool).await.unwrap();
    let (_, place) = project.postgres_url.split_once('@').unwrap();
    let url = format!("postgres://{role}:{SECRET}@{place}");
    for (output, arguments) in ask_all(&project, &url).iter().zip(ASKING) {
        let said = failed(output, 69);
        assert!(
            said.contains("password authentication failed") && said.contains(&role),
            "{arguments:?}: {said}"
        );
        assert!(said.contains("check user and password in [postgres] url"), "{arguments:?}: {said}");
        assert!(!said.contains(SECRET), "{arguments:?}: {said}");
    }

    // The daemon waits, and goes on when the password is what it should be.
    let mut command = project.command(&["run"]);
    let log = std::fs::File::create(project.log_file()).unwrap();
    let mut daemon = command.env("PROJECTORD_POSTGRES__URL", &url).stderr(log).spawn().unwrap();
    until("it says why it waits", Duration::from_secs(10), async || {
        project.log().contains("password authentication failed")
    })
    .await;
    let sql = format!("alter role {role} password '{SECRET}'");
    sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&project.pool).await.unwrap();
    project.until_state("orders", "live").await;
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    let log = project.log();
    assert_eq!(log.matches("password authentication failed").count(), 1, "once, not at each try: {log}");
    assert!(!log.contains(SECRET), "{log}");
}

async fn closed_output() {
    let project = set_up().await;
    // More than a pipe holds.
    let data = format!("\"{}\"", "x".repeat(50_000));
    for _ in 0..8 {
        project.ok(&["append", STREAM, "A", &data]);
    }
    for arguments in [
        &["tail", "--from", "1"] as &[&str],
        &["tail", "--from", "1", "--json"],
        &["tail", "--from", "1", "--no-follow"],
        &["stream", STREAM],
        &["stream", STREAM, "--json"],
        &["status", "--watch"],
        &["status", "--watch", "--json"],
    ] {
        let mut command = project.command(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = [0; 10];
        child.stdout.take().unwrap().read_exact(&mut first).unwrap();
        let output = child.wait_with_output().unwrap();
        let err = text(&output.stderr);
        assert_eq!((output.status.code(), err.as_str()), (Some(0), ""), "{arguments:?}");
    }
}

async fn full_output() {
    let Ok(full) = std::fs::File::options().write(true).open("/dev/full") else {
        return;
    };
    let project = set_up().await;
    project.ok(&["append", STREAM, "A", "{}"]);
    for arguments in [&["stream", STREAM] as &[&str], &["tail", "--no-follow"], &["status"], &["config"]] {
        let mut command = project.command(arguments);
        let output = command.stdout(full.try_clone().unwrap()).stderr(Stdio::piped()).output().unwrap();
        assert!(failed(&output, 1).contains("cannot write"), "{arguments:?}");
    }
}

async fn text_of_others() {
    let project = set_up().await;
    project.ok(&["append", STREAM, "Line\nbreak \u{1b}[2J\u{9b}", "\"\u{9b}31m\\n\""]);
    for arguments in [&["stream", STREAM] as &[&str], &["tail", "--no-follow"]] {
        let printed = project.ok(arguments);
        assert!(printed.lines().next().unwrap().contains(r"Line\nbreak \u{1b}[2J\u{9b}"), "{printed}");
        assert!(!printed.chars().any(|c| c.is_control() && c != '\n'), "{printed:?}");
    }
}

async fn sql_in_events() {
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
