//! Servers that are away or lack something, and outputs that take nothing.

use std::io::Read;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use super::{SECRET, STREAM, failed, set_up};
use crate::support::{Project, text, until};
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

pub(super) async fn away() {
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

pub(super) async fn missing_on_the_server() {
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

pub(super) async fn wrong_password() {
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

pub(super) async fn closed_output() {
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

pub(super) async fn full_output() {
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
