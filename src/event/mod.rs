//! Events: what happened, in which stream, at which place.
//!
//! An event belongs to a *stream* (one aggregate's events) and has a [`Version`], its place in that
//! stream. Once it is in the log it also has a [`Position`], its place among all events. The first of
//! either is 1. This module has no I/O.

mod canonical;
mod id;
mod new;
mod recorded;
mod rules;

pub use id::{CommitId, Position, StreamId, Version};
pub use new::{Commit, NewEvent};
pub use recorded::Event;
pub use rules::{Limits, Refusal};

pub(crate) use canonical::canonical;
