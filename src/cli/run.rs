//! `projectord run`

use clap::Args;

use super::exit::{Code, Failed};
use crate::config::Loaded;
use crate::daemon::{Daemon, Notify, Outcome, RunError};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// End once every projection has reached the log's head as it was at the start.
    #[arg(long)]
    until_caught_up: bool,
}

pub(super) async fn run(loaded: Loaded, arguments: Arguments) -> Result<Code, Failed> {
    let level = loaded.config.log.start();
    let notify = Notify::from_environment();
    let notify = notify.map_err(|error| Failed::new(Code::Failed, format!("NOTIFY_SOCKET: {error}")))?;
    let mut daemon = Daemon::builder(loaded.config).reload(loaded.file, level.clone()).notify(notify);
    if arguments.until_caught_up {
        daemon = daemon.until_caught_up();
    }
    let ended = daemon.run().await;
    level.flush().await;
    match ended {
        Ok(Outcome::Stopped | Outcome::CaughtUp) => Ok(Code::Done),
        Ok(Outcome::Halted(names)) => Err(Failed::new(
            Code::Halted,
            format!("halted: {}; `projectord status` says why", names.join(", ")),
        )),
        Err(error @ (RunError::Projections(_) | RunError::Config(_))) => {
            Err(Failed::new(Code::Config, error))
        }
        Err(RunError::Migrate(error)) => Err(error.into()),
        Err(error @ RunError::Failed(_)) => Err(Failed::new(Code::Failed, error)),
    }
}
