//! Operations in any order, on the real thing and on a model of a few lines: they must agree. What fails is
//! made smaller until the shortest sequence is left.

mod checkpoint;
mod ingest;
mod leases;
mod store;

use libtest_mimic::Trial;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestRunner};
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

/// The SQLSTATE of what the database refused.
fn sqlstate(error: &sqlx::Error) -> String {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).unwrap_or_default().into_owned()
}
