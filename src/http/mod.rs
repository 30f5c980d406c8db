//! What the daemon answers over HTTP: its health, metrics, a dashboard, and the API.
//!
//! It runs on a thread, a runtime and connections of its own: neither may a flood of requests hold up the daemon,
//! nor a handler that hangs the daemon keep anybody from asking how it is.

mod access;
mod api;
mod body;
mod dashboard;
mod exposition;
mod given;
mod history;
mod io;
mod latest;
mod measured;
mod metrics;
mod probes;
mod problem;
mod routes;
mod serve;
mod server;
mod shared;

use access::Caller;
use given::Given;
use problem::Problem;
pub(crate) use server::{Parts, Server};
use shared::Shared;
