//! Every durable commit of the store reaches the log, once, in its stream's order, whatever is lost on
//! the way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use reql::r;
use serde_json::{Value, json};

use projectord::event::{Commit, NewEvent, StreamId, Version};
use projectord::private_server::free_port;
use projectord::store::{EventStore, ExpectedVersion, RethinkStore, Settings};

use crate::support::{DeafWay, Project, Raw, rethink_trial, start_rethinkdb_on};

pub fn trials() -> Vec<Trial> {
    vec![
        rethink_trial("ingest::reads_history_and_follows_live", reads_history_and_follows_live),
        rethink_trial("ingest::it_moves_heads_on_live_and_in_the_full_pass", moves_heads),
        rethink_trial("ingest::long_streams_arrive_whole", long_streams_arrive_whole),
        rethink_trial("ingest::history_is_read_in_windows_that_are_not_too_large", large_commits),
        rethink_trial("ingest::a_commit_whose_writer_died_arrives", dead_writer),
        rethink_trial("ingest::a_feed_that_falls_silent_is_noticed_by_the_sweep", silent_feed),
        rethink_trial("ingest::a_commit_that_clocks_hide_is_found_by_the_full_pass", hidden_by_clocks),
        rethink_trial("ingest::the_full_pass_ends_while_appends_go_on", pass_under_load),
        rethink_trial("ingest::a_predecessor_with_a_later_clock_comes_first", clock_ran_back),
        rethink_trial("ingest::killed_again_and_again_it_copies_each_commit_once", killed_again_and_again),
        rethink_trial("ingest::two_daemons_copy_each_commit_once", two_daemons),
        rethink_trial("ingest::a_dropped_table_of_heads_loses_nothing", dropped_heads),
        rethink_trial("ingest::another_store_is_refused_until_the_right_one_is_back", another_store),
        rethink_trial("ingest::a_store_that_lost_commits_is_refused", store_lost_commits),
        rethink_trial("ingest::a_document_of_somebody_elses_halts_it_until_it_is_gone", foreign_document),
        rethink_trial("ingest::a_server_that_is_away_is_waited_for", server_away),
        rethink_trial("ingest::a_wrong_password_is_said_and_not_shown", wrong_password),
    ]
}

async fn new_project() -> (Project, Arc<RethinkStore>, Raw) {
    let project = Project::on_rethinkdb().await;
    project.ok(&["setup"]);
    let url = project.store_url.clone().unwrap();
    let store = Arc::new(RethinkStore::new(url.parse().unwrap(), Settings::default()));
    (project, store, Raw::connect(&url).await)
}

async fn append(store: &RethinkStore, stream: StreamId, count: u64) {
    for _ in 0..count {
        let commit = Commit::new("counter", vec![NewEvent::from_json("Counted", json!({"n": 1}))]);
        store.append_to_stream(stream, ExpectedVersion::Any, commit).await.unwrap();
    }
}

async fn until_head(project: &Project, head: u64) {
    project.until_value("select position from projectord.log_head", &head.to_string()).await;
}

async fn until_ingest(project: &Project, state: &str) {
    project.until_value("select state from projectord.ingest_status", state).await;
}

/// The log against the store, document by document.
async fn assert_log_is_store(project: &Project, raw: &Raw) {
    let mut stored: Vec<String> = Vec::new();
    for commit in raw.run(r.table("events")).await {
        let first: u64 = commit["id"].as_str().unwrap().split_once('@').unwrap().1.parse().unwrap();
        for (nth, _) in commit["events"].as_array().unwrap().iter().enumerate() {
            let (stream, id) = (commit["stream_id"].as_str().unwrap(), commit["commit_id"].as_str().unwrap());
            stored.push(format!("{stream} {} {id}", first + nth as u64));
        }
    }
    stored.sort();
    let log = project
        .value(
            "select string_agg(concat_ws(' ', stream_id, version, commit_id), E'\\n'
                               order by concat_ws(' ', stream_id, version, commit_id) collate \"C\") from projectord.events",
        )
        .await;
    assert_eq!(log.lines().collect::<Vec<_>>(), stored);
    let in_order = "select coalesce(bool_and(version = nth), true) from (select version,
        row_number() over (partition by stream_id order by position) as nth from projectord.events) e";
    assert_eq!(project.value(in_order).await, "true");
    assert_eq!(project.value("select max(position) = count(*) from projectord.events").await, "true");
}

