//! ReQL by its terms. The driver's own methods cover part of the language; these build the rest.

use ql2::term::TermType;
use reql::cmd::{Durability, ReadMode, between, insert, replace, table};
use reql::{Command, Func, r};
use serde_json::Value;

use super::document;
use super::head::Head;
use crate::event::StreamId;

pub(super) use ql2::term::TermType as Term;

/// A term and its arguments.
pub(super) fn term<const N: usize>(kind: TermType, args: [Command; N]) -> Command {
    args.into_iter().fold(Command::new(kind), Command::with_arg)
}

/// A value.
pub(super) fn json(value: impl Into<Value>) -> Command {
    Command::from(value.into())
}

/// `value[field]`
pub(super) fn field(value: Command, name: &str) -> Command {
    term(Term::Bracket, [value, json(name)])
}

/// `value`, or `other` where it is null or missing.
pub(super) fn or(value: Command, other: impl Into<Value>) -> Command {
    term(Term::Default, [value, json(other)])
}

/// An object whose values are terms.
pub(super) fn object<const N: usize>(fields: [(&str, Command); N]) -> Command {
    let object = Command::new(Term::Object);
    fields.into_iter().fold(object, |object, (name, value)| object.with_arg(json(name)).with_arg(value))
}

/// `let x = value in body(x)`; `id` keeps nested ones apart.
pub(super) fn bind(id: u64, value: Command, body: impl FnOnce(Command) -> Command) -> Command {
    value.do_(Func::new(vec![id], body(Command::var(id))))
}

/// The table of commits.
pub(super) fn events(read_mode: ReadMode) -> Command {
    r.table(r.args(("events", table::Options::default().read_mode(read_mode))))
}

/// The table of heads.
pub(super) fn aggregates() -> Command {
    r.table("aggregates")
}

/// Rows of `table` by primary key, `from` included and `to` not.
pub(super) fn keys_between(table: Command, from: &str, to: &str) -> Command {
    table.between(r.args((from, to)))
}

/// Rows of `events` by the time that they were recorded, in seconds since 1970; `to` is not included.
pub(super) fn recorded_between(table: Command, from: f64, to: f64) -> Command {
    let index = between::Options::default().index("recorded_at");
    table.between(r.args((r.epoch_time(json(from)), index))).with_arg(r.epoch_time(json(to)))
}

/// Inserts a commit; acknowledged when it is on disk.
pub(super) fn insert_hard(table: Command, row: Command) -> Command {
    table.insert(r.args((row, insert::Options::default().durability(Durability::Hard))))
}

/// Moves heads on, never back. Soft: they are a hint.
pub(super) fn move_heads(heads: &[Head]) -> Command {
    let moves = heads.iter().map(|head| {
        let (id, version) = (json(head.stream.to_string()), json(head.version.0));
        let stream_type = json(head.stream_type.as_str());
        object([("id", id), ("type", stream_type), ("version", version), ("updated_at", r.now())])
    });
    let moves = moves.fold(Command::new(Term::MakeArray), Command::with_arg);
    let (head, row) = (Command::var(92), Command::var(93));
    let version = field(head.clone(), "version");
    let behind = term(Term::Lt, [or(field(row.clone(), "version"), 0), version]);
    let further = Func::new(vec![93], term(Term::Branch, [behind, head.clone(), row]));
    let soft = replace::Options::default().durability(Durability::Soft);
    let moved = aggregates().get(field(head, "id")).replace(r.args((further, soft)));
    moves.for_each(term(Term::Func, [term(Term::MakeArray, [json(92)]), moved]))
}

/// What the log needs to know of a commit without its events.
pub(super) fn commit_keys(commits: Command) -> Command {
    let row = Command::var(91);
    let key = object([
        ("id", field(row.clone(), "id")),
        ("commit_id", field(row.clone(), "commit_id")),
        ("count", term(Term::Count, [field(row, "events")])),
    ]);
    commits.map(Func::new(vec![91], key))
}

/// The commits of one stream from `version` on.
pub(super) fn commits_from(table: Command, stream: StreamId, version: u64) -> Command {
    keys_between(table, &document::key(stream, version), &document::key_end(stream))
}

/// Those of them that begin before `end`.
pub(super) fn commits_between(table: Command, stream: StreamId, version: u64, end: u64) -> Command {
    keys_between(table, &document::key(stream, version), &document::key(stream, end))
}
