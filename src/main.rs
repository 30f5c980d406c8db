//! The `projectord` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    projectord::cli::main()
}
