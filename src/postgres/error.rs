//! What a PostgreSQL error means for what to do next. By SQLSTATE, never by message.

use std::borrow::Cow;

use sqlx::Error;
use sqlx::error::{DatabaseError, ErrorKind};
use sqlx::postgres::{PgDatabaseError, PgSeverity};

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The server is away, starting, out of connections, space or memory: wait, connect again, read
    /// again what was committed. What was under way may or may not have been.
    Away,
    /// Two transactions got into each other's way: the same again.
    Again,
    /// The checkpoint is not where it was: somebody else moved it.
    Fenced,
    /// The statement itself is wrong, or a rule of the data refused it: it will fail again.
    Statement,
}

/// PostgreSQL's code for an error, where it is PostgreSQL's.
pub fn sqlstate(error: &Error) -> Option<Cow<'_, str>> {
    error.as_database_error().and_then(DatabaseError::code)
}

/// Sorts an error. One place, every case.
pub fn classify(error: &Error) -> Class {
    match error {
        // It ended the session, or let none begin, and so is no statement's, whatever its code: a database that takes no
        // connections is 55000, a full disk may be XX000.
        Error::Database(database) if is_fatal(database.as_ref()) => Class::Away,
        Error::Database(database) => match database.kind() {
            ErrorKind::UniqueViolation
            | ErrorKind::ForeignKeyViolation
            | ErrorKind::NotNullViolation
            | ErrorKind::CheckViolation
            | ErrorKind::ExclusionViolation => Class::Statement,
            _ => classify_sqlstate(database.code().as_deref().unwrap_or("")),
        },
        Error::Io(_)
        | Error::Tls(_)
        | Error::Protocol(_)
        | Error::PoolTimedOut
        | Error::PoolClosed
        | Error::WorkerCrashed => Class::Away,
        _ => Class::Statement,
    }
}

fn is_fatal(error: &dyn DatabaseError) -> bool {
    let severity = error.try_downcast_ref::<PgDatabaseError>().map(PgDatabaseError::severity);
    matches!(severity, Some(PgSeverity::Fatal | PgSeverity::Panic))
}

fn classify_sqlstate(code: &str) -> Class {
    match code {
        "PJ001" => Class::Fenced,
        // serialization failure, deadlock, lock timeout, stale plan after a change of tables
        "40001" | "40P01" | "55P03" | "0A000" => Class::Again,
        // connection exceptions; shutdown, crash, starting up; idle session ended
        code if code.starts_with("08") || code.starts_with("57P") || code == "25P03" => Class::Away,
        // refused at the door: password, role or database may be put right while we wait
        "28P01" | "28000" | "3D000" => Class::Away,
        // disk full, out of memory, too many connections, I/O error, read-only standby
        "53000" | "53100" | "53200" | "53300" | "58030" | "25006" => Class::Away,
        _ => Class::Statement,
    }
}

/// The error for a reader: message, SQLSTATE, and what to do next where that is known.
pub fn describe(error: &Error) -> String {
    match error {
        Error::Database(database) => {
            let code = database.code().unwrap_or_default();
            let hint = hint(&code).map(|hint| format!("; {hint}")).unwrap_or_default();
            format!("{} (SQLSTATE {code}){hint}", database.message())
        }
        Error::PoolTimedOut => "no connection to PostgreSQL could be had in time".into(),
        Error::Io(error) => format!("cannot reach PostgreSQL: {error}"),
        Error::Tls(error) => format!("TLS to PostgreSQL: {error}"),
        other => other.to_string(),
    }
}

/// What usually helps.
fn hint(code: &str) -> Option<&'static str> {
    Some(match code {
        "28P01" | "28000" => "check user and password in [postgres] url and the server's pg_hba.conf",
        "3D000" => "create the database first: createdb NAME",
        "42501" => "the role lacks a right on this object",
        "3F000" | "42P01" | "42883" => "run `projectord setup` if this names projectord.*",
        "53100" => "the server's disk is full; it goes on by itself when there is space",
        "53300" => "raise max_connections on the server or lower [postgres] connections",
        "57014" => "raise [projector] batch_timeout, or make the handler cheaper",
        _ => return None,
    })
}
