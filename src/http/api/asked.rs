//! What a path and a query ask for. A name that cannot be one is a name that nothing has.

use std::time::Duration;

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use uuid::Uuid;

use crate::event::StreamId;
use crate::http::Problem;
use crate::projection::Pattern;

/// 2^53 − 1: the largest number that every reader of JSON has exactly, and far more events than there are.
pub(super) const MOST_EXACT: u64 = 9_007_199_254_740_991;

/// The projection of a path.
#[derive(Debug)]
pub(super) struct Name(pub(super) String);

/// The stream of a path.
#[derive(Debug)]
pub(super) struct OfStream(pub(super) StreamId);

/// What follows the path.
#[derive(Debug)]
pub(super) struct Asked<T>(pub(super) T);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let name = part(parts, state).await?;
        match is_name(&name) {
            true => Ok(Self(name)),
            false => Err(Problem::not_found("no projection can have this name")),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for OfStream {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let stream = part(parts, state).await?;
        match Uuid::parse_str(&stream) {
            Ok(stream) => Ok(Self(StreamId(stream))),
            Err(_) => Err(Problem::not_found("no stream can have this name: it is no UUID")),
        }
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(asked)) => Ok(Self(asked)),
            // It may repeat what was asked.
            Err(error) => Err(bad(error.body_text().chars().take(300).collect::<String>())),
        }
    }
}

async fn part<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<String, Problem> {
    match Path::from_request_parts(parts, state).await {
        Ok(Path(part)) => Ok(part),
        Err(_) => Err(Problem::not_found("no name is written so")),
    }
}

/// Whether a projection could have this name.
pub(super) fn is_name(text: &str) -> bool {
    text.len() <= 48
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// The request is not one that can be answered.
pub(super) fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

/// How many are asked for, and not more than `most`.
pub(super) fn limit(asked: Option<u32>, usual: u32, most: u32) -> Result<u32, Problem> {
    match asked.unwrap_or(usual) {
        limit if (1..=most).contains(&limit) => Ok(limit),
        limit => Err(bad(format!("limit: {limit} is not in 1 to {most}"))),
    }
}

/// Event types as a pattern for LIKE.
pub(super) fn type_like(glob: Option<&str>) -> Result<Option<String>, Problem> {
    let pattern = glob.map(Pattern::new).transpose().map_err(|problem| bad(format!("type: {problem}")))?;
    Ok(pattern.map(|pattern| pattern.to_like()))
}

/// A time such as `5s`, and not longer than `most`.
pub(super) fn time(asked: Option<&str>, usual: Duration, most: Duration) -> Result<Duration, Problem> {
    let Some(text) = asked else { return Ok(usual) };
    match humantime_serde::re::humantime::parse_duration(text) {
        Ok(time) if time <= most => Ok(time),
        Ok(_) => Err(bad(format!("timeout: it is longer than {most:?}"))),
        Err(_) => Err(bad("timeout: it is no time such as 5s or 250ms")),
    }
}

/// A number of JSON that counts something: `3`, and `3.0`, which is the same number.
pub(super) fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = serde_json::Number::deserialize(deserializer)?;
    #[expect(clippy::cast_precision_loss, reason = "it is exact")]
    let is_whole = |float: &f64| (0.0..=MOST_EXACT as f64).contains(float) && float.fract() == 0.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is whole")]
    let exact = number.as_f64().filter(is_whole).map(|float| float as u64);
    match number.as_u64().filter(|it| *it <= MOST_EXACT).or(exact) {
        Some(count) => Ok(count),
        None => {
            Err(serde::de::Error::custom(format!("{number} is not a whole number that counts something")))
        }
    }
}
