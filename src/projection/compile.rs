//! Handlers compiled into one PL/pgSQL function: a loop over a range of the log, in order, that
//! dispatches by type; or, where there is `batch.sql`, that one statement. It answers how far it came, so that
//! nothing can leave it early unseen, and what it ran on. No templating: an event's data are variables, never text
//! of the program. Of a projection in Rust there are only its upcasters.

mod batch;
mod upcast;

pub(crate) use batch::over_nothing;
pub(crate) use upcast::upcast;

use super::{Definition, Handler, Pattern, sql};

/// The largest digest: 2^62 - 1.
const DIGEST: i64 = (1 << 62) - 1;

/// What the function takes: a range of positions, streams and positions to leave out, and a share of all
/// streams with the number of shares (as `projectord.share_of` has it).
const ARGUMENTS: &str = "bigint, bigint, uuid[], bigint[], integer, integer";

/// The function that applies a range of the log to the read model, and where its lines came from; the latter
/// is not known of one that was compiled from other files than there are now. Where handlers are in Rust, the
/// function that upcasts, and no SQL where there is nothing to upcast.
#[derive(Debug, Clone, Default)]
pub struct Compiled {
    /// `create function …`, to be run with the read model's schema on the path.
    pub sql: String,
    sources: Vec<Source>,
}

/// Lines of the function's body that came from a file.
#[derive(Debug, Clone)]
struct Source {
    file: String,
    first_line: usize,
    lines: usize,
    /// The line of the file that the first is.
    line: usize,
}

/// The fields of an event, as handlers see it.
const FIELDS: &str = "position, stream_id, stream_type, version, type, data, metadata, recorded_at";

/// Where the events are.
const LOG: &str = "projectord.events";

/// Compiles a projection.
pub fn compile(projection: &Definition) -> Compiled {
    compile_over(projection, LOG)
}

/// Compiles a projection to read its events from another table than the log, with the same columns.
pub(crate) fn compile_over(projection: &Definition, events: &str) -> Compiled {
    if projection.code.is_some() {
        return upcast::compile_for_code(projection);
    }
    if let Some(handler) = projection.handlers.iter().find(|handler| handler.is_batch()) {
        return batch::compile(projection, handler, events);
    }
    let mut body = Body::default();
    body.line("declare");
    body.line("    event record;");
    body.line("    projectord_events bigint := 0;");
    body.line("    projectord_digest bigint := 0;");
    if !projection.upcasters.is_empty() {
        body.line("    projectord_old record;");
    }
    body.line("begin");
    let query = events_of_batch(projection, events, &format!("{FIELDS}, digest"));
    body.line(&format!("    for event in {query} order by position"));
    body.line("    loop");
    // Before the handlers, which may change the variable `event`. Summed modulo 2^62, so that it cannot
    // overflow and any order gives the same.
    body.line("        projectord_events := projectord_events + 1;");
    body.line(&format!("        projectord_digest := (projectord_digest + event.digest) & {DIGEST};"));
    // Before the handlers, which see events as they are written today.
    body.upcasters(&projection.upcasters);
    let mut branches: Vec<(&Pattern, &Handler)> = projection
        .handlers
        .iter()
        .flat_map(|handler| handler.on.iter().map(move |pattern| (pattern, handler)))
        .collect();
    branches.sort_by(|(a, _), (b, _)| a.rank().cmp(&b.rank()));
    // Neighbouring patterns of one handler share a branch, so that its text stands there once.
    let groups = branches.chunk_by(|(_, a), (_, b)| a.file == b.file);
    for (nth, group) in groups.enumerate() {
        let conditions: Vec<String> =
            group.iter().map(|(pattern, _)| condition("event.type", pattern)).collect();
        let keyword = if nth == 0 { "if" } else { "elsif" };
        body.line(&format!("        {keyword} {} then", conditions.join(" or ")));
        body.handler(group[0].1);
    }
    body.line("        end if;");
    body.line("    end loop;");
    body.line("    return array[$2, projectord_events, projectord_digest];");
    body.line("end");
    function(body)
}

/// The query for these fields of a batch's events, those that a projection's handlers are for, in no order.
fn events_of_batch(projection: &Definition, events: &str, fields: &str) -> String {
    format!(
        "select {fields} from {events} where position > $1 and position <= $2{} \
         and ($3 is null or stream_id <> all($3)) and ($4 is null or position <> all($4)) \
         and ($6 is null or (uuid_hash_extended(stream_id, 0) & 1073741823) % $6 = $5)",
        type_filter(&projection.handlers)
    )
}

/// The function with this body.
fn function(body: Body) -> Compiled {
    let tag = body.unused_tag();
    let sql = format!(
        "create function projectord_apply({ARGUMENTS}) returns bigint[] language plpgsql security definer as {tag}\n{}{tag}",
        body.text
    );
    Compiled { sql, sources: body.sources }
}

/// One handler alone, compiled for nothing but its syntax: the statement, and where the handler's text
/// begins in it, in characters.
pub(crate) fn compile_alone(handler: &Handler) -> (String, usize) {
    let mut body = Body::default();
    body.line("declare event record; begin");
    let (text, more) = if handler.is_batch() {
        let (text, more) = over_nothing(&handler.sql);
        body.line(&text);
        body.line(";");
        (text, more)
    } else {
        body.handler(handler);
        (handler.sql.clone(), 0)
    };
    body.line("return 0; end");
    let tag = body.unused_tag();
    let head =
        format!("create function pg_temp.projectord_check() returns bigint language plpgsql as {tag}\n");
    let sql = format!("{head}{}{tag}", body.text);
    let start = sql.find(&text).unwrap_or(0);
    (sql.clone(), sql[..start].chars().count() + more)
}

