//! `projectord import`: a file's events, once, in order, whatever happens.

use std::io::Write;
use std::process::{Output, Stdio};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::{failed, lines_of_json, set_up};
use crate::support::{Project, rethink_trial, text, trial, until};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("import::plain_gzip_and_standard_input_are_the_same", same_from_anywhere),
        trial("import::a_second_run_adds_nothing", second_run),
        trial("import::a_file_that_has_grown_adds_what_is_new", grown_file),
        trial("import::a_batch_is_one_commit_of_one_stream", batches),
        trial("import::a_bad_line_is_named_and_nothing_after_it_is_written", bad_lines),
        trial("import::a_damaged_gzip_is_an_error", damaged_gzip),
        trial("import::a_file_that_cannot_be_read_is_named", unreadable),
        trial("import::a_stream_that_holds_something_else_is_refused", foreign_stream),
        trial("import::what_was_exported_can_be_imported", round_trip),
        trial("import::killed_in_the_middle_it_is_simply_run_again", killed),
        rethink_trial(
            "import::killed_in_the_middle_on_rethinkdb_it_is_simply_run_again",
            killed_on_rethinkdb,
        ),
        trial("import::two_at_once_add_each_event_once", two_at_once),
    ]
}

/// Events of `streams` streams, interleaved; `n` is an event's place in its stream.
fn events(streams: u128, each: u64) -> Vec<String> {
    let event = |stream: u128, n: u64| {
        json!({
            "stream_id": uuid::Uuid::from_u128(0x4000_8000_0000_0000_0000 + stream),
            "stream_type": "counter",
            "type": "Counted",
            "data": {"n": n},
            "metadata": {"of": stream.to_string()},
        })
        .to_string()
    };
    (1..=each).flat_map(|n| (0..streams).map(move |stream| event(stream, n))).collect()
}

/// Writes a file of the project's; its path.
fn write(project: &Project, name: &str, bytes: impl AsRef<[u8]>) -> String {
    let path = project.folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    name.to_owned()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// The whole log without what the import did not say: positions, commits and times.
async fn log_of(project: &Project) -> String {
    project
        .value(
            "select coalesce(string_agg(concat_ws(' ', stream_id, stream_type, version, type, data, metadata), E'\\n'
                             order by position), '') from projectord.events",
        )
        .await
}

async fn count(project: &Project) -> u64 {
    project.value("select count(*) from projectord.events").await.parse().unwrap()
}

/// Each stream has these events, each once, in order.
async fn assert_whole(project: &Project, streams: u128, each: u64) {
    let wrong = format!(
        "select count(*) from (
             select stream_id, count(*) as events, count(*) filter (where version = (data->>'n')::bigint) as right_ones
               from projectord.events group by stream_id) s
          where events <> {each} or right_ones <> {each}"
    );
    assert_eq!(project.value(&wrong).await, "0");
    assert_eq!(u128::from(count(project).await), streams * u128::from(each));
    assert_eq!(project.value("select max(position) - count(*) from projectord.events").await, "0");
}

async fn same_from_anywhere() {
    let lines = events(7, 30);
    let plain = lines.join("\n");
    let half = lines.len() / 2;
    // A file may be put together from several.
    let members =
        [gzip(&format!("{}\n", lines[..half].join("\n"))), gzip(&lines[half..].join("\n"))].concat();
    let mut logs = Vec::new();
    for (name, bytes) in [
        ("plain.ndjson", plain.clone().into_bytes()),
        ("ended.ndjson", format!("{plain}\n").into_bytes()),
        ("blank.ndjson", format!("\n  \n{}\n\n", plain.replace('\n', "\n\n")).into_bytes()),
        ("windows.ndjson", format!("\u{feff}{}\r\n", plain.replace('\n', "\r\n")).into_bytes()),
        ("packed.ndjson.gz", gzip(&plain)),
        ("packed-without-saying-so.ndjson", gzip(&plain)),
        ("members.ndjson.gz", members),
    ] {
        let project = set_up().await;
        let file = write(&project, name, &bytes);
        let said = project.ok(&["import", &file]);
        assert!(said.ends_with("210 events added, 0 were there already\n"), "{name}: {said}");
        logs.push(log_of(&project).await);

        let piped = set_up().await;
        let input = std::fs::File::open(project.folder.path().join(name)).unwrap();
        let output = piped.command(&["import", "-"]).stdin(input).output().unwrap();
        assert!(output.status.success(), "{name}: {}", text(&output.stderr));
        logs.push(log_of(&piped).await);
    }
    logs.dedup();
    assert_eq!(logs.len(), 1, "the same events in the same order");
    let empty = set_up().await;
    let said = empty.ok(&["import", &write(&empty, "empty", "")]);
    assert_eq!(said, "0 lines: 0 events added, 0 were there already\n");
}

