//! The same as the log grows: 1, 10 and 40 times the bank's log, with streams of one event and of 100,000, and a
//! million streams. Rate and memory must stay what they are.

use std::time::Instant;

use projectord::event::{Commit, NewEvent, StreamId};
use projectord::postgres::migrate;
use projectord::store::{EventStore, ExpectedVersion, PostgresStore, Settings};
use serde_json::json;
use sqlx::{AssertSqlSafe, PgPool};

use crate::rebuild::{built_in, command};
use crate::report::{Report, percentile};
use crate::servers::{Servers, until};

const ONCE: i64 = 262_200;
const TIMES: [i64; 3] = [1, 10, 40];
/// The events of the longest stream, of each of the long ones, and of each that is usual. The last tenth of all events
/// are streams of one event.
const LONGEST: i64 = 100_000;
const LONG: i64 = 1_000;
const USUAL: i64 = 12;
const APPENDS: usize = 2_000;

pub async fn run(servers: &Servers, report: &mut Report) {
    eprintln!("growth");
    let (url, pool) = servers.database("growth").await;
    migrate(&pool).await.expect("migrate");
    let store = PostgresStore::new(&url.parse().expect("a URL"), Settings::default());
    let (mut filled, mut first) = (0, None);
    for times in TIMES {
        let events = ONCE * times;
        fill(&pool, filled, events).await;
        filled = events;
        let daemon =
            servers.daemon_with(&url, None, "benches/growth", &[("PROJECTORD_REBUILD__WORKERS", "1")]);
        until(&pool, "select checkpoint - (select position from projectord.log_head) + 1 from projectord.generations where state = 'live'", 1).await;
        let built = rebuilt(&url, &pool, events).await;
        let waits = appends(&store).await;
        filled += i64::try_from(APPENDS).expect("a count");
        let audited = Instant::now();
        command(&url, &["audit"]);
        let audited = filled as f64 / audited.elapsed().as_secs_f64();
        let (built_once, audited_once, waits_once) =
            *first.get_or_insert((built, audited, percentile(&waits, 0.99)));
        let aim = (times > 1).then_some(0.9);
        report.rate(
            format!("rebuild a counter, {events} events"),
            built,
            "the same at 262,200",
            built_once,
            aim,
        );
        report.rate(format!("audit, {events} events"), audited, "the same at 262,200", audited_once, aim);
        report.value(
            format!("append, {events} events, p99"),
            percentile(&waits, 0.99),
            "ms",
            (times > 1).then_some(waits_once * 2.0),
        );
        report.value(
            format!("peak RSS of the daemon, {events} events"),
            daemon.peak_rss(),
            "MB",
            Some(128.0),
        );
    }
}

/// Events a second of a rebuild. A log that is short is rebuilt as often as the next one has it in it: what comes now and
/// then, a checkpoint or a neighbour, is in a rebuild of ten seconds, and in most of one second it is not.
async fn rebuilt(url: &str, pool: &PgPool, events: i64) -> f64 {
    let (times, mut seconds) = ((ONCE * TIMES[1] / events).max(1), 0.0);
    for _ in 0..times {
        command(url, &["rebuild", "counter", "--wait"]);
        seconds += built_in(pool, "counter").await;
    }
    (events * times) as f64 / seconds
}

/// Milliseconds that appends by one writer take, each to a stream of its own.
async fn appends(store: &PostgresStore) -> Vec<f64> {
    let mut waits = Vec::new();
    for _ in 0..APPENDS {
        let commit = Commit::new("generated", vec![NewEvent::from_json("Generated", json!({"n": 1}))]);
        let begun = Instant::now();
        store.append_to_stream(StreamId::random(), ExpectedVersion::NoStream, commit).await.expect("append");
        waits.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    waits
}

/// Events after `from` up to `to`.
async fn fill(pool: &PgPool, from: i64, to: i64) {
    let one_event = to - (to - from) / 10;
    let sql = format!(
        "insert into projectord.events
         select n, md5('{from} ' || s.stream)::uuid, 'generated', s.version, 'Generated' || n % 20,
                jsonb_build_object('n', n, 'total', n % 997, 'note', 'as usual'), '{{}}', md5(n::text)::uuid, clock_timestamp()
           from generate_series({from} + 1, {to}) n,
        lateral (select case when n > {one_event} then 'one ' || n
                             when n - {from} <= {LONGEST} then 'longest'
                             when n - {from} <= 2 * {LONGEST} then 'long ' || n % ({LONGEST} / {LONG})
                             else 'usual ' || (n - {from} - 2 * {LONGEST} - 1) / {USUAL} end as stream,
                        case when n > {one_event} then 1
                             when n - {from} <= {LONGEST} then n - {from}
                             when n - {from} <= 2 * {LONGEST} then (n - {from} - {LONGEST} - 1) / ({LONGEST} / {LONG}) + 1
                             else (n - {from} - 2 * {LONGEST} - 1) % {USUAL} + 1 end as version) s"
    );
    let head = format!("update projectord.log_head set position = {to}");
    for sql in [sql.as_str(), head.as_str(), "vacuum analyze projectord.events", "checkpoint"] {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(pool).await.expect("events");
    }
}
