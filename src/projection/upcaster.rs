//! Upcasters: what an old event is read as. `_upcasters/OrderCreated.sql` is an expression of the new `data`,
//! `OrderCreated.metadata.sql` one of the new `metadata`, both of what the log has. The log stays as it is.

use std::path::Path;

use super::folder::{read_inside, sql_files};
use super::mentions::mentions;
use super::tokens::{Token, tokens};
use super::{Definition, Problem, sql};

/// The folder, beside the projections.
pub(crate) const FOLDER: &str = "_upcasters";
const METADATA: &str = ".metadata.sql";
/// What an expression has no need of.
const NOT_PURE: [&str; 6] = ["INTO", "INSERT", "UPDATE", "DELETE", "MERGE", "EVENT"];
/// What ends a query's list of tables.
const AFTER_TABLES: [&str; 10] =
    ["WHERE", "GROUP", "ORDER", "HAVING", "LIMIT", "OFFSET", "WINDOW", "UNION", "EXCEPT", "INTERSECT"];

/// What events of one type are read as.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Upcaster {
    /// The type, exactly.
    pub event_type: String,
    /// The new `data`, where they are new.
    pub data: Option<Expression>,
    /// The new `metadata`, where they are new.
    pub metadata: Option<Expression>,
}

/// One value, computed from `data`, `metadata`, `type` and `version` of the event as the log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression {
    /// The file, with its folder.
    pub file: String,
    /// The expression.
    pub sql: String,
    /// The line that it begins on, after comments.
    pub line: usize,
}

impl Upcaster {
    /// Its expressions.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        self.data.iter().chain(&self.metadata)
    }
}

/// All upcasters of a folder of projections.
#[derive(Debug, Default)]
pub(super) struct Upcasters {
    /// In order of type.
    right: Vec<Upcaster>,
    /// The types of those that are wrong.
    wrong: Vec<String>,
}

impl Upcasters {
    /// Has the projection read events through those of the types that it handles.
    ///
    /// # Errors
    /// When one of them is wrong: it must not go on with events as they were.
    pub(super) fn give_to(&self, mut projection: Definition) -> Result<Definition, String> {
        if let Some(wrong) = self.wrong.iter().find(|it| projection.handler_for(it).is_some()) {
            return Err(format!("the upcaster of {wrong:?}, which it handles, is wrong: {FOLDER}"));
        }
        let wanted = |it: &&Upcaster| projection.handler_for(&it.event_type).is_some();
        projection.upcasters = self.right.iter().filter(wanted).cloned().collect();
        Ok(projection)
    }
}

/// The upcasters beside the projections in `path`, and what is wrong with them. None where there is no such folder.
pub(super) fn load(path: &Path) -> (Upcasters, Vec<Problem>) {
    let folder = path.join(FOLDER);
    let (mut upcasters, mut refused, mut problems) = (Vec::<Upcaster>::new(), Vec::new(), Vec::new());
    if !folder.is_dir() {
        return (Upcasters::default(), problems);
    }
    for file in sql_files(&folder, &mut problems) {
        let is_metadata = file.ends_with(METADATA);
        let event_type = file.trim_end_matches(".sql");
        let event_type = if is_metadata { event_type.trim_end_matches(".metadata") } else { event_type };
        let sql = match read_inside(&folder, &file).and_then(|sql| judged(&folder.join(&file), sql)) {
            Ok(sql) => sql,
            Err(problem) => {
                problems.push(problem);
                refused.push(event_type.to_owned());
                continue;
            }
        };
        let line = tokens(&sql).first().map_or(1, |it| it.line);
        let expression = Some(Expression { file: format!("{FOLDER}/{file}"), sql, line });
        let at = upcasters.iter().position(|it| it.event_type == event_type).unwrap_or_else(|| {
            upcasters.push(Upcaster { event_type: event_type.to_owned(), ..Upcaster::default() });
            upcasters.len() - 1
        });
        match is_metadata {
            true => upcasters[at].metadata = expression,
            false => upcasters[at].data = expression,
        }
    }
    (Upcasters { right: upcasters, wrong: refused }, problems)
}

/// The upcasters that are right.
pub(crate) fn load_upcasters(path: &Path) -> Vec<Upcaster> {
    load(path).0.right
}

/// The text, where it is one expression that gives the same for the same event.
fn judged(path: &Path, text: String) -> Result<String, Problem> {
    let refused = |line: usize, message: String| Err(Problem::new(path, message).at_line(line));
    if let Some(line) = sql::scan(&text).unclosed {
        return refused(line, "a quote or comment that begins here is not closed".into());
    }
    if let Some(at) = text.find('\0') {
        return refused(text[..at].matches('\n').count() + 1, "it contains a NUL".into());
    }
    let all = tokens(&text);
    if all.is_empty() {
        return refused(
            1,
            "it is empty; an upcaster is an expression, as data || '{\"currency\": \"EUR\"}'".into(),
        );
    }
    let mut depth = 0_i32;
    for token in &all {
        depth += i32::from(token.is_sign('(')) - i32::from(token.is_sign(')'));
        if token.is_sign(';') {
            return refused(token.line, "an upcaster is one expression, without a semicolon".into());
        }
        if token.is_sign('$') {
            return refused(token.line, "an upcaster has no parameters, as $1".into());
        }
        if depth < 0 {
            return refused(token.line, "a parenthesis is closed that was not opened".into());
        }
        if token.is_any(&NOT_PURE) {
            let word = token.text;
            return refused(
                token.line,
                format!(
                    "{word} has no place in an upcaster: it is an expression of data, metadata, type and version"
                ),
            );
        }
    }
    if depth > 0 {
        return refused(all[all.len() - 1].line, "a parenthesis is not closed".into());
    }
    if let Some(table) = table(&all) {
        let name = table.text;
        return refused(
            table.line,
            format!("an upcaster reads no tables, as {name}: the same event must always become the same"),
        );
    }
    if let Some(mention) = mentions(&text).iter().find(|it| it.is_never_the_same()) {
        let shown = mention.shown();
        return refused(
            mention.line,
            format!("{shown} has no place in an upcaster: the same event must always become the same"),
        );
    }
    Ok(text)
}

