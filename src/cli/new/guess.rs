//! From values to a column: which type holds all of them, and what to call it.

use chrono::DateTime;
use serde_json::Value;
use uuid::Uuid;

/// What a key's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Boolean,
    Integer,
    Number,
    Uuid,
    Time,
    Text,
    Json,
}

impl Kind {
    pub(super) fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Boolean,
            Value::Number(number) if number.is_i64() => Self::Integer,
            Value::Number(_) => Self::Number,
            Value::String(text) if text.len() == 36 && Uuid::try_parse(text).is_ok() => Self::Uuid,
            Value::String(text) if DateTime::parse_from_rfc3339(text).is_ok() => Self::Time,
            Value::String(_) => Self::Text,
            Value::Array(_) | Value::Object(_) => Self::Json,
        }
    }

    /// What holds values of both.
    pub(super) fn with(self, other: Self) -> Self {
        match (self, other) {
            (one, other) if one == other => one,
            (Self::Null, kind) | (kind, Self::Null) => kind,
            (Self::Json, _) | (_, Self::Json) => Self::Json,
            (Self::Integer, Self::Number) | (Self::Number, Self::Integer) => Self::Number,
            _ => Self::Text,
        }
    }

    pub(super) fn sql_type(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Integer => "bigint",
            Self::Number => "numeric",
            Self::Uuid => "uuid",
            Self::Time => "timestamptz",
            Self::Null | Self::Text => "text",
            Self::Json => "jsonb",
        }
    }

    /// How a handler reads such a value.
    pub(super) fn read(self, key: &str) -> String {
        let key = match key.contains('\\') {
            true => format!("E'{}'", key.replace('\\', "\\\\").replace('\'', "''")),
            false => format!("'{}'", key.replace('\'', "''")),
        };
        match self {
            Self::Json => format!("event.data->{key}"),
            Self::Null | Self::Text => format!("event.data->>{key}"),
            kind => format!("(event.data->>{key})::{}", kind.sql_type()),
        }
    }
}

/// `userId` as `user_id`: a-z, 0-9 and _, beginning with a letter, unlike `taken`.
pub(super) fn snake_case(text: &str, taken: &mut Vec<String>) -> String {
    let mut name = String::new();
    let mut after_lower = false;
    for c in text.chars() {
        if c.is_ascii_uppercase() && after_lower {
            name.push('_');
        }
        after_lower = c.is_ascii_lowercase() || c.is_ascii_digit();
        match c.to_ascii_lowercase() {
            c @ ('a'..='z' | '0'..='9') => name.push(c),
            _ if name.ends_with('_') => {}
            _ => name.push('_'),
        }
    }
    let name = name.trim_matches('_');
    let mut name = match name.starts_with(|c: char| c.is_ascii_lowercase()) {
        true => name.to_owned(),
        false => format!("data_{name}").trim_end_matches('_').to_owned(),
    };
    name.truncate(48);
    if taken.contains(&name) {
        name = format!("data_{name}");
    }
    let stem = name.clone();
    let mut nth = 1;
    while taken.contains(&name) {
        nth += 1;
        name = format!("{stem}_{nth}");
    }
    taken.push(name.clone());
    name
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_type_holds_all_values() {
        for (values, sql) in [
            (json!([1, 2, null]), "bigint"),
            (json!([1, 2.5]), "numeric"),
            (json!([true, false]), "boolean"),
            (json!(["2010-10-01T00:00:00.020+02:00", "2010-10-01T00:00:00Z"]), "timestamptz"),
            (json!(["2010-10-01"]), "text"),
            (json!(["6763e85f-f8d5-5bee-ad04-4ed1d6d49798"]), "uuid"),
            (json!(["6763e85f-f8d5-5bee-ad04-4ed1d6d49798", "x"]), "text"),
            (json!([1, "x", true]), "text"),
            (json!([1, {"a": 1}]), "jsonb"),
            (json!([null]), "text"),
        ] {
            let kind = values.as_array().unwrap().iter().map(Kind::of).fold(Kind::Null, Kind::with);
            assert_eq!(kind.sql_type(), sql, "{values}");
        }
    }

    #[test]
    fn a_column_has_a_plain_name_of_its_own() {
        let mut taken = vec!["id".to_owned()];
        let names = ["userId", "user-id", "Id", "ä", "2nd", "HTTPStatus", "user_id"]
            .map(|key| snake_case(key, &mut taken));
        assert_eq!(
            names,
            ["user_id", "data_user_id", "data_id", "data", "data_2nd", "httpstatus", "data_user_id_2"]
        );
    }
}
