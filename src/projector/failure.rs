//! Why a projection is halted, for whoever has to look.

use std::fmt;

use serde::{Deserialize, Serialize};
use sqlx::postgres::PgDatabaseError;
use uuid::Uuid;

use crate::event::Position;
use crate::postgres::describe;
use crate::projection::Compiled;

/// Why a projection is halted, or in backoff.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Failure {
    /// What happened.
    pub message: String,
    /// PostgreSQL's code for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sqlstate: Option<String>,
    /// More from PostgreSQL; it may repeat an event's data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The handler, as `OrderCreated.sql:3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The event that it failed at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<FailedEvent>,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Which event a handler failed at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedEvent {
    /// Its place in the log.
    pub position: Position,
    /// Its type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// Its stream.
    pub stream_id: Uuid,
    /// Its place in its stream.
    pub version: i64,
}

impl Failure {
    /// What PostgreSQL said, and where in the projection's files.
    pub(crate) fn of(error: &sqlx::Error, compiled: &Compiled) -> Self {
        let Some(database) = error.as_database_error() else {
            return Self { message: describe(error), ..Self::default() };
        };
        let postgres = database.try_downcast_ref::<PgDatabaseError>();
        let source = postgres.and_then(|error| error.r#where()).and_then(body_line);
        let source = source.and_then(|line| compiled.source(line));
        Self {
            message: database.message().to_owned(),
            sqlstate: database.code().map(Into::into),
            detail: postgres.and_then(PgDatabaseError::detail).map(Into::into),
            file: source.map(|(file, line)| format!("{file}:{line}")),
            event: None,
            hint: postgres.and_then(PgDatabaseError::hint).map(Into::into),
        }
    }

    /// Whether it can be this one event's fault. A table that is missing, or a right, fails for every event alike.
    pub(crate) fn is_of_the_event(&self) -> bool {
        let code = self.sqlstate.as_deref().unwrap_or("");
        ["21", "22", "23", "P0", "57014"].iter().any(|class| code.starts_with(class))
    }

    /// What happened, where there is nothing left to do about it.
    pub(crate) fn without_hint(&self) -> Self {
        Self { hint: None, ..self.clone() }
    }

    /// For the log: whole, where it cannot quote an event.
    pub(crate) fn for_log(&self) -> ForLog<'_> {
        ForLog(self)
    }

    /// A failure with a reason of our own.
    pub(super) fn saying(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: Some(hint.into()), ..Self::default() }
    }
}

/// The line that PostgreSQL's context names: `PL/pgSQL function
/// projectord_apply(bigint,bigint,…) line 12 at SQL statement`. Only to show a reader the place; where it says
/// nothing, nothing is shown.
fn body_line(context: &str) -> Option<usize> {
    let (_, rest) =
        context.split_once("projectord_apply(").or_else(|| context.split_once("projectord_upcast("))?;
    let (_, rest) = rest.split_once(')')?;
    rest.split_whitespace().find_map(|word| word.parse().ok())
}

/// A failure as the daemon's log has it.
pub(crate) struct ForLog<'a>(&'a Failure);

impl fmt::Display for ForLog<'_> {
    /// What a handler says of an event may quote the event, and logs go where events must not.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(failure) = self;
        let may_quote = match failure.sqlstate.as_deref() {
            Some(code) => ["21", "22", "23", "P0"].iter().any(|class| code.starts_with(class)),
            // Of a handler in Rust; or a reason of our own, which is of no event.
            None => failure.event.is_some(),
        };
        if !may_quote {
            return failure.fmt(f);
        }
        let message =
            "refused by the handler; `projectord status` and `projectord parked` have its words".into();
        Failure { message, hint: None, ..(*failure).clone() }.fmt(f)
    }
}

impl fmt::Display for Failure {
    /// Without PostgreSQL's detail.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}: ")?;
        }
        f.write_str(&self.message)?;
        if let Some(sqlstate) = &self.sqlstate {
            write!(f, " (SQLSTATE {sqlstate})")?;
        }
        if let Some(event) = &self.event {
            let FailedEvent { position, event_type, stream_id, version } = event;
            write!(f, " at event {position}, {event_type:?}, version {version} of stream {stream_id}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "; hint: {hint}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_has_the_words_of_what_is_no_single_events_fault_and_of_nothing_else() {
        let event = FailedEvent {
            position: Position(7),
            event_type: "Moved".into(),
            stream_id: Uuid::nil(),
            version: 3,
        };
        let failed = |sqlstate: Option<&str>, event: Option<&FailedEvent>| {
            let failure = Failure {
                message: "text".into(),
                sqlstate: sqlstate.map(Into::into),
                event: event.cloned(),
                hint: Some("hint".into()),
                ..Failure::default()
            };
            failure.for_log().to_string()
        };
        for quoting in [Some("22P02"), Some("23514"), Some("P0001"), None] {
            let said = failed(quoting, Some(&event));
            assert!(!said.contains("text") && !said.contains("hint"), "{said}");
            assert!(said.contains("event 7") && said.contains(quoting.unwrap_or("status")), "{said}");
        }
        for whole in [failed(Some("42P01"), Some(&event)), failed(Some("57014"), None), failed(None, None)] {
            assert!(whole.contains("text") && whole.contains("hint"), "{whole}");
        }
    }
}
