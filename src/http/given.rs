//! The body of a request, read as JSON.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use serde::de::DeserializeOwned;

use super::Problem;

/// What a request gives as JSON. No body is an empty object.
#[derive(Debug)]
pub(super) struct Given<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Given<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = Bytes::from_request(request, state).await.map_err(|error| {
            Problem::new(error.status(), format!("the body could not be read: {}", error.body_text()))
        })?;
        let text: &[u8] = if bytes.trim_ascii().is_empty() { b"{}" } else { &bytes };
        // A list would do for a structure, by the order of its fields.
        let given = match text.trim_ascii_start().first() {
            Some(b'{') => serde_json::from_slice(text).map_err(|error| error.to_string()),
            _ => Err("expected an object of JSON".into()),
        };
        given.map(Self).map_err(|error| {
            // It may repeat what was given.
            let error: String = error.chars().take(300).collect();
            Problem::new(StatusCode::BAD_REQUEST, format!("the body is not what is asked for: {error}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Asked {
        held: bool,
    }

    async fn given(text: &'static str) -> Result<bool, Problem> {
        Given::<Asked>::from_request(Request::new(Body::from(text)), &()).await.map(|Given(asked)| asked.held)
    }

    #[tokio::test]
    async fn no_body_is_an_empty_object_and_what_is_no_json_is_said() {
        assert!(!given("").await.unwrap() && !given(" \n").await.unwrap() && !given("{}").await.unwrap());
        assert!(given(r#"{"held": true}"#).await.unwrap());
        for (text, said) in
            [("{", "EOF"), ("[1]", "expected"), (r#"{"help": 1}"#, "`help`"), (r#"{"held": 1}"#, "boolean")]
        {
            let problem = format!("{:?}", given(text).await.unwrap_err());
            assert!(problem.contains("400") && problem.contains(said), "{problem}");
        }
    }
}
