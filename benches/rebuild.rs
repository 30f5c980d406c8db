//! Rebuilds beside the live rows: by one worker and by two, beside the same loop by hand; and what comparing the
//! rows takes. How much two workers can gain is shown by two loops by hand that share no table, and by two that share
//! the streams of one.

use std::process::Command;
use std::time::Instant;

use projectord::postgres::migrate;
use sqlx::{AssertSqlSafe, PgPool};

use crate::bank::BankEvent;
use crate::replay::fill;
use crate::report::Report;
use crate::servers::{Servers, until};

const BY_HAND: &str = include_str!("loans_by_stream_by_hand.sql");
const FOLDER: &str = "benches/projections_by_stream";
const ROUNDS: u32 = 3;

pub async fn run(servers: &Servers, bank: &[BankEvent], report: &mut Report) {
    eprintln!("rebuild");
    let (url, pool) = servers.database("rebuild").await;
    migrate(&pool).await.expect("migrate");
    fill(&pool, bank).await;
    let events = i64::try_from(bank.len()).expect("a count");
    let (mut by_hand, mut by_two, mut by_halves, mut rates, mut verify) = (0.0, 0.0, 0.0, [0.0; 2], 0.0);
    for _ in 0..ROUNDS {
        by_halves += halves_by_hand(&pool, events).await / f64::from(ROUNDS);
        by_hand += loop_by_hand(&pool, "by_hand", events).await / f64::from(ROUNDS);
        let (one, other) =
            tokio::join!(loop_by_hand(&pool, "by_hand", events), loop_by_hand(&pool, "by_hand_too", events));
        by_two += (one + other) / f64::from(ROUNDS);
        for (nth, workers) in ["1", "2"].into_iter().enumerate() {
            let daemon = servers.daemon_with(&url, None, FOLDER, &[("PROJECTORD_REBUILD__WORKERS", workers)]);
            until(&pool, "select checkpoint from projectord.generations where state = 'live'", events).await;
            command(&url, &["rebuild", "loans", "--wait"]);
            rates[nth] += events as f64 / built_in(&pool, "loans").await / f64::from(ROUNDS);
            if workers == "2" {
                verify += compared_in(&command(&url, &["verify", "loans"])) / f64::from(ROUNDS);
            }
            drop(daemon);
        }
        let same = "select count(*) from (select id, status, offers, work_items from by_hand.applications
                     except select id, status, offers, work_items from loans.applications) d";
        let (different,): (i64,) = sqlx::query_as(same).fetch_one(&pool).await.expect("rows");
        assert_eq!(different, 0, "the rows differ from those made by hand");
    }
    let [one, two] = rates;
    report.rate("rebuild, loans by stream, 1 worker", one, "the loop by hand", by_hand, Some(0.95));
    report.rate("two loops by hand, each into a table of its own", by_two, "one", by_hand, None);
    report.rate(
        "two loops by hand, each with half of the streams of one table",
        by_halves,
        "one",
        by_hand,
        None,
    );
    report.rate("rebuild, loans by stream, 2 workers", two, "1 worker", one, Some(1.7));
    report.rate("rebuild, loans by stream, 2 workers", two, "the two halves by hand", by_halves, None);
    report.rate("rebuild, loans by stream, 2 workers", two, "the loop by hand", by_hand, Some(1.3));
    let share = 100.0 * verify / (events as f64 / two);
    report.value("comparing all rows, of the rebuild's time", share, "%", Some(20.0));
}

/// From its first batch to where it had caught up, in seconds.
pub async fn built_in(pool: &PgPool, projection: &str) -> f64 {
    let sql = "select extract(epoch from caught_up_at - created_at)::float8 from projectord.generations
                where state = 'live' and projection = $1";
    let (seconds,): (f64,) =
        sqlx::query_as(sql).bind(projection).fetch_one(pool).await.expect("a generation");
    seconds
}

/// As `verify` says it: `compared at position 262200 in 0.2 s`.
fn compared_in(said: &str) -> f64 {
    let seconds = said.rsplit(" in ").next().and_then(|rest| rest.split(' ').next());
    seconds.and_then(|seconds| seconds.parse().ok()).expect("how long it took")
}

/// The command line on a database; what it prints.
pub fn command(url: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_projectord"));
    let output = command.args(arguments).env("PROJECTORD_POSTGRES__URL", url).output().expect("the binary");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Events a second by hand, into a new table in this schema.
async fn loop_by_hand(pool: &PgPool, schema: &str, events: i64) -> f64 {
    execute(pool, BY_HAND.replace("by_hand", schema)).await;
    let begun = Instant::now();
    execute(pool, format!("call {schema}.replay({events}, 5000)")).await;
    events as f64 / begun.elapsed().as_secs_f64()
}

/// The same by two at once, each with the streams of one of two shares, as the daemon would share them out.
async fn halves_by_hand(pool: &PgPool, events: i64) -> f64 {
    let (tables, procedure) = BY_HAND.split_once("create procedure by_hand.replay").expect("a procedure");
    execute(pool, tables.to_owned()).await;
    for share in 0..2 {
        let own = format!("and projectord.share_of(stream_id, 2) = {share} order by position");
        let procedure = procedure.replace("order by position", &own);
        execute(pool, format!("create procedure by_hand.share_{share}{procedure}")).await;
    }
    let call = |share| execute(pool, format!("call by_hand.share_{share}({events}, 5000)"));
    let begun = Instant::now();
    tokio::join!(call(0), call(1));
    events as f64 / begun.elapsed().as_secs_f64()
}

async fn execute(pool: &PgPool, sql: String) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await.expect("by hand");
}
