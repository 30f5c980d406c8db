//! Who may do what: the lines of the tokens' file, and finding a token among them.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::Http;

/// What a caller may do. Each may also do what stands before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// Read whatever there is: status, metrics, events, rows.
    Read,
    /// Append to streams.
    Write,
    /// Pause, rebuild, skip, and the like.
    Operate,
}

impl Role {
    fn parse(word: &str) -> Option<Self> {
        match word {
            "read" => Some(Self::Read),
            "write" => Some(Self::Write),
            "operate" => Some(Self::Operate),
            _ => None,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Operate => "operate",
        })
    }
}

/// All tokens, as their hashes: what is not kept cannot be shown.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tokens(Vec<Entry>);

#[derive(Clone)]
struct Entry {
    role: Role,
    name: String,
    hash: [u8; 32],
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ***", self.role, self.name)
    }
}

impl Tokens {
    /// The tokens' file, and what the configuration holds itself.
    pub(crate) fn load(http: &Http) -> Result<Self, String> {
        let mut tokens =
            Self::parse(http.tokens.reveal()).map_err(|problem| format!("http.tokens: {problem}"))?;
        if let Some(path) = &http.tokens_file {
            let problem = |what: String| format!("http.tokens_file: {}: {what}", path.display());
            let text =
                std::fs::read_to_string(path).map_err(|error| problem(format!("cannot read it: {error}")))?;
            let found = Self::parse(&text).map_err(problem)?;
            // Whoever names a file wants tokens to be asked for.
            if found.is_empty() {
                return Err(problem("it holds no token: write a line such as `operate NAME TOKEN`".into()));
            }
            tokens.0.extend(found.0);
        }
        Ok(tokens)
    }

    /// `read|write|operate NAME TOKEN` a line. What is wrong is said by the line's number: what stands there may be a
    /// secret.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut entries = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            let entry = match words.as_slice() {
                [role, name, token] => Role::parse(role).map(|role| Entry {
                    role,
                    name: (*name).to_owned(),
                    hash: Sha256::digest(token).into(),
                }),
                _ => None,
            };
            match entry {
                Some(entry) => entries.push(entry),
                None => {
                    let line = at + 1;
                    return Err(format!(
                        "line {line} is not: read, write or operate, then a name, then a token"
                    ));
                }
            }
        }
        Ok(Self(entries))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whose token it is. Every one is compared, and as a whole, so that the time it takes tells nothing.
    pub(crate) fn find(&self, token: &str) -> Option<(&str, Role)> {
        let hash: [u8; 32] = Sha256::digest(token).into();
        let mut found = None;
        for entry in &self.0 {
            if bool::from(entry.hash.ct_eq(&hash)) {
                found = Some((entry.name.as_str(), entry.role));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_with_its_name_and_role_and_never_shown() {
        let text = "# who\n\nread grafana s3cret1\n  operate  ada   s3cret2\n";
        let tokens = Tokens::parse(text).unwrap();
        assert_eq!(tokens.find("s3cret1"), Some(("grafana", Role::Read)));
        assert_eq!(tokens.find("s3cret2"), Some(("ada", Role::Operate)));
        assert_eq!(tokens.find("s3cret"), None);
        assert_eq!(tokens.find(""), None);
        assert!(Role::Read < Role::Write && Role::Write < Role::Operate);
        assert!(!format!("{tokens:?}").contains("s3cret"));
    }

    #[test]
    fn a_line_that_is_none_is_named_by_its_number_and_not_repeated() {
        for text in ["read a t\nadmin b s3cret", "#\nread s3cret", "#\nread a s3cret more"] {
            let problem = Tokens::parse(text).unwrap_err();
            assert!(problem.contains("line 2") && !problem.contains("s3cret"), "{problem}");
        }
    }
}
