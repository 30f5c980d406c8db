//! `batch.sql` compiled: one statement over all events of a batch, in place of the loop over them.
//!
//! The events come as the first common table expression of the author's own statement, so PostgreSQL plans both
//! together, and nothing is copied in between.

use super::{Body, Compiled, DIGEST, FIELDS, Source, events_of_batch, function, literal, upcast};
use crate::projection::tokens::tokens;
use crate::projection::{Definition, Handler, Upcaster};

/// Events of which nothing is known.
const NOTHING: &str = "select null::bigint as position, null::uuid as stream_id, null::text as stream_type, \
                       null::bigint as version, null::text as type, null::jsonb as data, null::jsonb as metadata, \
                       null::timestamptz as recorded_at";

/// What an upcaster reads, where the batch's events are `e`.
const FROM: &str = "e.data as data, e.metadata as metadata, e.type as type, e.version as version";

/// Compiles a projection whose only handler is `batch.sql`.
pub(super) fn compile(projection: &Definition, handler: &Handler, events: &str) -> Compiled {
    let range = events_of_batch(projection, events, FIELDS);
    let mut body = Body::default();
    body.line("declare");
    body.line("    projectord_events bigint;");
    body.line("    projectord_digest bigint;");
    body.line("begin");
    let digests = events_of_batch(projection, events, "digest");
    body.line(&format!("    select count(*), coalesce(sum(digest) % {}, 0)", DIGEST + 1));
    body.line(&format!("      into projectord_events, projectord_digest from ({digests}) e;"));
    for upcaster in &projection.upcasters {
        body.refuse_nothing(upcaster, &range);
    }
    let (text, _) = over(&handler.sql, &read_today(&projection.upcasters, &range));
    let before = tokens(&handler.sql).first().map_or(1, |first| first.line) - 1;
    // PL/pgSQL names the line that a statement begins on.
    let file = handler.file.clone();
    body.sources.push(Source { file, first_line: body.lines + before + 1, lines: 1, line: before + 1 });
    body.line(&text);
    body.line("    ;");
    body.line("    return array[$2, projectord_events, projectord_digest];");
    body.line("end");
    function(body)
}

/// The statement over no events at all, for nothing but its syntax and names, and how many characters more there
/// are before whatever follows its beginning.
pub(crate) fn over_nothing(sql: &str) -> (String, usize) {
    over(sql, NOTHING)
}

/// The statement with the relation `batch` in it; `query` gives that. Lines stay what they are if it has one.
fn over(sql: &str, query: &str) -> (String, usize) {
    let tokens = tokens(sql);
    let Some(first) = tokens.first() else { return (sql.to_owned(), 0) };
    let recursive = tokens.get(1).filter(|second| second.is("RECURSIVE"));
    let (prefix, rest) = match (first.is("WITH"), recursive) {
        (true, Some(recursive)) => (format!("with recursive batch as ({query}),"), recursive.end()),
        (true, None) => (format!("with batch as ({query}),"), first.end()),
        (false, _) => (format!("with batch as ({query}) "), first.start),
    };
    let more = prefix.chars().count() - sql[first.start..rest].chars().count();
    // Without its own semicolon, which may be followed by comments.
    let end = tokens.last().filter(|last| last.is_sign(';')).map_or(sql.len(), |last| last.start);
    (format!("{}{prefix}{}", &sql[..first.start], &sql[rest..end]), more)
}

/// The events as they are read today.
fn read_today(upcasters: &[Upcaster], range: &str) -> String {
    if upcasters.is_empty() {
        return range.to_owned();
    }
    let column = |field: &str| {
        let cases: String = upcasters
            .iter()
            .filter_map(|upcaster| {
                let expression = if field == "data" { &upcaster.data } else { &upcaster.metadata };
                Some((upcaster, expression.as_ref()?))
            })
            .map(|(upcaster, expression)| {
                format!(" when {} then ({})", literal(&upcaster.event_type), upcast(expression, FROM))
            })
            .collect();
        if cases.is_empty() {
            field.to_owned()
        } else {
            format!("case type{cases} else {field} end as {field}")
        }
    };
    let columns: Vec<String> = FIELDS
        .split(", ")
        .map(|field| if matches!(field, "data" | "metadata") { column(field) } else { field.to_owned() })
        .collect();
    format!("select {} from ({range}) e", columns.join(", "))
}

impl Body {
    /// An upcaster that gives null for one of the events fails, as it does in the loop.
    fn refuse_nothing(&mut self, upcaster: &Upcaster, range: &str) {
        for expression in upcaster.expressions() {
            let of_type = format!("type = {}", literal(&upcaster.event_type));
            let query = upcast(expression, FROM);
            let file = &expression.file;
            self.sources.push(Source {
                file: file.clone(),
                first_line: self.lines + 1,
                lines: 1,
                line: expression.line,
            });
            self.line(&format!(
                "    if exists (select from ({range}) e where {of_type} and ({query}) is null) then"
            ));
            let message = literal(&format!("the upcaster {file} gives null"));
            self.line(&format!("        raise exception using errcode = '22004', message = {message};"));
            self.line("    end if;");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_relation_comes_first_and_every_line_stays_where_it_is() {
        for (sql, expected) in [
            ("insert into t\nselect 1;", "with batch as (q) insert into t\nselect 1"),
            (
                "-- a\nwith x as (select 1)\ndelete from t",
                "-- a\nwith batch as (q), x as (select 1)\ndelete from t",
            ),
            (
                "WITH Recursive x as (select 1) update t set a = 1;\n-- b",
                "with recursive batch as (q), x as (select 1) update t set a = 1",
            ),
        ] {
            let (text, more) = over(sql, "q");
            assert_eq!(text, expected);
            // Whatever an error points at is that much further on.
            let place = sql.rfind("1").unwrap();
            assert!(text[place + more..].starts_with('1'), "{text}");
        }
        assert_eq!(over("", "q").0, "");
    }
}