async fn reads_history_and_follows_live() {
    let (project, store, raw) = new_project().await;
    let streams: Vec<StreamId> = (0..10).map(|_| StreamId::random()).collect();
    for stream in &streams {
        append(&store, *stream, 5).await;
    }
    let _daemon = project.daemon();
    until_head(&project, 50).await;
    until_ingest(&project, "live").await;
    let writers = streams.iter().map(|stream| {
        let (store, stream) = (Arc::clone(&store), *stream);
        tokio::spawn(async move { append(&store, stream, 10).await })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    until_head(&project, 150).await;
    assert_log_is_store(&project, &raw).await;
    assert_eq!(project.value("select repaired from projectord.ingest_status").await, "0");
}

async fn long_streams_arrive_whole() {
    let (project, store, raw) = new_project().await;
    let _daemon = project.daemon();
    until_ingest(&project, "live").await;
    let stream = StreamId::random();
    for _ in 0..3 {
        let events = (0..1000).map(|n| NewEvent::from_json("Counted", json!({ "n": n }))).collect();
        store.append_to_stream(stream, ExpectedVersion::Any, Commit::new("counter", events)).await.unwrap();
    }
    append(&store, stream, 60).await;
    until_head(&project, 3060).await;
    assert_log_is_store(&project, &raw).await;
}

async fn large_commits() {
    let (project, store, raw) = new_project().await;
    // Small ones for long, and then each as large as a hundred of them.
    for size in std::iter::repeat_n(30, 300).chain(std::iter::repeat_n(3_000, 60)) {
        let event = NewEvent::from_json("Told", json!({"text": "é".repeat(size)}));
        let commit = Commit::new("counter", vec![event]);
        store.append_to_stream(StreamId::random(), ExpectedVersion::NoStream, commit).await.unwrap();
    }
    let _daemon = project.daemon_with(&[
        ("PROJECTORD_INGEST__BATCH_BYTES", "20000"),
        ("PROJECTORD_INGEST__BATCH_EVENTS", "100"),
        ("PROJECTORD_LOG__LEVEL", "debug"),
    ]);
    until_head(&project, 360).await;
    until_ingest(&project, "live").await;
    assert_log_is_store(&project, &raw).await;
    // By reading history, and not by the full pass.
    project.until_value("select full_pass_at is not null from projectord.ingest_status", "true").await;
    assert_eq!(project.value("select repaired from projectord.ingest_status").await, "0");
    let log = project.log();
    let windows: Vec<u64> = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["message"] == "window read")
        .filter_map(|line| line["commits"].as_u64())
        .collect();
    // What is young is read twice, before and after the feed was opened.
    assert!(windows.iter().sum::<u64>() >= 360, "{windows:?}");
    assert!(windows.iter().all(|commits| *commits <= 100), "{windows:?}");
    // Three of the large ones are 18,000 characters, and four are too much.
    assert!(
        windows.iter().rev().filter(|commits| **commits > 0).take(10).all(|commits| *commits <= 6),
        "{windows:?}"
    );
}

async fn dead_writer() {
    let (project, store, raw) = new_project().await;
    let stream = StreamId::random();
    append(&store, stream, 2).await;
    let _daemon = project.daemon();
    until_ingest(&project, "live").await;
    raw.commit_without_head(&stream.to_string(), 3, 0.0).await;
    let newborn = StreamId::random();
    raw.commit_without_head(&newborn.to_string(), 1, 0.0).await;
    until_head(&project, 4).await;
    assert_log_is_store(&project, &raw).await;
}

async fn silent_feed() {
    let (mut project, store, raw) = new_project().await;
    let place = raw.url.trim_start_matches("rethinkdb://").split('/').next().unwrap().to_owned();
    let way = DeafWay::to(&place).await;
    project.store_url = Some(raw.url.replace(&place, &format!("127.0.0.1:{}", way.port)));
    let _daemon = project.daemon();
    until_ingest(&project, "live").await;
    append(&store, StreamId::random(), 3).await;
    until_head(&project, 3).await;
    way.go_deaf();
    append(&store, StreamId::random(), 3).await;
    until_head(&project, 6).await;
    project.until_value("select repaired from projectord.ingest_status", "3").await;
    // Another feed is open, and hears.
    until_ingest(&project, "live").await;
    append(&store, StreamId::random(), 3).await;
    until_head(&project, 9).await;
    assert_eq!(project.value("select repaired from projectord.ingest_status").await, "3");
    assert_log_is_store(&project, &raw).await;
}

async fn hidden_by_clocks() {
    let (project, store, raw) = new_project().await;
    append(&store, StreamId::random(), 3).await;
    project.ok(&["run", "--until-caught-up"]);
    // Recorded two hours ago by a node whose clock is behind, and never announced.
    raw.commit_without_head(&StreamId::random().to_string(), 1, 7200.0).await;
    project.ok(&["run", "--until-caught-up"]);
    assert_eq!(project.value("select position from projectord.log_head").await, "4");
    assert_log_is_store(&project, &raw).await;
}

async fn pass_under_load() {
    let (project, store, raw) = new_project().await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let writers = (0..8).map(|_| {
        let (store, stopped) = (Arc::clone(&store), stopped.clone());
        tokio::spawn(async move {
            let mut appended = 0;
            while !*stopped.borrow() {
                append(&store, StreamId::random(), 1).await;
                appended += 1;
            }
            appended
        })
    });
    let writers = writers.collect::<Vec<_>>();
    // Announcements never cease, and yet everything is compared; by one connection, which both have to share.
    let _daemon = project.daemon_with(&[("PROJECTORD_STORE__CONNECTIONS", "1")]);
    project.until_value("select full_pass_at is not null from projectord.ingest_status", "true").await;
    stop.send_replace(true);
    let mut appended = 0;
    for writer in writers {
        appended += writer.await.unwrap();
    }
    until_head(&project, appended).await;
    assert_log_is_store(&project, &raw).await;
    assert_eq!(project.value("select repaired from projectord.ingest_status").await, "0");
}

async fn clock_ran_back() {
    let (project, _store, raw) = new_project().await;
    let stream = StreamId::random().to_string();
    for version in 1..=20 {
        // Each is recorded an hour before the one that it follows.
        #[expect(clippy::cast_precision_loss, reason = "small")]
        raw.commit_without_head(&stream, version, version as f64 * 3600.0).await;
    }
    project.ok(&["run", "--until-caught-up"]);
    assert_eq!(project.value("select position from projectord.log_head").await, "20");
    assert_log_is_store(&project, &raw).await;
}

async fn moves_heads() {
    let (project, store, raw) = new_project().await;
    let (before, live) = (StreamId::random(), StreamId::random());
    append(&store, before, 5).await;
    project.ok(&["run", "--until-caught-up"]);
    assert_eq!(raw.head(&before.to_string()).await, 5);
    let _daemon = project.daemon();
    until_ingest(&project, "live").await;
    append(&store, live, 3).await;
    let deadline = Instant::now() + Duration::from_secs(5);
    while raw.head(&live.to_string()).await != 3 {
        assert!(Instant::now() < deadline, "the head is at {}", raw.head(&live.to_string()).await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(project.value("select repaired from projectord.ingest_status").await, "0");
}

async fn killed_again_and_again() {
    let (project, store, raw) = new_project().await;
    let streams: Vec<StreamId> = (0..8).map(|_| StreamId::random()).collect();
    let writers: Vec<_> = streams
        .iter()
        .map(|stream| {
            let (store, stream) = (Arc::clone(&store), *stream);
            tokio::spawn(async move { append(&store, stream, 100).await })
        })
        .collect();
    while writers.iter().any(|writer| !writer.is_finished()) {
        let daemon = project.daemon();
        tokio::time::sleep(Duration::from_millis(fastrand::u64(50..250))).await;
        daemon.kill();
    }
    project.ok(&["run", "--until-caught-up"]);
    assert_eq!(project.value("select position from projectord.log_head").await, "800");
    assert_log_is_store(&project, &raw).await;
}

async fn two_daemons() {
    let (project, store, raw) = new_project().await;
    let _daemons = [project.daemon(), project.daemon()];
    for _ in 0..20 {
        append(&store, StreamId::random(), 5).await;
    }
    until_head(&project, 100).await;
    assert_log_is_store(&project, &raw).await;
}

async fn dropped_heads() {
    let (project, store, raw) = new_project().await;
    let _daemon = project.daemon();
    let stream = StreamId::random();
    append(&store, stream, 5).await;
    until_head(&project, 5).await;
    let identity = raw.run(r.table("aggregates").get("meta")).await.pop().unwrap();
    let database = project.store_url.as_ref().unwrap().rsplit('/').next().unwrap().to_owned();
    raw.run(r.db(database.as_str()).table_drop("aggregates")).await;
    raw.run(r.db(database.as_str()).table_create("aggregates")).await;
    raw.run(r.table("aggregates").insert(identity)).await;
    append(&store, stream, 5).await;
    until_head(&project, 10).await;
    assert_log_is_store(&project, &raw).await;
}

async fn another_store() {
    let (project, store, raw) = new_project().await;
    append(&store, StreamId::random(), 3).await;
    project.ok(&["run", "--until-caught-up"]);
    let identity = raw.run(r.table("aggregates").get("meta")).await.pop().unwrap();
    raw.run(r.table("aggregates").get("meta").update(json!({"store_id": uuid::Uuid::new_v4()}))).await;
    let _daemon = project.daemon();
    until_ingest(&project, "halted").await;
    assert!(project.value("select error from projectord.ingest_status").await.contains("leads to store"));
    assert!(project.ok(&["status"]).contains("leads to store"));
    raw.run(r.table("aggregates").get("meta").update(identity)).await;
    until_ingest(&project, "live").await;
}

async fn store_lost_commits() {
    let (project, store, raw) = new_project().await;
    let stream = StreamId::random();
    append(&store, stream, 5).await;
    project.ok(&["run", "--until-caught-up"]);
    raw.run(r.table("events").get(format!("{stream}@{:016}", 5)).delete(())).await;
    raw.run(r.table("aggregates").get(stream.to_string()).update(json!({"version": 4}))).await;
    let _daemon = project.daemon();
    until_ingest(&project, "halted").await;
    assert!(
        project
            .value("select error from projectord.ingest_status")
            .await
            .contains("the log is ahead of the store")
    );
    assert_eq!(store.load_stream(stream, Version(1)).await.unwrap().version, Version(4));
}

async fn foreign_document() {
    let (project, store, raw) = new_project().await;
    append(&store, StreamId::random(), 3).await;
    let row = json!({"id": "not-a-commit", "by": "somebody else"});
    let with_time = reql::Command::new(ql2::term::TermType::Object)
        .with_arg(reql::Command::from(json!("recorded_at")))
        .with_arg(r.now());
    let row =
        reql::Command::new(ql2::term::TermType::Merge).with_arg(reql::Command::from(row)).with_arg(with_time);
    raw.run(r.table("events").insert(row)).await;
    let _daemon = project.daemon();
    until_ingest(&project, "halted").await;
    assert!(project.value("select error from projectord.ingest_status").await.contains("not-a-commit"));
    raw.run(r.table("events").get("not-a-commit").delete(())).await;
    until_ingest(&project, "live").await;
    until_head(&project, 3).await;
}

async fn server_away() {
    let port = free_port().unwrap();
    let mut project = Project::new().await;
    project.store_url = Some(format!("rethinkdb://127.0.0.1:{port}/late"));
    project.copy("projections/orders");
    let daemon = project.daemon();
    until_ingest(&project, "backoff").await;
    assert!(
        project.value("select error from projectord.ingest_status").await.contains("cannot reach RethinkDB")
    );
    project.until_state("orders", "live").await;
    let (_server, _folder) = start_rethinkdb_on(port);
    until_ingest(&project, "live").await;
    let store = RethinkStore::new(project.store_url.as_ref().unwrap().parse().unwrap(), Settings::default());
    append(&store, StreamId::random(), 3).await;
    until_head(&project, 3).await;
    assert_eq!(daemon.stop(Duration::from_secs(5)).await, Some(0));
}

async fn wrong_password() {
    let (mut project, ..) = new_project().await;
    let url = project.store_url.as_ref().unwrap().replace("rethinkdb://", "rethinkdb://admin:s3cret@");
    project.store_url = Some(url);
    let _daemon = project.daemon();
    until_ingest(&project, "backoff").await;
    let error = project.value("select error from projectord.ingest_status").await;
    assert!(error.contains("password"), "{error}");
    assert!(!format!("{error}{}{}", project.log(), project.ok(&["status"])).contains("s3cret"));
}
