//! Operations in any order, on the real thing and on a model of a few lines: they must agree. What fails is
//! made smaller until the shortest sequence is left.

mod checkpoint;
mod ingest;
mod leases;
mod store;

use libtest_mimic::Trial;
use projectord::lease::Lease;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestRunner};
use sqlx::PgPool;
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use crate::support::{rethink_trial, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("model::append_and_load_in_memory", store::in_memory),
        trial("model::append_and_load_on_postgresql", store::on_postgresql),
        rethink_trial("model::append_and_load_on_rethinkdb", store::on_rethinkdb),
        trial("model::ingest_keeps_streams_dense_whatever_comes_in_whatever_order", ingest::any_order),
        trial("model::checkpoint_owner_parking_and_audit_agree_whatever_happens", checkpoint::agrees),
        trial("model::leases_have_one_owner_who_alone_moves_the_checkpoint", leases::one_owner),
    ]
}

/// Runs cases; each may wait.
fn check<S: Strategy>(cases: u32, strategy: &S, case: impl AsyncFn(S::Value)) {
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let run = TestRunner::new(config).run(strategy, |value| {
        block_in_place(|| Handle::current().block_on(case(value)));
        Ok(())
    });
    run.unwrap();
}

/// Claims a projection's first generation; its checkpoint, or the SQLSTATE of the refusal.
async fn claim(pool: &PgPool, projection: &str, lease: Lease) -> Result<i64, String> {
    sqlx::query_scalar("select projectord.claim($1, 1, $2, $3)")
        .bind(projection)
        .bind(lease.owner)
        .bind(lease.epoch)
        .fetch_one(pool)
        .await
        .map_err(|error| sqlstate(&error))
}

/// Applies up to `limit` events after the checkpoint; or the SQLSTATE of the refusal.
async fn apply(pool: &PgPool, projection: &str, after: i64, limit: i64, lease: Lease) -> Result<(), String> {
    sqlx::query("select projectord.apply($1, 1, $2, $3, $4, $5)")
        .bind(projection)
        .bind(after)
        .bind(limit)
        .bind(lease.owner)
        .bind(lease.epoch)
        .execute(pool)
        .await
        .map(drop)
        .map_err(|error| sqlstate(&error))
}

/// The SQLSTATE of what the database refused.
fn sqlstate(error: &sqlx::Error) -> String {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).unwrap_or_default().into_owned()
}
