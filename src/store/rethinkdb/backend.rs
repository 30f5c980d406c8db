//! Appending and loading.

use std::num::NonZeroU32;

use async_trait::async_trait;
use reql::cmd::ReadMode;
use reql::{Command, r};
use serde_json::Value;

use super::super::append::{Backend, Failure, Outcome};
use super::super::{EventStream, LoadError, Settings};
use super::RethinkStore;
use super::document::{self, CommitKey, StoredCommit};
use super::driver::{QueryError, QueryErrorKind};
use super::head::Head;
use super::known::Before;
use super::term::{
    Term, aggregates, bind, commit_keys, commits_between, commits_from, events, field, insert_hard, json,
    move_heads, object, or, term,
};
use crate::event::{Commit, Limits, StreamId, Version};
use crate::sabotage::{Bug, has};

/// How far before the asked version a load looks for the commit that holds it, at first.
const LOOK_BACK: u64 = 16;

#[async_trait]
impl Backend for RethinkStore {
    fn settings(&self) -> &Settings {
        &self.settings
    }

    async fn try_append(&self, stream: StreamId, at: Version, commit: &Commit) -> Result<Outcome, Failure> {
        loop {
            let before = self.known.before(stream, at);
            if has(Bug::HeadFirst) && before != Before::Head {
                let version = at.plus(commit.len());
                let early = Head { stream, stream_type: commit.stream_type.clone(), version };
                self.pool.rows(move_heads(&[early])).await?;
            }
            let seen = self.pool.row(append_query(stream, at, commit, before)).await?;
            let head = match seen["outcome"].as_str() {
                Some("appended") => {
                    self.known.learn(stream, at.next(), at.plus(commit.len()));
                    return Ok(Outcome::Appended);
                }
                Some("other_type") => {
                    return Ok(Outcome::OtherType { actual: seen["type"].as_str().unwrap_or("").into() });
                }
                Some("gone") => {
                    self.known.forget(stream);
                    continue;
                }
                _ => Version(seen["version"].as_u64().unwrap_or(0)),
            };
            // Something stands at the place, or the head is elsewhere: see what is durable there.
            let behind = if before == Before::Head { head } else { head.max(at) };
            let found = self.look(stream, at, behind).await?;
            if found.version > head {
                let moved = Head { stream, stream_type: commit.stream_type.clone(), version: found.version };
                let _ = self.pool.rows(move_heads(&[moved])).await?;
            }
            if found.at_place == Some(commit.id) {
                return Ok(Outcome::Repeated);
            }
            if found.version != at {
                return Ok(Outcome::Occupied { actual: found.version });
            }
            if behind == at {
                // The place is free and was free: the server refused for a reason of its own.
                let reason = format!("RethinkDB did not insert the commit: {}", seen["error"]);
                return Err(Failure { reason, retry: true });
            }
            // The head lagged behind and is repaired now: the place is free after all.
        }
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
            let mut commits = match self.pool.commits_within(range, usize::MAX).await {
                Ok(commits) => commits.unwrap_or_default(),
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

/// What is durable at and after a place.
struct Found {
    /// The commit that begins at the place.
    at_place: Option<crate::event::CommitId>,
    /// The stream's version.
    version: Version,
}

impl RethinkStore {
    /// A majority read, which makes what it sees durable: the commit just after `at`, and how far the
    /// commits after `head` go.
    async fn look(&self, stream: StreamId, at: Version, head: Version) -> Result<Found, Failure> {
        let table = events(ReadMode::Majority);
        let at_place = field(table.clone().get(document::key(stream, at.next().0)), "commit_id");
        let after = commit_keys(commits_from(table, stream, head.next().0));
        let found = self
            .pool
            .row(object([
                ("at_place", or(at_place, Value::Null)),
                ("after", term(Term::CoerceTo, [after, json("array")])),
            ]))
            .await?;
        let keys = found["after"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut keys =
            keys.iter().map(CommitKey::read).collect::<Result<Vec<_>, _>>().map_err(QueryError::wrong)?;
        keys.sort_unstable_by_key(|key| key.first);
        let mut version = head;
        for key in keys {
            if key.first != version.next() {
                let reason =
                    format!("stream {stream} is damaged: no commit begins at version {}", version.next());
                return Err(Failure { reason, retry: false });
            }
            version = key.last;
            self.known.learn(stream, key.first, key.last);
        }
        let at_place = serde_json::from_value(found["at_place"].clone()).ok();
        Ok(Found { at_place, version })
    }
}

/// One query: if what must be before the place is there, insert the commit.
fn append_query(stream: StreamId, at: Version, commit: &Commit, before: Before) -> Command {
    let row = term(
        Term::Merge,
        [json(StoredCommit::document(stream, at.next(), commit)), object([("recorded_at", r.now())])],
    );
    let head = || aggregates().get(stream.to_string());
    let insert = bind(2, insert_hard(events(ReadMode::Single), row), |result| {
        let inserted = term(Term::Eq, [or(field(result.clone(), "inserted"), 0), json(1)]);
        let taken = object([
            ("outcome", json("taken")),
            ("version", or(field(head(), "version"), 0)),
            ("error", or(field(result, "first_error"), Value::Null)),
        ]);
        term(Term::Branch, [inserted, object([("outcome", json("appended"))]), taken])
    });
    let stream_type = commit.stream_type.as_str();
    let typed = |held: Command, insert| {
        let other = object([("outcome", json("other_type")), ("type", held.clone())]);
        term(Term::Branch, [term(Term::Ne, [held, json(stream_type)]), other, insert])
    };
    match before {
        Before::Nothing => insert,
        Before::Commit(first) => {
            let commit = events(ReadMode::Single).get(document::key(stream, first.0));
            bind(1, or(field(commit, "stream_type"), Value::Null), |held| {
                let gone = term(Term::Eq, [held.clone(), json(Value::Null)]);
                term(Term::Branch, [gone, object([("outcome", json("gone"))]), typed(held, insert)])
            })
        }
        Before::Head => bind(1, head(), |head| {
            let version = or(field(head.clone(), "version"), 0);
            let elsewhere = object([("outcome", json("elsewhere")), ("version", version.clone())]);
            let held = or(field(head, "type"), stream_type);
            term(Term::Branch, [term(Term::Ne, [version, json(at.0)]), elsewhere, typed(held, insert)])
        }),
    }
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
