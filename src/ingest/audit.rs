//! Holding the store against the log, both ways, without changing either.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use super::compare::{KEYS, STEP, key_at};
use super::error::IngestError;
use super::walk::Walk;
use crate::event::{CommitId, StreamId, Version};
use crate::log::Log;
use crate::store::rethinkdb::{CommitKey, History};

/// How long a commit may be in the store alone before that counts as missing from the log.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often to look whether it is there now.
const LOOK: Duration = Duration::from_millis(250);

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreAudit {
    /// Commits of the store that were compared.
    pub commits: u64,
    /// Heads that were compared.
    pub heads: u64,
    /// What is wrong, in words.
    pub problems: Vec<String>,
}

/// Compares every commit and head of the store with the log, while both may grow.
///
/// # Errors
/// When a server is away, or the log copies another store.
pub async fn audit_store(history: &History, log: &Log) -> Result<StoreAudit, String> {
    audit(history, log).await.map_err(|error| error.to_string())
}

async fn audit(history: &History, log: &Log) -> Result<StoreAudit, IngestError> {
    let mut found = StoreAudit::default();
    match (history.identity().await?, log.store().await?) {
        (Some(store), Some(known)) if store.0 == known => {}
        (None, None) => return Ok(found),
        (store, known) => {
            let name = |id: Option<String>| id.unwrap_or_else(|| "none".into());
            found.problems.push(format!(
                "[store] url leads to store {}, and the log copies {}",
                name(store.map(|id| id.to_string())),
                name(known.map(|id| id.to_string()))
            ));
            return Ok(found);
        }
    }
    let mut walk = Walk::new(0, KEYS, KEYS >> 8, STEP);
    while let Some(step) = walk.step() {
        let to = if step.to == KEYS { "g".into() } else { key_at(step.to) };
        let from = key_at(step.from);
        let limit = if step.is_least() { usize::MAX } else { STEP * 4 };
        // The log first: what it has, the store must have had before.
        let logged = log.commits_of_streams(step.from, step.to).await?;
        let heads = history.heads_between(&from, &to).await?;
        let Some(keys) = history.keys_of_streams(&from, &to, limit).await? else {
            walk.too_much(step);
            continue;
        };
        let stored: HashSet<(StreamId, Version, CommitId)> =
            keys.iter().map(|key| (key.stream, key.first, key.commit_id)).collect();
        for (stream, first, commit) in logged.iter().filter(|commit| !stored.contains(commit)) {
            found.problems.push(format!(
                "commit {commit} at version {first} of stream {stream} is in the log and not in the store"
            ));
        }
        let logged: HashSet<(StreamId, Version, CommitId)> = logged.into_iter().collect();
        // One for all of the step: where many are missing, nobody waits for each.
        let deadline = Instant::now() + PATIENCE;
        for key in keys.iter().filter(|key| !logged.contains(&(key.stream, key.first, key.commit_id))) {
            if !arrives(log, key, deadline).await? {
                found.problems.push(format!(
                    "commit {} at version {} of stream {} is in the store and not in the log",
                    key.commit_id, key.first, key.stream
                ));
            }
        }
        let mut last: HashMap<StreamId, Version> = HashMap::new();
        for key in &keys {
            let version = last.entry(key.stream).or_insert(key.last);
            *version = (*version).max(key.last);
        }
        for (stream, head) in &heads {
            if last.get(stream).is_none_or(|last| head > last) {
                found.problems.push(format!("the head of stream {stream} is {head}, ahead of its commits"));
            }
        }
        found.commits += keys.len() as u64;
        found.heads += heads.len() as u64;
        walk.took(step, keys.len());
    }
    Ok(found)
}

/// Waits until `deadline` for a commit that may just be on its way.
async fn arrives(log: &Log, key: &CommitKey, deadline: Instant) -> Result<bool, IngestError> {
    loop {
        let there = log.commits_at(&[(key.stream, key.last)]).await?;
        if there == [Some(key.commit_id)] {
            return Ok(true);
        }
        if Instant::now() > deadline {
            return Ok(false);
        }
        tokio::time::sleep(LOOK).await;
    }
}
