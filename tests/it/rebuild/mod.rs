//! Generations beside the live one: built, compared, swapped in, gone back from.

mod built;
mod dependants;
mod swapped;

use libtest_mimic::Trial;
use serde_json::json;
use sqlx::Executor;

use projectord::event::{Commit, NewEvent, StreamId};
use projectord::store::{EventStore, ExpectedVersion, PostgresStore, Settings};

use crate::support::{Daemon, Project};

pub fn trials() -> Vec<Trial> {
    swapped::trials().into_iter().chain(built::trials()).chain(dependants::trials()).collect()
}

const ACCOUNTS: &str =
    "create table accounts (id uuid primary key, events int not null, total bigint not null);";
const MOVED: &str = "insert into accounts values (event.stream_id, 1, (event.data->>'amount')::int)
    on conflict (id) do update set events = accounts.events + 1, total = accounts.total + excluded.total;";
const GENERATION: &str = "select generation from projectord.projections";

fn write_accounts(project: &Project, handler: &str) {
    project.write("accounts", "schema.sql", ACCOUNTS);
    project.write("accounts", "Moved.sql", handler);
    project.write("accounts", "projection.toml", "partition = \"stream\"\n");
}

async fn store(project: &Project) -> PostgresStore {
    let store = PostgresStore::new(&project.postgres_url.parse().unwrap(), Settings::default());
    store.setup().await.unwrap();
    store
}

/// Streams of ten events each, with amounts 1 to 10.
async fn append(project: &Project, streams: usize) -> Vec<StreamId> {
    let store = store(project).await;
    let mut ids = Vec::new();
    for _ in 0..streams {
        let events = (1..=10).map(|n| NewEvent::from_json("Moved", json!({ "amount": n }))).collect();
        ids.push(StreamId::random());
        let commit = Commit::new("account", events);
        store.append_to_stream(ids[ids.len() - 1], ExpectedVersion::NoStream, commit).await.unwrap();
    }
    ids
}

async fn live_project(streams: usize) -> (Project, Daemon, Vec<StreamId>) {
    let project = Project::new().await;
    write_accounts(&project, MOVED);
    let ids = append(&project, streams).await;
    let daemon = project.daemon();
    project.until_state("accounts", "live").await;
    (project, daemon, ids)
}

async fn execute(project: &Project, sql: &str) {
    project.pool.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()))).await.unwrap();
}

/// Schemas that are a read model's, without the one that readers see.
const ASIDE: &str = "select count(*) from pg_namespace where nspname like 'accounts@%'";
