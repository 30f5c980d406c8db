//! A URL that may hold a password, and never shows it.

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
        // The password is between the first colon after the scheme and the last @ before the path; also
        // where the URL is not well-formed. Parameters may hold one too.
        let (url, parameters) = self.0.split_once('?').map_or((self.0.as_str(), ""), |(url, rest)| (url, rest));
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let separator = if scheme.is_empty() { "" } else { "://" };
        match rest.rsplit_once('@') {
            Some((user, place)) => {
                let user = user.split(':').next().unwrap_or("");
                let secret = if rest.contains(':') { ":***" } else { "" };
                write!(f, "{scheme}{separator}{user}{secret}@{place}")?;
            }
            None => write!(f, "{scheme}{separator}{rest}")?,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        for (given, shown) in [
            ("postgres://u:s3cret@h:5/d", "postgres://u:***@h:5/d"),
            ("postgres://u:s3@cret@h/d", "postgres://u:***@h/d"),
            ("postgres://h/d?password=s3cret", "postgres://h/d?***"),
            ("u:s3cret@h", "u:***@h"),
            ("postgres://h:5432/d", "postgres://h:5432/d"),
        ] {
            let url = SecretUrl::from(given);
            assert_eq!(url.to_string(), shown);
            assert!(!format!("{url:?}{}", serde_json::to_string(&url).unwrap()).contains("s3cret"));
        }
    }
}
