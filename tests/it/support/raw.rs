//! RethinkDB without the store: to do what the store never would.

use futures_util::StreamExt;
use ql2::term::TermType;
use reql::cmd::connect::Options;
use reql::{Command, Session, r};
use serde_json::{Value, json};

/// A session with one database.
pub struct Raw {
    /// Where it leads.
    pub url: String,
    session: Session,
}

impl Raw {
    /// Connects to `rethinkdb://host:port/database`.
    pub async fn connect(url: &str) -> Self {
        let (place, database) = url.trim_start_matches("rethinkdb://").split_once('/').unwrap();
        let (host, port) = place.rsplit('@').next().unwrap().split_once(':').unwrap();
        let options =
            Options::default().host(host.to_owned()).port(port.parse().unwrap()).db(database.to_owned());
        Self { url: url.to_owned(), session: r.connect(options).await.unwrap() }
    }

    pub async fn run(&self, command: Command) -> Vec<Value> {
        let rows: Vec<Result<Value, _>> = command.run(&self.session).collect().await;
        rows.into_iter().map(Result::unwrap).collect()
    }

    /// A commit of one event, as a writer leaves it that dies before it moves the head.
    pub async fn commit_without_head(&self, stream: &str, version: u64, seconds_ago: f64) {
        let row = json!({
            "id": format!("{stream}@{version:016}"),
            "stream_id": stream,
            "stream_type": "counter",
            "commit_id": uuid::Uuid::new_v4(),
            "events": [{"type": "Counted", "data": {"n": version}, "metadata": {}}],
        });
        let when = Command::new(TermType::Sub).with_arg(r.now()).with_arg(Command::from(json!(seconds_ago)));
        let when =
            Command::new(TermType::Object).with_arg(Command::from(json!("recorded_at"))).with_arg(when);
        let row = Command::new(TermType::Merge).with_arg(Command::from(row)).with_arg(when);
        let done = self.run(r.table("events").insert(row)).await;
        assert_eq!(done[0]["inserted"], 1, "{}", done[0]);
    }

    /// The version that `aggregates` says a stream has.
    pub async fn head(&self, stream: &str) -> Value {
        self.run(r.table("aggregates").get(stream)).await.pop().unwrap_or_default()["version"].clone()
    }
}
