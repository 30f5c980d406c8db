//! Events a second from the log into the loan projection, beside the same loop written by hand and
//! called once.

use std::time::Instant;

use projectord::postgres::migrate;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, PgPool};

use crate::bank::BankEvent;
use crate::report::Report;
use crate::servers::{Servers, until};

const BY_HAND: &str = include_str!("loan_by_hand.sql");

pub async fn run(servers: &Servers, bank: &[BankEvent], report: &mut Report) {
    eprintln!("replay");
    let (url, pool) = servers.database("replay").await;
    migrate(&pool).await.expect("migrate");
    fill(&pool, bank).await;
    let events = i64::try_from(bank.len()).expect("a count");
    let (mut ours, mut at_once, mut in_pieces, mut rss) = (0.0_f64, 0.0_f64, 0.0_f64, 0.0_f64);
    for _ in 0..3 {
        at_once += by_hand(&pool, events, format!("select by_hand.replay(0, {events})")).await / 3.0;
        in_pieces +=
            by_hand(&pool, events, format!("call by_hand.replay_in_pieces({events}, 10000)")).await / 3.0;

        // As if it were new: a checkpoint that is set back by hand is refused.
        let forget = "drop schema if exists loan_applications cascade;
                      delete from projectord.generations; delete from projectord.projections;";
        sqlx::raw_sql(forget).execute(&pool).await.expect("forget");
        let daemon = servers.daemon(&url, None, "tests/projections");
        // From the first batch to the last: not what it takes to start.
        until(&pool, "select count(*) from loan_applications.applications", 1).await;
        let checkpoint = "select checkpoint from projectord.generations";
        let (first,): (i64,) = sqlx::query_as(checkpoint).fetch_one(&pool).await.expect("checkpoint");
        let begun = Instant::now();
        until(&pool, checkpoint, events).await;
        ours += (events - first) as f64 / begun.elapsed().as_secs_f64() / 3.0;
        rss = rss.max(daemon.peak_rss());
        drop(daemon);
        let same = "select count(*) from (select * from by_hand.applications except select * from loan_applications.applications) d";
        let (different,): (i64,) = sqlx::query_as(same).fetch_one(&pool).await.expect("rows");
        assert_eq!(different, 0, "the rows differ from those made by hand");
    }
    report.rate("replay, loan projection", ours, "loop by hand, called once", at_once, Some(0.95));
    report.rate("replay, loan projection", ours, "the same, commits every 10,000", in_pieces, Some(0.95));
    report.value("peak RSS of the daemon, replay", rss, "MB", Some(64.0));
}

/// Events a second by hand, into new tables.
async fn by_hand(pool: &PgPool, events: i64, call: String) -> f64 {
    sqlx::raw_sql(BY_HAND).execute(pool).await.expect("by hand");
    let begun = Instant::now();
    sqlx::raw_sql(AssertSqlSafe(call)).execute(pool).await.expect("by hand");
    events as f64 / begun.elapsed().as_secs_f64()
}

/// The bank's events as the log.
pub async fn fill(pool: &PgPool, bank: &[BankEvent]) {
    for (nth, events) in bank.chunks(5000).enumerate() {
        let (streams, types): (Vec<_>, Vec<_>) =
            events.iter().map(|it| (it.stream_id, it.event_type.as_str())).unzip();
        let (data, metadata): (Vec<_>, Vec<_>) =
            events.iter().map(|it| (Json(&it.data), Json(&it.metadata))).unzip();
        sqlx::query(
            "insert into projectord.events
             select $1 + nth, stream_id, 'loan-application',
                    row_number() over (partition by stream_id order by nth) + coalesce((
                        select max(e.version) from projectord.events e where e.stream_id = b.stream_id), 0),
                    type, data, metadata, gen_random_uuid(), clock_timestamp()
               from unnest($2::uuid[], $3::text[], $4::jsonb[], $5::jsonb[]) with ordinality as b (stream_id, type, data, metadata, nth)",
        )
        .bind(i64::try_from(nth * 5000).expect("a count"))
        .bind(streams)
        .bind(types)
        .bind(data)
        .bind(metadata)
        .execute(pool)
        .await
        .expect("events");
    }
    let head = "update projectord.log_head set position = (select max(position) from projectord.events)";
    for sql in [head, "vacuum analyze projectord.events"] {
        sqlx::raw_sql(sql).execute(pool).await.expect(sql);
    }
}
