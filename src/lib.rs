//! An event store on RethinkDB or PostgreSQL, and the parts of a daemon that keeps disposable read
//! models in PostgreSQL.
//!
//! Writers embed [`store`]: append events to a stream under optimistic concurrency, load them back.
//! With `default-features = false` and one of the features `rethinkdb` and `postgres`, nothing else is
//! compiled. The modules below are in reading order, and each imports only from those above it;
//! `docs/architecture.md` has the picture.

// A writer with one backend uses a part of what all of them share.
#![cfg_attr(not(feature = "daemon"), allow(dead_code))]

// What all the others are made of.

mod text;

mod backoff;

mod sabotage;

#[cfg(feature = "daemon")]
mod fault;

#[cfg(feature = "daemon")]
pub mod shutdown;

#[cfg(feature = "daemon")]
mod secret;

#[cfg(feature = "daemon")]
mod measure;

// The event store: with what stands above, all that a writer who embeds it compiles.

pub mod event;

#[cfg(feature = "postgres")]
pub mod postgres;

pub mod store;

// The daemon's two loops: from the store into the log, from the log into the read models.

#[cfg(feature = "daemon")]
mod spans;

#[cfg(feature = "daemon")]
pub mod log;

#[cfg(feature = "daemon")]
pub mod lease;

#[cfg(feature = "daemon")]
pub mod ingest;

#[cfg(feature = "daemon")]
pub mod projection;

#[cfg(feature = "daemon")]
pub mod projector;

// How it is set up, watched and operated.

#[cfg(feature = "otlp")]
mod otlp;

#[cfg(feature = "daemon")]
pub mod config;

#[cfg(feature = "daemon")]
mod health;

#[cfg(feature = "daemon")]
mod pulse;

#[cfg(feature = "daemon")]
pub mod control;

#[cfg(feature = "daemon")]
mod http;

#[cfg(feature = "daemon")]
pub mod daemon;

// What people have in their hands.

#[cfg(all(feature = "daemon", feature = "testing"))]
pub mod testing;
// The command `test` is there also without the feature.
#[cfg(all(feature = "daemon", not(feature = "testing")))]
#[allow(dead_code, unused_imports)]
mod testing;

#[cfg(feature = "daemon")]
pub mod private_server;

#[cfg(feature = "daemon")]
pub mod cli;

#[cfg(all(feature = "daemon", feature = "testing"))]
#[doc(hidden)]
pub mod fuzzing;

/// The README's examples, compiled.
#[cfg(all(doctest, feature = "daemon"))]
#[doc = include_str!("../README.md")]
struct Readme;
