//! The daemon: starts the loops, watches over them, and ends them in order.

mod caught_up;
mod fleet;
mod heartbeat;
mod listener;
mod run;
mod signals;

pub use run::{Mode, Outcome, RunError, run};
