//! Many projections on one log: how fast 1, 10 and 50 of them catch up, in all.

use std::time::Instant;

use projectord::postgres::migrate;
use sqlx::{AssertSqlSafe, PgPool};

use crate::report::Report;
use crate::servers::{Others, Servers, until};

const EVENTS: i64 = 20_000;

pub async fn run(servers: &Servers, report: &mut Report) {
    eprintln!("fan-out");
    let mut alone = None;
    for projections in [1, 10, 50] {
        let (url, pool) = servers.database(&format!("fan_out_{projections}")).await;
        migrate(&pool).await.expect("migrate");
        // They are made first, so that what is measured is no start.
        let folder = servers.projections(&format!("fan_out_{projections}"), projections, Others::Alike);
        let daemon = servers.daemon(&url, None, &folder);
        let count = i64::try_from(projections).expect("a count");
        until(&pool, "select count(*) from projectord.projections where state = 'live'", count).await;
        fill(&pool).await;
        let begun = Instant::now();
        sqlx::raw_sql("notify projectord_log").execute(&pool).await.expect("the bell");
        let all = "select count(*) from projectord.generations where checkpoint = (select position from projectord.log_head)";
        until(&pool, all, count).await;
        let rate = (count * EVENTS) as f64 / begun.elapsed().as_secs_f64();
        let one = *alone.get_or_insert(rate);
        report.rate(
            format!("catching up, {projections} projections in all"),
            rate,
            "one",
            one,
            (projections > 1).then_some(0.9),
        );
        report.value(
            format!("peak RSS of the daemon, {projections} projections"),
            daemon.peak_rss(),
            "MB",
            Some(128.0),
        );
    }
}

async fn fill(pool: &PgPool) {
    let sql = format!(
        "insert into projectord.events
         select n, md5(n::text)::uuid, 'measured', 1, 'Measured', '{{}}', '{{}}', gen_random_uuid(), clock_timestamp()
           from generate_series(1, {EVENTS}) n;
         update projectord.log_head set position = {EVENTS}"
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await.expect("events");
}