/// The first table that a query in the expression reads; functions and the query's own names are none.
fn table<'a>(all: &[Token<'a>]) -> Option<Token<'a>> {
    const QUERY: [&str; 4] = ["SELECT", "WITH", "VALUES", "TABLE"];
    let is_query = |at: usize| all.get(at).is_some_and(|it| it.is_any(&QUERY));
    // For each open parenthesis: whether a query is in it, and whether its list of tables is being read.
    let mut open = vec![(is_query(0), false)];
    let own = own_names(all);
    let mut expected = false;
    for (at, token) in all.iter().enumerate() {
        let (in_query, in_list) = open.last().copied().unwrap_or_default();
        if expected && !token.is_any(&["LATERAL", "ONLY", "ROWS"]) {
            expected = false;
            if let Some(name) = token.name() {
                let mut end = at + 1;
                while all.get(end).is_some_and(|it| it.is_sign('.')) {
                    end += 2;
                }
                let is_function = all.get(end).is_some_and(|it| it.is_sign('(') || it.is("FROM"));
                if !is_function && !own.contains(&name) {
                    return Some(*token);
                }
            }
        }
        let distinct = at > 0 && all[at - 1].is("DISTINCT");
        match token {
            token if token.is_sign('(') => open.push((is_query(at + 1), false)),
            token if token.is_sign(')') => drop(open.pop()),
            token if token.is_sign(',') && in_list => expected = true,
            token if in_query && (token.is("FROM") && !distinct || token.is("JOIN")) => {
                expected = true;
                if let Some(last) = open.last_mut() {
                    last.1 = true;
                }
            }
            token if token.is("TABLE") && in_query => expected = true,
            token if in_list && token.is_any(&AFTER_TABLES) => {
                if let Some(last) = open.last_mut() {
                    last.1 = false;
                }
            }
            _ => {}
        }
    }
    None
}

/// What `with name as (select …)` makes.
fn own_names(all: &[Token<'_>]) -> Vec<String> {
    let mut names = Vec::new();
    for at in 1..all.len() {
        let opens = (at + 1..=at + 3)
            .find(|at| all.get(*at).is_some_and(|it| it.is_sign('(')))
            .is_some_and(|at| all.get(at + 1).is_some_and(|it| it.is_any(&["SELECT", "WITH", "VALUES"])));
        if !all[at].is("AS") || !opens {
            continue;
        }
        let mut name = at - 1;
        if all[name].is_sign(')') {
            name = (0..name).rev().find(|at| all[*at].is_sign('(')).unwrap_or(0).saturating_sub(1);
        }
        names.extend(all[name].name());
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> Option<String> {
        judged(Path::new("U.sql"), text.into()).err().map(|problem| problem.to_string())
    }

    #[test]
    fn an_expression_is_taken() {
        for text in [
            "case when coalesce((metadata->>'schema')::int, 1) < 2 then data || '{\"a\": 1}' else data end",
            "-- why\ndata - 'from' -- ; (",
            "(select jsonb_object_agg(upper(k), v) from jsonb_each(data) as each(k, v) where v is distinct from 'null')",
            "(with a as (select 1 as n), b(m) as (values (2)) select to_jsonb(n + m) from a, b)",
            "jsonb_build_object('y', extract(year from (data->>'at')::timestamp), 's', substring(type from 2))",
            "(select to_jsonb(x) from (select 1) x cross join lateral jsonb_array_elements(data) y)",
        ] {
            assert_eq!(refusal(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_pure_expression_is_refused_with_its_line() {
        for (text, wanted) in [
            ("", "U.sql:1: it is empty"),
            ("-- nothing", "U.sql:1: it is empty"),
            ("data;", "U.sql:1: an upcaster is one expression"),
            ("data\n) or (true", "U.sql:2: a parenthesis is closed"),
            ("(data", "U.sql:1: a parenthesis is not closed"),
            ("data ||\n'{}", "U.sql:2: a quote"),
            ("jsonb_build_object('at', \n now())", "U.sql:2: now() has no place"),
            ("to_jsonb(current_date)", "U.sql:1: current_date has no place"),
            ("to_jsonb(random())", "U.sql:1: random() has no place"),
            ("(select data into x)", "U.sql:1: into has no place"),
            ("event.data", "U.sql:1: event has no place"),
            ("(select to_jsonb(t) from t)", "U.sql:1: an upcaster reads no tables, as t"),
            ("(select 1 from jsonb_each(data) e, orders.t)", "reads no tables, as orders"),
            ("(select 1 from (select 1) a\njoin t on true)", "U.sql:2: an upcaster reads no tables, as t"),
            ("(table t)", "reads no tables, as t"),
        ] {
            let said = refusal(text).unwrap_or_default();
            assert!(said.contains(wanted), "{text}: {said}");
        }
    }
}