async fn second_run() {
    let project = set_up().await;
    let lines = events(20, 10).join("\n");
    let file = write(&project, "events.ndjson", &lines);
    let packed = write(&project, "events.ndjson.gz", gzip(&lines));
    assert_eq!(
        project.ok(&["import", &file, "--batch", "3"]),
        "200 lines: 200 events added, 0 were there already\n"
    );
    let log = project.rows("projectord.events").await;
    for arguments in [
        &["import", &file, "--batch", "3"] as &[&str],
        &["import", &file],
        &["import", &file, "--batch", "1000"],
        &["import", &packed, "--batch", "2"],
        &["import", &file, "--stream-type", "other"],
    ] {
        let said = project.ok(arguments);
        assert_eq!(said, "200 lines: 0 events added, 200 were there already\n", "{arguments:?}");
    }
    assert_eq!(project.rows("projectord.events").await, log);
}

async fn grown_file() {
    let project = set_up().await;
    let lines = events(3, 40);
    for (to, batch, added) in [(50, "1", 50), (70, "4", 20), (71, "1000", 1), (120, "7", 49)] {
        let file = write(&project, "events.ndjson", lines[..to].join("\n"));
        let said = project.ok(&["import", &file, "--batch", batch]);
        assert_eq!(said, format!("{to} lines: {added} events added, {} were there already\n", to - added));
    }
    assert_whole(&project, 3, 40).await;
}

async fn batches() {
    let project = set_up().await;
    // 25 lines of one stream, one of another, 5 of the first again.
    let (one, other) = (events(1, 30), events(2, 1).remove(1));
    let lines = [&one[..25], &[other], &one[25..]].concat();
    let file = write(&project, "events.ndjson", lines.join("\n"));
    project.ok(&["import", &file, "--batch", "10"]);
    let commits = "select string_agg(n::text, ',' order by first)
                     from (select count(*) as n, min(position) as first from projectord.events group by commit_id) c";
    assert_eq!(project.value(commits).await, "10,10,5,1,5");
    // A batch is never more than the store would take.
    let project = set_up().await;
    let file = write(&project, "events.ndjson", events(1, 30).join("\n"));
    let mut import = project.command(&["import", &file, "--batch", "10000"]);
    let output = import.env("PROJECTORD_STORE__MAX_COMMIT_EVENTS", "8").output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(project.value(commits).await, "8,8,8,6");
    let large = |n: u64| {
        let mut event: Value = serde_json::from_str(&events(1, 1)[0]).unwrap();
        event["data"] = json!({"n": n, "text": "x".repeat(300_000)});
        event.to_string()
    };
    let project = set_up().await;
    let file = write(&project, "events.ndjson", (1..=7).map(large).collect::<Vec<_>>().join("\n"));
    project.ok(&["import", &file, "--batch", "100"]);
    assert_eq!(project.value(commits).await, "3,3,1");
}

