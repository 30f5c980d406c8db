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

/// Moves heads on, never back. Soft: they are a hint. One write for those that are there and one for those that are
/// not; a write for each by itself takes six times as long.
pub(super) fn move_heads(heads: &[Head]) -> Command {
    let by_stream = heads.iter().fold(Command::new(Term::Object), |by_stream, head| {
        let id = json(head.stream.to_string());
        let (stream_type, version) = (json(head.stream_type.as_str()), json(head.version.0));
        let fields =
            [("id", id.clone()), ("type", stream_type), ("version", version), ("updated_at", r.now())];
        by_stream.with_arg(id).with_arg(object(fields))
    });
    let streams = heads.iter().map(|head| json(head.stream.to_string()));
    let there = streams.fold(term(Term::GetAll, [aggregates()]), Command::with_arg);
    // Bound once: built inside, it would be built again for each row.
    bind(92, by_stream, |by_stream| {
        let row = Command::var(93);
        let head = term(Term::Bracket, [by_stream.clone(), field(row.clone(), "id")]);
        let behind = |head| term(Term::Lt, [or(field(row.clone(), "version"), 0), field(head, "version")]);
        let further = bind(94, head, |head| term(Term::Branch, [behind(head.clone()), head, row.clone()]));
        let soft = replace::Options::default().durability(Durability::Soft);
        let moved = there.replace(r.args((Func::new(vec![93], further), soft)));
        let soft = insert::Options::default().durability(Durability::Soft);
        // Refused where somebody has just made it.
        let made = aggregates().insert(r.args((term(Term::Values, [by_stream]), soft)));
        bind(95, moved, |moved| {
            let were_there = term(Term::Add, [field(moved.clone(), "replaced"), field(moved, "unchanged")]);
            let all = term(Term::Ge, [were_there, json(heads.len())]);
            term(Term::Branch, [all, json(Value::Null), made])
        })
    })
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
