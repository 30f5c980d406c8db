//! The daemon: starts the loops, watches over them, and ends them in order.

mod bells;
mod caught_up;
mod fleet;
mod health;
mod keeper;

mod run;
mod signals;

pub use run::{Mode, Outcome, RunError, run};
