//! Which server: `rethinkdb://user:password@host:port/database`, or `rethinkdbs://…` with TLS.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use thiserror::Error;
use url::Url;

use super::tunnel::Tls;

/// A RethinkDB server and the database on it.
#[derive(Clone, PartialEq, Eq)]
pub struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) password: String,
    pub(super) database: String,
    pub(super) tls: Option<Tls>,
}

/// The URL is not one. The URL itself is not repeated, since it may hold a password.
#[derive(Debug, Error)]
#[error("not a RethinkDB URL (rethinkdb://user:password@host:port/database, with TLS rethinkdbs://): {0}")]
pub struct UrlError(String);

impl FromStr for Server {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let url = Url::parse(text).map_err(|error| UrlError(error.to_string()))?;
        let tls = match url.scheme() {
            "rethinkdb" if url.query().is_some() => {
                return Err(UrlError("what follows ? is for TLS; say rethinkdbs://".into()));
            }
            "rethinkdb" => None,
            "rethinkdbs" => Some(tls(&url)?),
            other => return Err(UrlError(format!("the scheme is {other}"))),
        };
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let database = decoded(url.path().trim_start_matches('/'));
        // RethinkDB's own rule for names.
        let valid = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if database.is_empty() || !database.chars().all(valid) {
            return Err(UrlError("it must end in the database's name: letters, digits, _ and -".into()));
        }
        Ok(Self {
            host: url.host_str().filter(|host| !host.is_empty()).unwrap_or("localhost").to_owned(),
            port: url.port().unwrap_or(28015),
            user: if url.username().is_empty() { "admin".into() } else { decoded(url.username()) },
            password: decoded(url.password().unwrap_or("")),
            database,
            tls,
        })
    }
}

/// `?ca=FILE&cert=FILE&key=FILE`, and whether those files will do.
fn tls(url: &Url) -> Result<Tls, UrlError> {
    let (mut ca, mut cert, mut key) = (None, None, None);
    for (name, file) in url.query_pairs() {
        let place = match name.as_ref() {
            "ca" => &mut ca,
            "cert" => &mut cert,
            "key" => &mut key,
            other => return Err(UrlError(format!("{other:?} is unknown; known are ca, cert, key"))),
        };
        *place = Some(PathBuf::from(file.as_ref()));
    }
    let client = match (cert, key) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        _ => return Err(UrlError("cert and key go together".into())),
    };
    let tls = Tls { ca, client };
    tls.config().map_err(UrlError)?;
    Ok(tls)
}

impl fmt::Display for Server {
    /// `host:port/database`, without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.host, self.port, self.database)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_defaults_and_hides_its_password() {
        let server: Server = "rethinkdb://writer:s%40crt@db.example:28016/shop".parse().unwrap();
        assert_eq!((server.user.as_str(), server.password.as_str()), ("writer", "s@crt"));
        assert_eq!(format!("{server} {server:?}"), "db.example:28016/shop Server(db.example:28016/shop)");
        let server: Server = "rethinkdb://localhost/shop".parse().unwrap();
        assert_eq!((server.port, server.user.as_str()), (28015, "admin"));
    }

    #[test]
    fn a_bad_url_says_why_and_not_what() {
        for bad in
            ["http://u:secret@h/shop", "rethinkdb://u:secret@h", "rethinkdb://u:secret@h/a b", "nothing"]
        {
            let error = bad.parse::<Server>().unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
