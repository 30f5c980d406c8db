//! `[http]`: where the daemon answers, whom, and how much it takes.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::tokens::Tokens;
use crate::secret::SecretText;

/// `[http]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Address and port; empty for none.
    pub listen: String,
    /// Further names under which it may be asked for, without a port.
    pub hosts: Vec<String>,
    /// A file that says who may do what, a line each: `read|write|operate NAME TOKEN`.
    pub tokens_file: Option<PathBuf>,
    /// The same text.
    pub tokens: SecretText,
    /// The most connections at once.
    pub max_connections: usize,
    /// The largest body of a request.
    pub max_body_bytes: usize,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8410".into(),
            hosts: Vec::new(),
            tokens_file: None,
            tokens: SecretText::default(),
            max_connections: 256,
            max_body_bytes: 20 << 20,
        }
    }
}

impl Http {
    /// What is wrong with it as far as the text alone tells: the key, and what.
    pub(crate) fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        let has_port = |listen: &str| {
            listen
                .rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        if !self.listen.is_empty() && !has_port(&self.listen) {
            let listen = &self.listen;
            problems
                .push(("http.listen", format!("{listen:?} is no address and port such as 127.0.0.1:8410")));
        }
        for host in &self.hosts {
            // An IPv6 address stands in brackets.
            let beyond =
                host.strip_prefix('[').and_then(|it| it.split_once(']')).map_or(&**host, |(_, it)| it);
            if beyond.contains(':') {
                let problem =
                    format!("{host:?} has a port: write the name alone, such as example.org or [::1]");
                problems.push(("http.hosts", problem));
            } else if host.is_empty() || host.contains(['/', ' ', '*', '@']) {
                problems.push(("http.hosts", format!("{host:?} is no name of a host such as example.org")));
            }
        }
        if let Err(problem) = Tokens::parse(self.tokens.reveal()) {
            problems.push(("http.tokens", problem));
        }
        if !(1..=65_536).contains(&self.max_connections) {
            problems.push(("http.max_connections", "it must be 1 to 65536".into()));
        }
        if !(1024..=1 << 30).contains(&self.max_body_bytes) {
            problems.push((
                "http.max_body_bytes",
                format!("{} is not in 1024 to {}", self.max_body_bytes, 1 << 30),
            ));
        }
        problems
    }
}
