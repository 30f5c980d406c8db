//! What nobody may read in a log: passwords, tokens, and what events say. Found by canaries, with everything that our
//! own code can say switched on.

use std::process::Command;
use std::time::Duration;

use libtest_mimic::Trial;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use projectord::private_server::free_port;

use crate::support::{Daemon, Project, rethink_trial, start_rethinkdb_with, text, trial, until};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("secrecy::no_log_shows_a_password_or_what_an_event_says", on_postgres),
        rethink_trial("secrecy::nor_with_the_store_on_rethinkdb", on_rethinkdb),
        trial("log::is_pretty_on_a_terminal_and_json_otherwise", looks),
        trial("log::what_is_said_after_a_query_is_not_lost", after_queries),
    ]
}

const PASSWORD: &str = "canary-of-postgres";
const STORE_PASSWORD: &str = "canary-of-the-store";
const TOKEN: &str = "canary-of-a-token";
const DATA: &str = "canary-in-data";
const METADATA: &str = "canary-in-metadata";
const CANARIES: [&str; 5] = [PASSWORD, STORE_PASSWORD, TOKEN, DATA, METADATA];
const STREAM: &str = "6763e85f-f8d5-5bee-ad04-4ed1d6d49798";

fn silent(what: &str, said: &str) {
    for canary in CANARIES {
        assert!(!said.contains(canary), "{what} shows {canary:?}:\n{said}");
    }
}

/// The same database, as a role of its own with a password.
async fn give_password(project: &mut Project) {
    let role = format!("canary{}", uuid::Uuid::new_v4().simple());
    let create = format!("create role {role} superuser login password '{PASSWORD}'");
    sqlx::raw_sql(sqlx::AssertSqlSafe(create)).execute(&project.pool).await.unwrap();
    let (scheme, rest) = project.postgres_url.split_once("://").unwrap();
    let place = rest.split_once('@').map_or(rest, |(_, place)| place);
    project.postgres_url = format!("{scheme}://{role}:{PASSWORD}@{place}");
}

/// The binary, with a token where it takes one, and everything switched on that can be said.
fn command(project: &Project, arguments: &[&str]) -> Command {
    let mut command = project.command(arguments);
    command.env("PROJECTORD_HTTP__TOKENS", format!("operate somebody {TOKEN}"));
    command.env("PROJECTORD_LOG__LEVEL", "info,projectord=trace");
    command
}

async fn on_postgres() {
    let mut project = Project::new().await;
    give_password(&mut project).await;
    canaries(&project).await;
}

async fn on_rethinkdb() {
    let port = free_port().unwrap();
    let (_server, _folder) = start_rethinkdb_with(port, &["--initial-password", STORE_PASSWORD]);
    let mut project = Project::new().await;
    give_password(&mut project).await;
    project.store_url = Some(format!("rethinkdb://admin:{STORE_PASSWORD}@127.0.0.1:{port}/canaries"));
    canaries(&project).await;
}

