//! Rebuilds of projections of other shapes: a counter, whose few rows every event changes; one that wants one event in
//! a hundred; one row for each event, by a handler and by `batch.sql`.

use std::time::Instant;

use projectord::postgres::migrate;
use sqlx::{AssertSqlSafe, PgPool};

use crate::bank::BankEvent;
use crate::rebuild::{built_in, command};
use crate::replay::fill;
use crate::report::Report;
use crate::servers::{Servers, until};

const FOLDER: &str = "benches/shapes";
const ROUNDS: u32 = 3;

const COUNTER_BY_HAND: &str = "drop schema if exists by_hand cascade;
    create schema by_hand;
    create table by_hand.types (type text primary key, n bigint not null) with (fillfactor = 50);
    create procedure by_hand.replay(upto bigint, piece bigint) language plpgsql as $$
    declare
        event record;
        after bigint := 0;
    begin
        while after < upto loop
            for event in
                select type from projectord.events where position > after and position <= after + piece order by position
            loop
                insert into by_hand.types values (event.type, 1) on conflict (type) do update set n = types.n + 1;
            end loop;
            commit;
            after := after + piece;
        end loop;
    end $$";
const LEDGER_BY_HAND: &str = "drop schema if exists by_hand cascade;
    create schema by_hand;
    create table by_hand.entries (
        position bigint primary key, stream_id uuid not null, type text not null, occurred_at timestamptz not null)";
const LEDGER_AT_ONCE: &str = "insert into by_hand.entries
    select position, stream_id, type, (metadata->>'occurred_at')::timestamptz from projectord.events order by position";

pub async fn run(servers: &Servers, bank: &[BankEvent], report: &mut Report) {
    eprintln!("shapes");
    let (url, pool) = servers.database("shapes").await;
    migrate(&pool).await.expect("migrate");
    fill(&pool, bank).await;
    let events = i64::try_from(bank.len()).expect("a count");
    let daemon = servers.daemon_with(&url, None, FOLDER, &[("PROJECTORD_REBUILD__WORKERS", "1")]);
    let all = "select count(*) from projectord.generations where state = 'live' and checkpoint >= (select position from projectord.log_head)";
    until(&pool, all, 4).await;
    let names = ["counter", "rare", "single", "ledger"];
    let (mut rates, mut looped, mut at_once) = ([0.0; 4], 0.0, 0.0);
    for _ in 0..ROUNDS {
        let call = format!("call by_hand.replay({events}, 5000)");
        looped += events as f64 / by_hand(&pool, COUNTER_BY_HAND, call).await / f64::from(ROUNDS);
        at_once +=
            events as f64 / by_hand(&pool, LEDGER_BY_HAND, LEDGER_AT_ONCE.into()).await / f64::from(ROUNDS);
        for (name, rate) in names.iter().zip(&mut rates) {
            command(&url, &["rebuild", name, "--wait"]);
            *rate += events as f64 / built_in(&pool, name).await / f64::from(ROUNDS);
        }
        let same =
            "select count(*) from (select * from by_hand.entries except select * from ledger.entries) d";
        let (different,): (i64,) = sqlx::query_as(same).fetch_one(&pool).await.expect("rows");
        assert_eq!(different, 0, "the rows differ from those made by hand");
    }
    let [counter, rare, single, ledger] = rates;
    report.rate("rebuild, a counter", counter, "the loop by hand", looped, Some(0.95));
    report.rate("rebuild, 1 % of the events", rare, "a counter, which wants all", counter, Some(10.0));
    report.rate("rebuild, a row for each event", single, "INSERT … SELECT at once", at_once, None);
    report.rate("rebuild, the same by batch.sql", ledger, "INSERT … SELECT at once", at_once, Some(0.8));
    report.value("peak RSS of the daemon, shapes", daemon.peak_rss(), "MB", Some(128.0));
}

/// How many seconds it takes, in new tables.
async fn by_hand(pool: &PgPool, tables: &'static str, call: String) -> f64 {
    sqlx::raw_sql(tables).execute(pool).await.expect("by hand");
    let begun = Instant::now();
    sqlx::raw_sql(AssertSqlSafe(call)).execute(pool).await.expect("by hand");
    begun.elapsed().as_secs_f64()
}