async fn bad_lines() {
    let good = events(3, 20);
    let with = |key: &str, value: Value| {
        let mut event: Value = serde_json::from_str(&good[0]).unwrap();
        event[key] = value;
        event.to_string()
    };
    let without = |key: &str| {
        let mut event: Value = serde_json::from_str(&good[0]).unwrap();
        event.as_object_mut().unwrap().remove(key).unwrap();
        event.to_string()
    };
    let data = |text: &str| good[0].replace(r#"{"n":1}"#, text);
    let deep = |depth: usize| data(&format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
    #[rustfmt::skip]
    let rows = [
        ("no JSON", "{\"stream_id\": ".to_owned(), "not an event"),
        ("two on a line", format!("{} {{}}", good[0]), "trailing characters"),
        ("an array", "[]".into(), "no JSON object"),
        ("unknown key", with("dat", json!(1)), "unknown field `dat`"),
        ("key given twice", good[0].replacen('{', "{\"type\": \"A\",", 1), "duplicate field `type`"),
        ("no data", without("data"), "missing field `data`"),
        ("no type", without("type"), "missing field `type`"),
        ("no stream", without("stream_id"), "missing field `stream_id`"),
        ("no stream type", without("stream_type"), "--stream-type"),
        ("no UUID", with("stream_id", json!("x")), "UUID"),
        ("empty type", with("type", json!("")), "the event type is empty"),
        ("empty stream type", with("stream_type", json!("")), "the stream type is empty"),
        ("number as type", with("type", json!(5)), "expected a string"),
        ("NUL", data(r#""\u0000""#), "\\u0000"),
        ("lone surrogate", data(r#""\ud800""#), "not an event"),
        ("reserved key", data(r#"{"$reql_type$": "TIME"}"#), "reserved by RethinkDB"),
        ("large integer", data("9007199254740993"), "send it as text"),
        ("too large a number", data("1e400"), "number out of range"),
        ("depth 65", deep(65), "nested deeper than 64"),
        ("depth 7,000", deep(7_000), "recursion limit"),
        ("depth 1 M", deep(1_000_000), "recursion limit"),
        ("1 MiB + 1", data(&format!("\"{}\"", "x".repeat(1 << 20))), "the limit is 1048576"),
    ];
    let project = set_up().await;
    let mut there = 0;
    for (batch, (what, bad, reason)) in ["1", "7"].into_iter().cycle().zip(rows) {
        let lines = [&good[..41], &["".into(), bad], &good[41..]].concat();
        let file = write(&project, "bad.ndjson", lines.join("\n"));
        let said = failed(&project.run(&["import", &file, "--batch", batch]), 1);
        assert!(said.starts_with("bad.ndjson:43: ") && said.contains(reason), "{what}: {said}");
        let done = format!("stopped before it: {} events added, {there} were there already", 41 - there);
        assert!(said.ends_with(&done), "{what}: {said}");
        assert_eq!(count(&project).await, 41, "{what}: what is before it is written, and nothing after it");
        there = 41;
    }
    // Bytes that are no text.
    let bad = [good[..2].join("\n").as_bytes(), b"\n{\"type\": \"\xff\"}\n", good[2].as_bytes()].concat();
    let file = write(&project, "bytes.ndjson", bad);
    assert!(failed(&project.run(&["import", &file]), 1).starts_with("bytes.ndjson:3: not an event"));
    let input = std::fs::File::open(project.folder.path().join("bad.ndjson")).unwrap();
    let output = project.command(&["import", "-"]).stdin(input).output().unwrap();
    assert!(failed(&output, 1).starts_with("standard input:43: "));
    // With the line put right, the rest follows.
    project.ok(&["import", &write(&project, "bad.ndjson", good.join("\n"))]);
    assert_whole(&project, 3, 20).await;
}

async fn damaged_gzip() {
    let lines = events(50, 40).join("\n");
    let packed = gzip(&lines);
    let mut wrong_sum = packed.clone();
    let sum = wrong_sum.len() - 8;
    wrong_sum[sum] ^= 0xff;
    for (what, bytes) in [
        ("nothing but its first bytes", packed[..2].to_vec()),
        ("no end of the head", packed[..9].to_vec()),
        ("cut in the middle", packed[..packed.len() / 2].to_vec()),
        ("cut before the last byte", packed[..packed.len() - 1].to_vec()),
        ("a wrong checksum", wrong_sum),
        ("rubbish after it", [packed.as_slice(), b"rubbish"].concat()),
    ] {
        let project = set_up().await;
        let file = write(&project, "events.ndjson.gz", bytes);
        let said = failed(&project.run(&["import", &file]), 1);
        assert!(said.starts_with("events.ndjson.gz:") && said.contains("cannot read on"), "{what}: {said}");
        let before = count(&project).await;
        assert!(before <= 2_000, "{what}");
        // The whole file completes it.
        let said = project.ok(&["import", &write(&project, "events.ndjson.gz", &packed)]);
        let wanted = format!("2,000 lines: {} events added, {} were there already\n", 2_000 - before, before);
        assert_eq!(said.replace(',', ""), wanted.replace(',', ""), "{what}");
        assert_whole(&project, 50, 40).await;
    }
}

async fn unreadable() {
    let project = set_up().await;
    std::fs::create_dir(project.folder.path().join("a-folder")).unwrap();
    for (file, reason) in [("nothing.ndjson", "No such file"), ("a-folder", "directory")] {
        let said = failed(&project.run(&["import", file]), 1);
        assert!(said.starts_with(&format!("{file}: ")) && said.contains(reason), "{said}");
    }
}

async fn foreign_stream() {
    let good = events(2, 10);
    let stream = serde_json::from_str::<Value>(&good[0]).unwrap()["stream_id"].as_str().unwrap().to_owned();
    for (event_type, data, metadata, stream_type) in [
        ("Other", r#"{"n": 1}"#, r#"{"of": "0"}"#, "counter"),
        ("Counted", r#"{"n": 2}"#, r#"{"of": "0"}"#, "counter"),
        ("Counted", r#"{"n": 1}"#, "{}", "counter"),
    ] {
        for batch in ["1", "100"] {
            let project = set_up().await;
            let append =
                ["append", &stream, event_type, data, "--metadata", metadata, "--stream-type", stream_type];
            project.ok(&append);
            let file = write(&project, "events.ndjson", good.join("\n"));
            let said = failed(&project.run(&["import", &file, "--batch", batch]), 4);
            assert!(
                said.starts_with("events.ndjson:1: version 1 of stream") && said.contains(&stream),
                "{said}"
            );
            let mixed = format!("select count(*) from projectord.events where stream_id = '{stream}'");
            assert_eq!(project.value(&mixed).await, "1");
        }
    }
    // The same first event in a stream of another type.
    let project = set_up().await;
    project.ok(&[
        "append",
        &stream,
        "Counted",
        r#"{"n": 1}"#,
        "--metadata",
        r#"{"of": "0"}"#,
        "--stream-type",
        "other",
    ]);
    let file = write(&project, "events.ndjson", good.join("\n"));
    let said = failed(&project.run(&["import", &file]), 1);
    assert!(said.starts_with("events.ndjson:3: ") && said.contains("type \"other\""), "{said}");
}

async fn round_trip() {
    let project = set_up().await;
    project.ok(&["import", &write(&project, "events.ndjson", events(5, 5).join("\n"))]);
    let odd = r#"{"é\n": ["", null, 1e300, -0.5, {"a": "\"\\\u001b"}]}"#;
    let stream = uuid::Uuid::new_v4().to_string();
    project.ok(&["append", &stream, "Odd 'x';--\n", odd, "--stream-type", "ü"]);
    let exported = lines_of_json(&project.ok(&["tail", "--from", "1", "--no-follow", "--json"]));
    let lines = exported.into_iter().map(|mut event| {
        let fields = event.as_object_mut().unwrap();
        fields.retain(|key, _| {
            ["stream_id", "stream_type", "type", "data", "metadata"].contains(&key.as_str())
        });
        event.to_string()
    });
    let copy = set_up().await;
    copy.ok(&["import", &write(&copy, "copy.ndjson", lines.collect::<Vec<_>>().join("\n"))]);
    assert_eq!(log_of(&copy).await, log_of(&project).await);
}

async fn killed() {
    const ALL: u64 = 400 * 40;
    let project = set_up().await;
    let file = write(&project, "events.ndjson.gz", gzip(&events(400, 40).join("\n")));
    for batch in ["1", "3"] {
        kill_an_import(&project, &file, batch, ALL).await;
    }
    let there = count(&project).await;
    let said = project.ok(&["import", &file]).replace(',', "");
    assert_eq!(said, format!("{ALL} lines: {} events added {there} were there already\n", ALL - there));
    assert_whole(&project, 400, 40).await;
}

async fn killed_on_rethinkdb() {
    const ALL: u64 = 60 * 20;
    let project = Project::on_rethinkdb().await;
    project.ok(&["setup"]);
    let file = write(&project, "events.ndjson.gz", gzip(&events(60, 20).join("\n")));
    // The daemon shows, in the log, how far it is.
    let daemon = project.daemon();
    for batch in ["1", "3"] {
        kill_an_import(&project, &file, batch, ALL).await;
    }
    project.ok(&["import", &file]);
    project.until_value("select count(*) from projectord.events", &ALL.to_string()).await;
    assert_whole(&project, 60, 20).await;
    let said = project.ok(&["import", &file]).replace(',', "");
    assert_eq!(said, format!("{ALL} lines: 0 events added {ALL} were there already\n"));
    assert_eq!(daemon.stop(Duration::from_secs(5)).await, Some(0));
}

/// Kills an import when it has written some more, and sees that it was not done.
async fn kill_an_import(project: &Project, file: &str, batch: &str, all: u64) {
    let there = count(project).await;
    let mut import = project.command(&["import", file, "--batch", batch]);
    let mut child = import.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("some of it is written", Duration::from_secs(60), async || count(project).await > there + all / 8)
        .await;
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(count(project).await < all, "it was done before it was killed");
}

async fn two_at_once() {
    let project = set_up().await;
    let file = write(&project, "events.ndjson", events(50, 40).join("\n"));
    let spawned = ["1", "1", "7"].map(|batch| {
        let mut import = project.command(&["import", &file, "--batch", batch]);
        import.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    });
    let outputs: Vec<Output> = spawned.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    assert_whole(&project, 50, 40).await;
    for output in outputs {
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
}
