//! What the daemon answers over HTTP: its health, metrics, a dashboard, and the API.
//!
//! It runs on a thread, a runtime and connections of its own: neither may a flood of requests hold up the daemon,
//! nor a handler that hangs the daemon keep anybody from asking how it is.

mod access;
pub(crate) mod api;
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

pub(crate) use access::Caller;
pub(crate) use given::Given;
pub(crate) use problem::Problem;
pub(crate) use server::{Parts, Server};
pub(crate) use shared::Shared;
