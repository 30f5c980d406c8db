//! HTTP by hand: what no client would send must be sent, and when.

use std::time::Duration;

use projectord::private_server::free_port;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Project;
use super::project::Daemon;
use super::until;

/// Longer than any limit of the daemon's.
const PATIENCE: Duration = Duration::from_secs(40);

/// A daemon, and where it answers.
pub struct Site {
    pub address: String,
    pub daemon: Daemon,
}

/// An answer, taken apart.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    /// The value of a header; its name in small letters.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// It is a problem as RFC 9457 has it; its detail.
    pub fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{problem}");
        assert!(problem["type"].is_string() && problem["title"].is_string(), "{problem}");
        problem["detail"].as_str().unwrap().to_owned()
    }
}

impl Site {
    /// A daemon that answers at a port of its own, with more in its environment; it answers already.
    pub async fn start(project: &Project, more: &[(&str, &str)]) -> Self {
        let address = format!("127.0.0.1:{}", free_port().unwrap());
        let listen = [("PROJECTORD_HTTP__LISTEN", address.as_str())];
        Self::of(project.daemon_with(&[&listen, more].concat()), address).await
    }

    /// A daemon that answers at this address, as soon as it does.
    pub async fn of(daemon: Daemon, address: String) -> Self {
        let site = Self { address, daemon };
        until("it answers", Duration::from_secs(30), async || {
            TcpStream::connect(&site.address).await.is_ok() && site.get("/livez").await.status == 200
        })
        .await;
        site
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).await.unwrap()
    }

    /// Sends these bytes over a connection of their own; what comes until it is closed.
    pub async fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect().await;
        // It may refuse the rest while it is being sent.
        let _ = stream.write_all(bytes).await;
        answer(&mut stream).await
    }

    /// A request with these headers, one a line, and this body.
    pub async fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let host = match headers.to_ascii_lowercase().contains("host: ") {
            true => String::new(),
            false => format!("Host: {}\r\n", self.address),
        };
        let length = match body.is_empty() {
            true => String::new(),
            false => format!("Content-Length: {}\r\n", body.len()),
        };
        let headers: String = headers.lines().map(|line| format!("{}\r\n", line.trim())).collect();
        let head = format!("{method} {path} HTTP/1.1\r\n{host}{headers}{length}Connection: close\r\n\r\n");
        self.raw(format!("{head}{body}").as_bytes()).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "", "").await
    }

    /// A request that changes something, as our own page would send it.
    pub async fn post(&self, path: &str, body: &str) -> Answer {
        self.ask("POST", path, "Content-Type: application/json", body).await
    }
}

/// What comes until the connection is closed.
pub async fn answer(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    assert!(read.is_ok(), "the connection stays open; so far {:?}", String::from_utf8_lossy(&bytes));
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}