impl Compiled {
    /// The file and line that a line of the function's body came from. PL/pgSQL counts from 1, and the
    /// first is the one that the body's opening quote ends.
    pub fn source(&self, body_line: usize) -> Option<(&str, usize)> {
        let line = body_line.checked_sub(1)?;
        let source =
            self.sources.iter().find(|it| line >= it.first_line && line < it.first_line + it.lines)?;
        Some((&source.file, line - source.first_line + source.line))
    }
}

#[derive(Default)]
struct Body {
    text: String,
    lines: usize,
    sources: Vec<Source>,
}

impl Body {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
        self.lines += 1 + line.matches('\n').count();
    }

    /// The handler's text as it is, in a block of its own.
    fn handler(&mut self, handler: &Handler) {
        self.line("        begin");
        let lines = handler.sql.lines().count();
        self.sources.push(Source { file: handler.file.clone(), first_line: self.lines + 1, lines, line: 1 });
        self.text.push_str(&handler.sql);
        if !handler.sql.ends_with('\n') {
            self.text.push('\n');
        }
        self.lines += lines;
        if !sql::scan(&handler.sql).terminated {
            self.line("        ;");
        }
        self.line("        end;");
    }

    /// A dollar quote that occurs nowhere in the body, so that no text can end it early.
    fn unused_tag(&self) -> String {
        let mut tag = String::from("$projectord$");
        while self.text.contains(&tag) {
            tag.insert(1, '_');
        }
        tag
    }
}

/// Lets PostgreSQL pass over events that no handler is for.
fn type_filter(handlers: &[Handler]) -> String {
    let patterns: Vec<&Pattern> = handlers.iter().flat_map(|handler| &handler.on).collect();
    if patterns.iter().any(|pattern| pattern.is_all()) {
        return String::new();
    }
    let types: Vec<String> = patterns
        .iter()
        .filter(|pattern| !pattern.is_glob())
        .map(|pattern| literal(pattern.as_str()))
        .collect();
    let globs = patterns.iter().filter(|pattern| pattern.is_glob()).map(|pattern| condition("type", pattern));
    let mut conditions: Vec<String> = globs.collect();
    if !types.is_empty() {
        conditions.insert(0, format!("type in ({})", types.join(", ")));
    }
    format!(" and ({})", conditions.join(" or "))
}

fn condition(value: &str, pattern: &Pattern) -> String {
    if pattern.is_all() {
        "true".into()
    } else if pattern.is_glob() {
        format!("{value} like {}", literal(&pattern.to_like()))
    } else {
        format!("{value} = {}", literal(pattern.as_str()))
    }
}

/// A text as a SQL literal, whatever `standard_conforming_strings` is.
fn literal(text: &str) -> String {
    if text.contains('\\') {
        format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handler(file: &str, on: &[&str], sql: &str) -> Handler {
        Handler {
            file: file.into(),
            on: on.iter().map(|on| Pattern::new(on).unwrap()).collect(),
            sql: sql.into(),
        }
    }

    fn projection(handlers: Vec<Handler>) -> Definition {
        Definition {
            name: "p".into(),
            folder: "p".into(),
            description: None,
            on_error: super::super::OnError::Halt,
            partition: None,
            row_stream: None,
            schema_sql: String::new(),
            handlers,
            code: None,
            upcasters: Vec::new(),
        }
    }

    #[test]
    fn a_line_of_the_function_leads_back_to_its_file() {
        let compiled = compile(&projection(vec![
            handler("A.sql", &["A"], "perform 1;\nperform 2"),
            handler("B.sql", &["B_*", "it's"], "perform 3;\n"),
        ]));
        let body: Vec<&str> = compiled.sql.lines().collect();
        for (at, line) in body.iter().enumerate() {
            // The body's line 1 ends the first line of the statement.
            let expected = match *line {
                "perform 1;" => Some(("A.sql", 1)),
                "perform 2" => Some(("A.sql", 2)),
                "perform 3;" => Some(("B.sql", 1)),
                _ => continue,
            };
            assert_eq!(compiled.source(at + 1), expected, "{}", compiled.sql);
        }
        assert!(compiled.sql.contains(r"event.type like E'B\\_%'"), "{}", compiled.sql);
        assert!(compiled.sql.contains("event.type = 'it''s'"), "{}", compiled.sql);
    }

    #[test]
    fn no_text_can_end_the_function_early() {
        let compiled =
            compile(&projection(vec![handler("A.sql", &["A"], "perform $projectord$x$projectord$;")]));
        assert!(compiled.sql.ends_with("$_projectord$"));
    }

    #[test]
    fn a_change_of_anything_that_rows_depend_on_changes_the_fingerprint() {
        let base = projection(vec![handler("A.sql", &["A"], "perform 1;")]);
        let mut prints = vec![base.fingerprint()];
        for changed in [
            projection(vec![handler("A.sql", &["A"], "perform 2;")]),
            projection(vec![handler("A.sql", &["B"], "perform 1;")]),
            projection(vec![handler("A.sql", &["A", "B"], "perform 1;")]),
            Definition { schema_sql: "create table t ();".into(), ..base.clone() },
        ] {
            prints.push(changed.fingerprint());
        }
        prints.sort();
        prints.dedup();
        assert_eq!(prints.len(), 5);
    }
}
