//! Making the store, and checking that it keeps what it acknowledges.

use std::fmt;

use chrono::{DateTime, Utc};
use reql::cmd::ReadMode;
use reql::{Command, r};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};
use uuid::Uuid;

use super::driver::{Pool, QueryError, QueryErrorKind};
use super::term::{Term, aggregates, events, field, insert_hard, json as value, or, term};
use crate::backoff::Backoff;

/// The document of `aggregates` that holds the store's identity.
const META: &str = "meta";
/// Two programs that set up the same store at once each see the other's half; so look again.
const ROUNDS: usize = 20;
/// How long another program has to take away its own of two tables.
const ANOTHERS_TURN: Duration = Duration::from_secs(2);

/// Which store this is: made once, at setup. A log refuses to go on from another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StoreId(pub Uuid);

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Creates what is missing and checks the rest.
pub(super) async fn setup(pool: &Pool) -> Result<StoreId, QueryError> {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
    let mut done = create(pool).await;
    for _ in 1..ROUNDS {
        match &done {
            Err(error) if error.kind != QueryErrorKind::Denied => {
                tokio::time::sleep(backoff.next_wait()).await;
            }
            _ => break,
        }
        done = create(pool).await;
    }
    done?;
    check(pool).await?;
    let created = Uuid::new_v4();
    let meta = json!({"id": META, "store_id": created, "created_at": Utc::now().to_rfc3339()});
    // Refused where there is one already, which is then the one.
    pool.rows(insert_hard(aggregates(), value(meta))).await?;
    identity(pool).await?.ok_or_else(|| QueryError::wrong("the store's identity was not kept"))
}

/// The store's identity; none where `setup` was never run.
pub(super) async fn identity(pool: &Pool) -> Result<Option<StoreId>, QueryError> {
    let id = pool.row(or(field(aggregates().get(META), "store_id"), Value::Null)).await?;
    Ok(serde_json::from_value(id).ok())
}

/// The server's clock.
pub(super) async fn now(pool: &Pool) -> Result<DateTime<Utc>, QueryError> {
    let seconds = pool.row(r.now().to_epoch_time()).await?.as_f64();
    seconds
        .and_then(super::document::from_seconds)
        .ok_or_else(|| QueryError::wrong("the server's clock does not read"))
}

async fn create(pool: &Pool) -> Result<(), QueryError> {
    let database = pool.server().database.as_str();
    // Lists are open to every user; making something is not.
    if !names(pool.rows(r.db_list()).await?).iter().any(|name| name == database) {
        create_once(pool, "db_config", json!({"name": database}), r.db_create(database)).await?;
    }
    let tables = names(pool.rows(r.db(database).table_list()).await?);
    for table in ["aggregates", "events"] {
        if !tables.iter().any(|name| name == table) {
            let named = json!({"db": database, "name": table});
            create_once(pool, "table_config", named, r.db(database).table_create(table)).await?;
        }
        pool.rows(term(Term::Wait, [r.table(table)])).await?;
    }
    if !names(pool.rows(r.table("events").index_list()).await?).iter().any(|name| name == "recorded_at") {
        pool.rows(r.table("events").index_create("recorded_at")).await?;
    }
    pool.rows(term(Term::IndexWait, [r.table("events"), value("recorded_at")])).await?;
    Ok(())
}

/// Makes a database or a table unless there is one of that name. RethinkDB lets two programs make two of
/// the same name at the same instant, and then answers to neither; so whoever made the second takes it
/// away again: nobody can have used it, since the name was never plain.
async fn create_once(pool: &Pool, config: &str, named: Value, create: Command) -> Result<(), QueryError> {
    let configs = || r.db("rethinkdb").table(config);
    let found = || async { pool.rows(configs().filter(value(named.clone()))).await };
    if !found().await?.is_empty() {
        return Ok(());
    }
    let made = pool.row(create).await?;
    let mine = &made["config_changes"][0]["new_val"]["id"];
    let deadline = Instant::now() + ANOTHERS_TURN;
    loop {
        let ids: Vec<Value> = found().await?.into_iter().map(|row| row["id"].clone()).collect();
        let others = || ids.iter().filter(|id| *id != mine);
        if others().next().is_none() {
            return Ok(());
        }
        // The one whose id is greater goes; if that is another's, and stays, it was there first.
        if others().all(|id| id.as_str() < mine.as_str()) || Instant::now() > deadline {
            pool.rows(configs().get(mine.as_str().unwrap_or_default()).delete(())).await?;
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn check(pool: &Pool) -> Result<(), QueryError> {
    let config = match pool.row(term(Term::Config, [events(ReadMode::Single)])).await {
        // A user who may only read and write cannot look; whoever made the tables has.
        Err(error) if error.kind == QueryErrorKind::Denied => return Ok(()),
        config => config?,
    };
    for (setting, needed) in [("durability", "hard"), ("write_acks", "majority")] {
        if config[setting] != needed {
            return Err(QueryError::wrong(format!(
                "table events at {} has {setting} {}, so it can lose what it acknowledged; set it to {needed:?}: \
                 r.table(\"events\").config().update({{{setting}: {needed:?}}})",
                pool.server(),
                config[setting],
            )));
        }
    }
    let key = pool.row(field(term(Term::Info, [events(ReadMode::Single)]), "primary_key")).await?;
    if key != "id" {
        return Err(QueryError::wrong(format!(
            "table events at {} has the primary key {key}, not \"id\"",
            pool.server()
        )));
    }
    Ok(())
}

/// A list may come as one row that is an array, or as a row for each.
fn names(rows: Vec<Value>) -> Vec<String> {
    let flat = rows.into_iter().flat_map(|row| match row {
        Value::Array(items) => items,
        other => vec![other],
    });
    flat.filter_map(|name| name.as_str().map(str::to_owned)).collect()
}
