//! Servers, databases and waiting, for the tests.

mod servers;

use std::future::Future;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};

pub use servers::{new_database, new_rethink_database, rethinkdb_is_here, stop_servers};

/// A test that runs a future to its end, within two minutes.
pub fn trial<F>(name: impl Into<String>, test: impl FnOnce() -> F + Send + 'static) -> Trial
where
    F: Future<Output = ()> + 'static,
{
    let name = name.into();
    Trial::test(name, move || run(test()))
}

/// The same, for a test that needs RethinkDB: ignored where there is none.
pub fn rethink_trial<F>(name: impl Into<String>, test: impl FnOnce() -> F + Send + 'static) -> Trial
where
    F: Future<Output = ()> + 'static,
{
    trial(name, test).with_ignored_flag(!rethinkdb_is_here())
}

fn run(test: impl Future<Output = ()>) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failed::from(error.to_string()))?;
    let outcome = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(120), test).await });
    runtime.shutdown_timeout(Duration::from_secs(5));
    outcome.map_err(|_| Failed::from("not done within two minutes"))
}
