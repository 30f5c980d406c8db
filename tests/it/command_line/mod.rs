//! The command line: what each verb does, says, and ends with.

mod events;
mod import;
mod pages;
mod trouble;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::support::{Project, text, trial, until};

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial("command_line::what_cannot_be_meant_shows_the_usage", usage),
        trial("command_line::every_verb_has_help_with_an_example", help),
        trial("command_line::setup_may_be_repeated", setup),
        trial("command_line::an_event_appended_is_read_back", events::append_and_stream),
        trial("command_line::an_append_elsewhere_is_a_conflict", events::conflicts),
        trial("command_line::the_same_commit_again_adds_nothing", events::same_commit),
        trial("command_line::an_event_that_breaks_a_rule_is_refused", events::refused_events),
        trial("command_line::tail_follows_the_log", events::tail),
        trial("command_line::status_is_documented_and_says_whether_a_daemon_runs", status),
        trial("command_line::pause_resume_and_rebuild_are_done_by_the_daemon", control),
        trial("command_line::a_rebuild_is_not_begun_by_accident", rebuild_asks),
        trial("command_line::a_projection_that_is_not_there_is_not_found", unknown_projection),
        trial("command_line::a_server_that_is_away_is_unavailable", trouble::away),
        trial(
            "command_line::what_is_missing_on_the_server_is_said_with_a_hint",
            trouble::missing_on_the_server,
        ),
        trial("command_line::a_wrong_password_is_said_once_and_never_shown", trouble::wrong_password),
        trial("command_line::a_closed_output_ends_it_quietly", trouble::closed_output),
        trial("command_line::an_output_that_is_full_is_an_error", trouble::full_output),
        trial("command_line::text_of_others_stays_on_its_line", events::text_of_others),
        trial("command_line::completions_are_what_each_shell_takes", pages::completions),
        trial("command_line::the_manual_is_what_man_takes", pages::manual),
        trial("command_line::sql_in_an_event_is_stored_literally", events::sql_in_events),
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
