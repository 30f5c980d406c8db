//! Several appends by one query, which share its flushes.
//!
//! Each commit stays a document of its own, with its own key: they do not become durable together, and do not need to.
//! Whatever this query does not say to be inserted goes its own way, as if it had come alone, and finds out there.

use std::collections::HashSet;
use std::time::Duration;

use reql::cmd::{Durability, ReadMode, insert};
use reql::{Command, Func, r};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;

use super::super::append::{Failure, Outcome};
use super::super::group::Append;
use super::RethinkStore;
use super::alone::new_row;
use super::document;
use super::known::Before;
use super::term::{Term, aggregates, bind, events, field, json, object, or, term};
use crate::event::CommitId;
use crate::sabotage::{Bug, has};

/// How many groups are under way at once: two, so that two writers wait for nobody.
pub(super) const AT_ONCE: usize = 2;
/// How long the next group waits for this one. A reply that never comes must not hold up who has nothing to do with it.
const PATIENCE: Duration = Duration::from_millis(250);

/// A commit that was inserted: its key, and the append that made it.
type Inserted = (String, CommitId);

impl RethinkStore {
    /// Appends each and answers each. Comes back when the next group may go, after [`PATIENCE`] at the latest.
    pub(super) async fn append_together(self, appends: Vec<Append>) {
        let work = tokio::spawn(async move {
            let appends = match <[Append; 1]>::try_from(appends) {
                Ok([append]) => return self.append_and_answer(append).await,
                Err(appends) => appends,
            };
            let inserted =
                if has(Bug::HeadFirst) { Ok(HashSet::new()) } else { self.insert_each(&appends).await };
            // Where the answer was lost, what became of each is found out by each.
            let mut inserted = inserted.unwrap_or_default();
            for append in appends {
                let (first, last) = (append.at.next(), append.at.plus(append.commit.len()));
                if inserted.remove(&(document::key(append.stream, first.0), append.commit.id)) {
                    self.known.learn(append.stream, first, last);
                    append.answer(Ok(Outcome::Appended));
                } else {
                    tokio::spawn(self.clone().append_and_answer(append));
                }
            }
        });
        let _ = timeout(PATIENCE, work).await;
    }

    async fn append_and_answer(self, append: Append) {
        let found = self.append_alone(append.stream, append.at, &append.commit).await;
        append.answer(found);
    }

    /// Those that were inserted, and so are durable.
    async fn insert_each(&self, appends: &[Append]) -> Result<HashSet<Inserted>, Failure> {
        let rows = appends.iter().map(|append| row(append, self.known.before(append.stream, append.at)));
        let rows = rows.fold(Command::new(Term::MakeArray), Command::with_arg);
        let answer = self.pool.row(insert_present(rows)).await?;
        Vec::deserialize(&answer["inserted"]).map(HashSet::from_iter).map_err(|error| Failure {
            reason: format!("RethinkDB's answer to appends: {error}"),
            retry: true,
        })
    }
}

/// The commit's document, or null where what must be before it is not there.
fn row(append: &Append, before: Before) -> Command {
    let Append { stream, at, commit, .. } = append;
    let document = new_row(*stream, *at, commit);
    let stream_type = || json(commit.stream_type.as_str());
    let present = match before {
        Before::Nothing => return document,
        Before::Commit(first) => {
            let before = events(ReadMode::Single).get(document::key(*stream, first.0));
            term(Term::Eq, [or(field(before, "stream_type"), Value::Null), stream_type()])
        }
        Before::Head => bind(1, aggregates().get(stream.to_string()), |head| {
            let there = term(Term::Eq, [or(field(head.clone(), "version"), 0), json(at.0)]);
            let typed = term(Term::Eq, [or(field(head, "type"), commit.stream_type.as_str()), stream_type()]);
            term(Term::And, [there, typed])
        }),
    };
    term(Term::Branch, [present, document, json(Value::Null)])
}

/// Inserts the rows that are not null, and says which of them it inserted: as a rule all. Otherwise those that bear this
/// query's time, as what an earlier try inserted does not; by a majority read, so that they are durable in any case.
fn insert_present(rows: Command) -> Command {
    let present = Func::new(vec![3], term(Term::Ne, [Command::var(3), json(Value::Null)]));
    let present = term(Term::CoerceTo, [rows.filter(present), json("array")]);
    let hard = insert::Options::default().durability(Durability::Hard);
    let inserted = bind(5, present, |rows| {
        let inserted = field(events(ReadMode::Single).insert(r.args((rows.clone(), hard))), "inserted");
        let all = term(Term::Eq, [inserted, term(Term::Count, [rows.clone()])]);
        let keys = rows.clone().map(Func::new(vec![6], field(Command::var(6), "id")));
        let there = term(Term::GetAll, [events(ReadMode::Majority), term(Term::Args, [keys])]);
        let now = Func::new(vec![7], term(Term::Eq, [field(Command::var(7), "recorded_at"), r.now()]));
        term(Term::Branch, [all, named(rows), named(there.filter(now))])
    });
    object([("inserted", inserted)])
}

/// Key and append of each row, as an array.
fn named(rows: Command) -> Command {
    let names = ["id", "commit_id"].map(|name| field(Command::var(4), name));
    let names = term(Term::MakeArray, names);
    term(Term::CoerceTo, [rows.map(Func::new(vec![4], names)), json("array")])
}
