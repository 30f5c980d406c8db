//! One append by itself.

use reql::cmd::ReadMode;
use reql::{Command, r};
use serde_json::Value;

use super::super::append::{Failure, Outcome};
use super::RethinkStore;
use super::document::{self, CommitKey, StoredCommit};
use super::driver::QueryError;
use super::head::Head;
use super::known::Before;
use super::term::{
    Term, aggregates, bind, commit_keys, commits_from, events, field, insert_hard, json, move_heads, object,
    or, term,
};
use crate::event::{Commit, CommitId, StreamId, Version};
use crate::sabotage::{Bug, has};

/// What is durable at and after a place.
pub(super) struct Found {
    /// The commit that begins at the place.
    at_place: Option<CommitId>,
    /// The stream's version.
    pub(super) version: Version,
}

impl RethinkStore {
    /// Appends `commit` after version `at`, unless something else stands there.
    pub(super) async fn append_alone(
        &self,
        stream: StreamId,
        at: Version,
        commit: &Commit,
    ) -> Result<Outcome, Failure> {
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

    /// A majority read, which makes what it sees durable: the commit just after `at`, and how far the
    /// commits after `head` go.
    pub(super) async fn look(&self, stream: StreamId, at: Version, head: Version) -> Result<Found, Failure> {
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

/// The document of a commit after version `at`, with the server's time. Sent as one text: what is sent as an object is
/// a program that makes it, a term for each of its fields.
pub(super) fn new_row(stream: StreamId, at: Version, commit: &Commit) -> Command {
    let text = StoredCommit::document(stream, at.next(), commit).to_string();
    let document = term(Term::Json, [json(text)]);
    term(Term::Merge, [document, object([("recorded_at", r.now())])])
}

/// One query: if what must be before the place is there, insert the commit.
fn append_query(stream: StreamId, at: Version, commit: &Commit, before: Before) -> Command {
    let row = new_row(stream, at, commit);
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
