//! The daemon: starts the loops, watches over them, and ends them in order.

mod bells;
mod builder;
mod caught_up;
mod fleet;
mod health;
mod keeper;
mod notify;
mod prepare;
mod reload;
mod run;
mod signals;

pub use builder::Daemon;
pub use notify::Notify;
pub use run::{Outcome, RunError};
