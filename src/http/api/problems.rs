//! What the parts below answer when something is not done, as HTTP has it.

use std::time::Duration;

use axum::http::StatusCode;

use crate::control::ControlError;
use crate::http::Problem;
use crate::postgres::{describe, sqlstate};
use crate::store::{AppendError, ExpectedVersion, LoadError};

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::NotFound(what) => Self::not_found(what),
            ControlError::Conflict(what) => Self::new(StatusCode::CONFLICT, what),
            ControlError::Halted(what) => Self::new(StatusCode::CONFLICT, what).kind("halted"),
            ControlError::Config(what) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, what).kind("projection-wrong")
            }
            ControlError::Postgres(error) if is_in_the_way(&error) => {
                Self::new(StatusCode::CONFLICT, describe(&error))
            }
            // The limit is ours and not that of batches: most likely it has waited for what a batch holds.
            ControlError::Postgres(error) if has_code(&error, &["57014"]) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "it took too long: perhaps a batch is in hand; try again",
            )
            .retry_after(Duration::from_secs(2)),
            ControlError::Postgres(error) => error.into(),
        }
    }
}

/// A swap that cannot be made as things are now.
fn is_in_the_way(error: &sqlx::Error) -> bool {
    has_code(error, &["PJ009", "PJ011", "PJ012", "PJ014"])
}

fn has_code(error: &sqlx::Error, codes: &[&str]) -> bool {
    sqlstate(error).is_some_and(|code| codes.contains(&&*code))
}

impl From<AppendError> for Problem {
    fn from(error: AppendError) -> Self {
        let detail = error.to_string();
        match error {
            AppendError::Conflict { expected, actual, .. } => {
                let expected = match expected {
                    ExpectedVersion::NoStream => "none".into(),
                    ExpectedVersion::Any => "any".into(),
                    ExpectedVersion::Exact(version) => serde_json::Value::from(version.0),
                };
                Self::new(StatusCode::CONFLICT, detail)
                    .kind("conflict")
                    .with("expected", expected)
                    .with("actual", actual.0)
            }
            AppendError::TooLarge(_) => Self::new(StatusCode::PAYLOAD_TOO_LARGE, detail).kind("too-large"),
            AppendError::Invalid(refusal) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
                .kind("refused")
                .with("place", refusal.place.trim_end_matches(": "))
                .with("reason", refusal.reason),
            AppendError::Unavailable { commit, .. } => Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
                .kind("unavailable")
                .with("commit_id", commit.to_string())
                .retry_after(Duration::from_secs(2)),
        }
    }
}

impl From<LoadError> for Problem {
    fn from(error: LoadError) -> Self {
        let detail = error.to_string();
        match error {
            LoadError::NotFound(_) => Self::not_found(detail),
            LoadError::Damaged { .. } => Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail).kind("damaged"),
            LoadError::Unavailable { .. } => Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
                .kind("unavailable")
                .retry_after(Duration::from_secs(2)),
        }
    }
}
