//! `make bench`: how fast, beside the same work done by hand in the same run on the same machine.
//!
//! Servers flush to disk as real ones do, and each path has new ones: what the one before it has left behind would be
//! measured with it. Without RethinkDB, or without the bank's event log in `../shared/data`, what needs them is left out
//! and named.

mod append;
mod bank;
mod by_hand;
mod fan_out;
mod flood;
mod growth;
mod idle;
mod ingest;
mod latency;
mod load;
mod rebuild;
mod replay;
mod report;
mod servers;
mod shapes;
mod swaps;

use report::Report;
use servers::Servers;

#[tokio::main]
async fn main() {
    // `cargo bench` passes flags of its own; a word filters.
    let only = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let wanted = |name: &str| only.as_deref().is_none_or(|only| name.contains(only));
    let mut report = Report::default();
    let bank = bank::load(&mut report);
    if wanted("append") {
        append::run(&Servers::start(&mut report).await, &mut report).await;
    }
    if wanted("load") {
        load::run(&Servers::start(&mut report).await, &mut report).await;
    }
    if let Some(bank) = &bank {
        if wanted("ingest") {
            ingest::run(&Servers::start(&mut report).await, bank, &mut report).await;
        }
        if wanted("replay") {
            replay::run(&Servers::start(&mut report).await, bank, &mut report).await;
        }
        if wanted("rebuild") {
            rebuild::run(&Servers::start(&mut report).await, bank, &mut report).await;
        }
        if wanted("shapes") {
            shapes::run(&Servers::start(&mut report).await, bank, &mut report).await;
        }
    }
    if wanted("swaps") {
        swaps::run(&Servers::start(&mut report).await, &mut report).await;
    }
    if wanted("flood") {
        flood::run(&Servers::start(&mut report).await, &mut report).await;
    }
    if wanted("latency") {
        latency::run(&Servers::start(&mut report).await, &mut report).await;
    }
    if wanted("fan_out") {
        fan_out::run(&Servers::start(&mut report).await, &mut report).await;
    }
    if wanted("idle") {
        idle::run(&Servers::start(&mut report).await, &mut report).await;
    }
    if wanted("growth") {
        growth::run(&Servers::start(&mut report).await, &mut report).await;
    }
    report.print();
}
