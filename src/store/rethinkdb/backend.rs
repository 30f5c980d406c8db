//! What a store must know, on RethinkDB; loading.

use std::num::NonZeroU32;

use async_trait::async_trait;
use reql::cmd::ReadMode;

use super::super::append::{Backend, Failure, Outcome};
use super::super::{EventStream, LoadError, Settings};
use super::RethinkStore;
use super::document::StoredCommit;
use super::driver::{QueryError, QueryErrorKind};
use super::term::{aggregates, commits_between, commits_from, events, field, or};
use crate::event::{Commit, Limits, StreamId, Version};

/// How far before the asked version a load looks for the commit that holds it, at first.
const LOOK_BACK: u64 = 16;

#[async_trait]
impl Backend for RethinkStore {
    fn settings(&self) -> &Settings {
        &self.settings
    }

    async fn try_append(&self, stream: StreamId, at: Version, commit: &Commit) -> Result<Outcome, Failure> {
        let store = self.clone();
        let together = move |appends| store.clone().append_together(appends);
        self.group.append(stream, at, commit.clone(), together).await
    }

    async fn head(&self, stream: StreamId) -> Result<Version, Failure> {
        if let Some(version) = self.known.version(stream) {
            return Ok(version);
        }
        let version = or(field(aggregates().get(stream.to_string()), "version"), 0);
        Ok(Version(self.pool.row(version).await?.as_u64().unwrap_or(0)))
    }

    async fn try_load(
        &self,
        stream: StreamId,
        from: Version,
        most: Option<NonZeroU32>,
    ) -> Result<Result<EventStream, LoadError>, Failure> {
        let from = Version(from.0.max(1));
        // The commit that holds the last of them begins before this.
        let end = most.map(|most| from.0.saturating_add(u64::from(most.get())));
        let mut back = LOOK_BACK;
        let commits = loop {
            let start = from.0.saturating_sub(back).max(1);
            let table = events(ReadMode::Single);
            let range = match end {
                Some(end) => commits_between(table, stream, start, end),
                None => commits_from(table, stream, start),
            };
            let mut commits = match self.pool.commits(range).await {
                Ok(commits) => commits,
                Err(error) if error.kind == QueryErrorKind::Wrong => {
                    return Ok(Err(LoadError::Damaged { stream, reason: error.message }));
                }
                Err(error) => return Err(error.into()),
            };
            commits.sort_unstable_by_key(StoredCommit::first);
            let covered = commits.first().is_some_and(|commit| commit.first() <= from);
            // A commit that holds `from` can begin no further back than the largest commit is long.
            if covered || start == 1 || back >= Limits::HIGHEST.max_events as u64 {
                break commits;
            }
            back *= 8;
        };
        if commits.is_empty() && from.0 > 1 {
            // Beyond the end, or no stream at all.
            let version = self.look(stream, from, self.head(stream).await?).await?.version;
            return Ok(match version {
                Version::ZERO => Err(LoadError::NotFound(stream)),
                version => Ok(EventStream { events: Vec::new(), version }),
            });
        }
        let mut loaded = match assemble(stream, from, commits) {
            Ok(loaded) => loaded,
            Err(error) => return Ok(Err(error)),
        };
        if let (Some(most), Some(end)) = (most, end)
            && loaded.version.0.saturating_add(1) >= end
        {
            loaded.events.truncate(most.get() as usize);
            // There may be more beyond what was read.
            let head = loaded.version.max(self.head(stream).await?);
            loaded.version = self.look(stream, head, head).await?.version;
        }
        Ok(Ok(loaded))
    }
}

/// Joins commits into a stream; a hole is an error, never skipped.
fn assemble(stream: StreamId, from: Version, commits: Vec<StoredCommit>) -> Result<EventStream, LoadError> {
    let Some(first) = commits.first() else {
        return Err(LoadError::NotFound(stream));
    };
    let mut next = if first.first() > from { Version(1) } else { first.first() };
    let mut events = Vec::new();
    for commit in commits {
        if commit.first() != next {
            let reason = format!("version {next} is missing before version {}", commit.first());
            return Err(LoadError::Damaged { stream, reason });
        }
        next = commit.last().next();
        events.extend(commit.into_events().filter(|event| event.version >= from));
    }
    Ok(EventStream { events, version: Version(next.0 - 1) })
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        let hint = if error.kind == QueryErrorKind::Missing { "; run `projectord setup`" } else { "" };
        Self {
            retry: matches!(error.kind, QueryErrorKind::Away | QueryErrorKind::Unread),
            reason: format!("{}{hint}", error.message),
        }
    }
}
