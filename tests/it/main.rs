//! Tests against real servers, named after what they promise.
//!
//! They run under `libtest-mimic`, so that what cannot run here (no RethinkDB) is counted as ignored
//! instead of passing.

#![allow(clippy::unwrap_used)]

mod bank;
mod batches;
mod checking;
mod code;
mod command_line;
mod configuration;
mod container;
mod contract;
mod cookbook;
mod explaining;
mod folders;
mod fuzzing;
mod handlers;
mod http_access;
mod http_api;
mod http_limits;
mod http_metrics;
mod ingest;
mod leases;
mod log;
mod model;
mod notify;
mod operations;
mod outage;
mod parking;
mod passing;
mod permits;
mod projector;
mod reading;
mod rebuild;
mod rethinkdb;
mod roles;
mod secrecy;
mod sessions;
mod support;
mod testing;
mod tls;
#[cfg(feature = "otlp")]
mod traces;
mod upcasting;

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    let args = Arguments::from_args();
    let mut trials = Vec::new();
    for module in [
        contract::trials,
        log::trials,
        projector::trials,
        reading::trials,
        rebuild::trials,
        code::trials,
        outage::trials,
        notify::trials,
        rethinkdb::trials,
        ingest::trials,
        model::trials,
        leases::trials,
        parking::trials,
        passing::trials,
        operations::trials,
        roles::trials,
        tls::trials,
        folders::trials,
        cookbook::trials,
        checking::trials,
        explaining::trials,
        upcasting::trials,
        handlers::trials,
        fuzzing::trials,
        http_access::trials,
        http_api::trials,
        http_limits::trials,
        http_metrics::trials,
        configuration::trials,
        container::trials,
        secrecy::trials,
        sessions::trials,
        command_line::trials,
        bank::trials,
        batches::trials,
        testing::trials,
        permits::trials,
    ] {
        trials.extend(module());
    }
    #[cfg(feature = "otlp")]
    trials.extend(traces::trials());
    let skipped = trials.iter().filter(|trial| trial.has_ignored_flag()).count();
    let conclusion = libtest_mimic::run(&args, trials);
    support::stop_servers();
    if skipped > 0 && !args.list {
        eprintln!(
            "SKIPPED: {skipped} tests, counted as ignored: they need RethinkDB (on PATH, or RETHINKDB_URL) or data"
        );
    }
    conclusion.exit_code()
}
