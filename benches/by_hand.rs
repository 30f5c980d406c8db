//! RethinkDB through the bare driver.

use futures_util::StreamExt;
use reql::cmd::connect::Options;
use reql::{Command, Session, r};
use serde_json::Value;

/// A session with the database of `rethinkdb://host:port/database`.
pub async fn connect(url: &str) -> Session {
    let (place, database) = url.trim_start_matches("rethinkdb://").split_once('/').expect("a database");
    let (host, port) = place.split_once(':').expect("a port");
    let options =
        Options::default().host(host.to_owned()).port(port.parse().expect("a port")).db(database.to_owned());
    r.connect(options).await.expect("RethinkDB")
}

/// Runs a query; its rows.
pub async fn rows(session: &Session, command: Command) -> Vec<Value> {
    command.run::<_, Value>(session).map(|row| row.expect("a row")).collect().await
}

/// Runs a query; how many rows it gave.
pub async fn run(session: &Session, command: Command) -> usize {
    let rows = command.run::<_, Value>(session);
    rows.fold(0, |count, row| async move {
        drop(row.expect("a row"));
        count + 1
    })
    .await
}
