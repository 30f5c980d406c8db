//! Exit codes, and what a failed command says.

use std::fmt::Display;
use std::process::ExitCode;

use crate::control::ControlError;
use crate::postgres::{Class, MigrateError, classify, describe};
use crate::store::{AppendError, LoadError};

/// For `--help`.
pub(super) const HELP: &str = "Exit codes:
  0   done
  1   failed; the message says what and what to do
  2   the command line is wrong
  3   a projection is halted: `projectord status` says why
  4   conflict: the stream is not at the expected version
  5   not found
  69  a server is unavailable
  78  configuration or a projection is wrong";

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    Done = 0,
    Failed = 1,
    Usage = 2,
    Halted = 3,
    Conflict = 4,
    NotFound = 5,
    Unavailable = 69,
    Config = 78,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// A command that failed.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) code: Code,
    pub(super) message: String,
}

impl Failed {
    pub(super) fn new(code: Code, message: impl Display) -> Self {
        Self { code, message: message.to_string() }
    }
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        let code = if classify(&error) == Class::Away { Code::Unavailable } else { Code::Failed };
        Self::new(code, describe(&error))
    }
}

impl From<ControlError> for Failed {
    fn from(error: ControlError) -> Self {
        let code = match error {
            ControlError::NotFound(_) => Code::NotFound,
            ControlError::Conflict(_) => Code::Conflict,
            ControlError::Halted(_) => Code::Halted,
            ControlError::Config(_) => Code::Config,
            ControlError::Postgres(error) => return error.into(),
        };
        Self::new(code, error)
    }
}

impl From<MigrateError> for Failed {
    fn from(error: MigrateError) -> Self {
        let code = match &error {
            MigrateError::Postgres(error) if classify(error) == Class::Away => Code::Unavailable,
            _ => Code::Failed,
        };
        Self::new(code, error)
    }
}

impl From<AppendError> for Failed {
    fn from(error: AppendError) -> Self {
        let code = match &error {
            AppendError::Conflict { .. } => Code::Conflict,
            AppendError::Unavailable { .. } => Code::Unavailable,
            _ => Code::Failed,
        };
        Self::new(code, error)
    }
}

impl From<LoadError> for Failed {
    fn from(error: LoadError) -> Self {
        let code = match &error {
            LoadError::NotFound(_) => Code::NotFound,
            LoadError::Unavailable { .. } => Code::Unavailable,
            LoadError::Damaged { .. } => Code::Failed,
        };
        Self::new(code, error)
    }
}