async fn canaries(project: &Project) {
    let table = "create table notes (id bigint primary key, number integer)";
    let cast = "insert into notes values (event.position, (event.data->>'note')::integer);";
    let raise =
        "raise exception 'no: % %', event.data, event.metadata using hint = event.data, detail = event.data;";
    let constraint = "insert into notes values (event.position, length(event.data->>'note'));";
    for (name, handler, more) in [
        ("casts", cast, ""),
        ("raises", raise, ""),
        ("parks", raise, "on_error = \"park\"\n"),
        ("constrains", constraint, ""),
        ("broken", "insert into nowhere values (event.data->>'note');", ""),
    ] {
        let check = if name == "constrains" { ", check (number < 3)" } else { "" };
        project.write(name, "schema.sql", &table.replace("integer)", &format!("integer{check})")));
        project.write(name, "Noted.sql", handler);
        project.write(name, "projection.toml", more);
    }
    let run = |arguments: &[&str]| command(project, arguments).output().unwrap();
    let ok = |arguments: &[&str]| {
        let output = run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        silent(&arguments.join(" "), &(text(&output.stdout) + &text(&output.stderr)));
    };
    ok(&["setup"]);
    let data = format!("{{\"note\": \"{DATA}\"}}");
    let metadata = format!("{{\"who\": \"{METADATA}\"}}");
    let note = ["append", STREAM, "Noted", &data, "--stream-type", "note", "--metadata", &metadata];
    let appended = run(&note);
    assert!(appended.status.success(), "{}", text(&appended.stderr));
    silent("append", &(text(&appended.stdout) + &text(&appended.stderr)));

    let log = std::fs::File::create(project.log_file()).unwrap();
    let output = project.folder.path().join("output");
    let port = free_port().unwrap();
    let mut run_daemon = command(project, &["run"]);
    // Of others' code too.
    run_daemon
        .env("PROJECTORD_HTTP__LISTEN", format!("127.0.0.1:{port}"))
        .env("PROJECTORD_LOG__LEVEL", "trace");
    let child = run_daemon.stdout(std::fs::File::create(&output).unwrap()).stderr(log).spawn();
    let daemon = Daemon::of(child.unwrap());
    for halted in ["casts", "raises", "constrains", "broken"] {
        project.until_state(halted, "halted").await;
    }
    project.until_value("select count(*) from projectord.parked", "1").await;
    // It does fail because of what the event says, and an operator can read so where events may be read.
    let seen = "select count(*) from projectord.projections where error::text like '%canary-in-data%'";
    assert_ne!(project.value(seen).await, "0");
    for token in [TOKEN.to_owned(), format!("{TOKEN}-of-nobody")] {
        ask(port, &token).await;
    }
    // Again by hand, and with wrong files and a wrong configuration.
    ok(&["resume", "casts"]);
    project.write("casts", "Noted.sql", "select 'unfinished;");
    std::fs::write(project.folder.path().join("config.toml"), format!("[postgres]\nulr = \"{PASSWORD}\"\n"))
        .unwrap();
    daemon.signal("HUP");
    until("the reload is refused", Duration::from_secs(30), async || project.log().contains("not reloaded"))
        .await;
    std::fs::remove_file(project.folder.path().join("config.toml")).unwrap();
    daemon.signal("HUP");
    until("the file is refused", Duration::from_secs(30), async || project.log().contains("not loaded"))
        .await;
    ok(&["config"]);
    for arguments in
        [&["retry", "parks"] as &[&str], &["status"], &["parked"], &["check"], &["audit"], &["plan", "casts"]]
    {
        let output = run(arguments);
        // What failed is theirs to show; what connects is not.
        let said = text(&output.stdout) + &text(&output.stderr);
        for canary in [PASSWORD, STORE_PASSWORD, TOKEN] {
            assert!(!said.contains(canary), "{arguments:?} shows {canary:?}:\n{said}");
        }
    }
    assert_eq!(daemon.stop(Duration::from_secs(10)).await, Some(0));
    let log = project.log();
    assert!(["22P02", "P0001", "23514"].iter().all(|code| log.contains(code)), "{log}");
    silent("the log", &log);
    silent("the daemon", &std::fs::read_to_string(&output).unwrap());
}

/// A request that changes something, with a token and an event that nobody else may see.
async fn ask(port: u16, token: &str) {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let body = format!(
        "{{\"expected_version\":\"any\",\"stream_type\":\"note\",\"events\":[{{\"type\":\"Other\",\"data\":\"{DATA}\"}}]}}"
    );
    let request = format!(
        "POST /api/v1/streams/{STREAM}?secret={TOKEN} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\
         Authorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    let answer = text(&answer);
    assert!(answer.starts_with("HTTP/1.1 ") && !answer.contains(TOKEN), "{answer}");
}

/// The driver asks whether its own line is wanted, and it is not; the next line on that thread is.
async fn after_queries() {
    let project = Project::new().await;
    project.copy("projections/orders");
    for name in ["first", "second"] {
        project.write(name, "schema.sql", "create table seen (position bigint);");
        project.write(name, "Counted.sql", "insert into seen values (event.position);");
    }
    let daemon = project.daemon();
    project.until_state("second", "live").await;
    for name in ["first", "second"] {
        std::fs::remove_dir_all(project.projections().join(name)).unwrap();
    }
    daemon.signal("HUP");
    until("the reload is over", Duration::from_secs(20), async || {
        project.log().contains("reloaded projections and log level")
    })
    .await;
    assert_eq!(project.log().matches("its folder is gone").count(), 2, "{}", project.log());
}

/// A terminal is what `script` makes.
async fn looks() {
    let project = Project::new().await;
    project.copy("projections/orders");
    let run = project.command(&["run", "--until-caught-up"]);
    let shown = format!("{} run --until-caught-up", run.get_program().to_str().unwrap());
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &shown, "/dev/null"]).current_dir(project.folder.path());
    for (name, value) in run.get_envs() {
        match value {
            Some(value) => script.env(name, value),
            None => script.env_remove(name),
        };
    }
    let pretty = text(&script.stdin(std::process::Stdio::null()).output().unwrap().stdout);
    let is_json = |line: &str| serde_json::from_str::<serde_json::Value>(line).is_ok_and(|it| it.is_object());
    assert!(pretty.contains("starting") && !pretty.lines().any(is_json), "{pretty}");

    let lines = text(&project.run(&["run", "--until-caught-up"]).stderr);
    assert!(lines.contains("starting") && lines.lines().all(is_json), "{lines}");
    // One line for each state that it came to, and none twice in a row.
    let states: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|line| line["message"] == "state" && line["span"]["projection"] == "orders")
        .collect();
    assert!(!states.is_empty(), "{lines}");
    for pair in states.windows(2) {
        assert_eq!(pair[0]["to"], pair[1]["from"], "{lines}");
    }
}
