//! An event store on RethinkDB or PostgreSQL, and the parts of a daemon that keeps disposable read
//! models in PostgreSQL.
//!
//! Writers embed [`store`]: append events to a stream under optimistic concurrency, load them back.
//! With `default-features = false` and one of the features `rethinkdb` and `postgres`, nothing else is
//! compiled. The modules below are in reading order, and each imports only from those above it;
//! `docs/architecture.md` has the picture.

// A writer with one backend uses a part of what all of them share.
#![cfg_attr(not(feature = "daemon"), allow(dead_code))]

mod text;

pub mod event;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod store;

mod backoff;
#[cfg(feature = "daemon")]
mod fault;
#[cfg(feature = "otlp")]
mod otlp;
mod sabotage;
#[cfg(feature = "daemon")]
pub mod shutdown;
#[cfg(feature = "daemon")]
mod spans;

#[cfg(feature = "daemon")]
pub mod cli;
#[cfg(feature = "daemon")]
pub mod config;
#[cfg(feature = "daemon")]
pub mod control;
#[cfg(feature = "daemon")]
pub mod daemon;
#[cfg(feature = "daemon")]
mod health;
#[cfg(feature = "daemon")]
pub mod http;
#[cfg(feature = "daemon")]
pub mod ingest;
#[cfg(feature = "daemon")]
pub mod lease;
#[cfg(feature = "daemon")]
pub mod log;
#[cfg(feature = "daemon")]
mod measure;
#[cfg(feature = "daemon")]
pub mod private_server;
#[cfg(feature = "daemon")]
pub mod projection;
#[cfg(feature = "daemon")]
pub mod projector;
#[cfg(feature = "daemon")]
mod pulse;
#[cfg(feature = "daemon")]
mod secret;
#[cfg(all(feature = "daemon", feature = "testing"))]
pub mod testing;
// The command `test` is there also without the feature.
#[cfg(all(feature = "daemon", not(feature = "testing")))]
#[allow(dead_code, unused_imports)]
mod testing;

#[cfg(all(feature = "daemon", feature = "testing"))]
#[doc(hidden)]
pub mod fuzzing;

/// The README's examples, compiled.
#[cfg(all(doctest, feature = "daemon"))]
#[doc = include_str!("../README.md")]
struct Readme;
