//! Servers, databases and waiting, for the tests.

mod deaf;
mod http;
mod project;
mod raw;
mod servers;
mod way;

use std::future::Future;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};

pub use deaf::DeafWay;
pub use http::{Answer, Site, answer};
pub use project::{Daemon, Project, text};
pub use raw::Raw;
pub use servers::{
    new_database, new_rethink_database, open_folder, rethinkdb_is_here, start_rethinkdb_on,
    start_rethinkdb_with, stop_servers,
};
pub use way::Way;

/// A test that runs a future to its end, within two minutes.
pub fn trial<F>(name: impl Into<String>, test: impl FnOnce() -> F + Send + 'static) -> Trial
where
    F: Future<Output = ()> + 'static,
{
    Trial::test(name, move || run(Duration::from_secs(120), test()))
}

/// The same, within twenty minutes.
pub fn long_trial<F>(name: impl Into<String>, test: impl FnOnce() -> F + Send + 'static) -> Trial
where
    F: Future<Output = ()> + 'static,
{
    Trial::test(name, move || run(Duration::from_secs(1200), test()))
}

/// The same, for a test that needs RethinkDB: ignored where there is none.
pub fn rethink_trial<F>(name: impl Into<String>, test: impl FnOnce() -> F + Send + 'static) -> Trial
where
    F: Future<Output = ()> + 'static,
{
    trial(name, test).with_ignored_flag(!rethinkdb_is_here())
}

fn run(patience: Duration, test: impl Future<Output = ()>) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failed::from(error.to_string()))?;
    let outcome = runtime.block_on(async { tokio::time::timeout(patience, test).await });
    runtime.shutdown_timeout(Duration::from_secs(5));
    outcome.map_err(|_| Failed::from(format!("not done within {patience:?}")))
}

/// Waits until `done` says so; a test that it does not in time fails, with what it waited for.
pub async fn until(what: &str, patience: Duration, mut done: impl AsyncFnMut() -> bool) {
    let deadline = std::time::Instant::now() + patience;
    while !done().await {
        assert!(std::time::Instant::now() < deadline, "not within {patience:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
