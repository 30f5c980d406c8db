//! Values that hold a secret, and never show it.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

/// A URL. Printed, it has `***` where the password is.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct SecretUrl(String);

impl SecretUrl {
    /// The URL with its password, to connect with.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<&str> for SecretUrl {
    fn from(url: &str) -> Self {
        Self(url.to_owned())
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The password is somewhere before the last @; also where the URL is not well-formed, as with a / or
        // a ? in it. Parameters may hold one too.
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("", &self.0));
        let separator = if scheme.is_empty() { "" } else { "://" };
        let (user, place) = rest.rsplit_once('@').map_or((None, rest), |(user, place)| (Some(user), place));
        let (place, parameters) = place.split_once('?').unwrap_or((place, ""));
        write!(f, "{scheme}{separator}")?;
        if let Some(user) = user {
            let (name, secret) =
                user.split_once([':', '/', '?']).map_or((user, ""), |(name, _)| (name, ":***"));
            write!(f, "{name}{secret}@")?;
        }
        f.write_str(place)?;
        if !parameters.is_empty() {
            f.write_str("?***")?;
        }
        Ok(())
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

impl Serialize for SecretUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Text that is a secret as a whole. Printed, it is `***`, and nothing where there is none.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct SecretText(String);

impl SecretText {
    /// The text.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<&str> for SecretText {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "" } else { "***" })
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

impl Serialize for SecretText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        for (given, shown) in [
            ("postgres://u:s3cret@h:5/d", "postgres://u:***@h:5/d"),
            ("postgres://u:s3@cret@h/d", "postgres://u:***@h/d"),
            ("postgres://u:s3?cret@h/d", "postgres://u:***@h/d"),
            ("postgres://h/d?password=s3cret", "postgres://h/d?***"),
            ("postgres://h/d?password=s3cret@x", "postgres://h:***@x"),
            ("postgres://u:s3/cret@h/d?password=s3cret", "postgres://u:***@h/d?***"),
            ("u:s3cret@h", "u:***@h"),
            ("postgres://h:5432/d", "postgres://h:5432/d"),
        ] {
            let url = SecretUrl::from(given);
            assert_eq!(url.to_string(), shown);
            assert!(!format!("{url:?}{}", serde_json::to_string(&url).unwrap()).contains("cret"));
        }
    }

    #[test]
    fn a_secret_text_is_never_shown() {
        let text = SecretText::from("read grafana s3cret");
        assert_eq!(
            format!("{text} {text:?} {}", serde_json::to_string(&text).unwrap()),
            r#"*** "***" "***""#
        );
        assert_eq!(SecretText::default().to_string(), "");
    }
}
