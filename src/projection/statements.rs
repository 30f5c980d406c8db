//! The plain SQL in a handler: its statements, conditions and assigned values, each with the declarations that
//! are in scope there. PL/pgSQL looks at none of them before it runs them.
//!
//! Each becomes a function that explains it (PostgreSQL then finds every name, and runs nothing), on the lines
//! that it has in its file.

use std::ops::Range;

use super::tokens::{Token, tokens};

/// The name of the function that explains a statement.
pub(crate) const PROBE: &str = "projectord_check";
/// The type that `event` has in it.
pub(crate) const EVENT: &str = "pg_temp.projectord_event";

const SQL: [&str; 7] = ["INSERT", "UPDATE", "DELETE", "MERGE", "PERFORM", "SELECT", "WITH"];
const QUERY: [&str; 8] = ["SELECT", "WITH", "VALUES", "TABLE", "INSERT", "UPDATE", "DELETE", "("];
/// What begins with these names nothing that could be looked up before it runs.
const NO_NAMES: [&str; 12] = [
    "NULL", "RAISE", "ASSERT", "EXIT", "CONTINUE", "RETURN", "GET", "CLOSE", "FETCH", "MOVE", "COMMIT",
    "ROLLBACK",
];

/// A piece of a handler that PostgreSQL can look at before it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Statement {
    /// The line that it begins on, from 1.
    pub(crate) line: usize,
    /// A query whose rows nobody takes, which PL/pgSQL refuses when it comes there.
    pub(crate) rows_for_nobody: bool,
    range: Range<usize>,
    form: Form,
    within: Vec<Scope>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Statement,
    Perform,
    Value,
}

/// Something that a block or loop brings into scope.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Scope {
    /// From `declare` to `begin`.
    Declared(Range<usize>),
    /// The number that a loop counts, and where that stands.
    Counter(usize, String),
    Nothing,
}

/// What there is in a handler.
#[derive(Debug, Default)]
pub(crate) struct Statements {
    /// What can be looked at.
    pub(crate) plain: Vec<Statement>,
    /// How many statements say only when they run what they do, as `execute`.
    pub(crate) unseen: usize,
    /// Whether names may come and go while the handler runs.
    pub(crate) makes_names: bool,
}

/// Looks over a handler.
pub(crate) fn statements(sql: &str) -> Statements {
    let mut reader = Reader { tokens: tokens(sql), at: 0, open: Vec::new(), found: Statements::default() };
    reader.found.makes_names = reader.tokens.iter().any(|it| it.is("set_config"));
    while reader.at < reader.tokens.len() {
        reader.statement();
    }
    reader.found
}

struct Reader<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
    open: Vec<Scope>,
    found: Statements,
}

impl Reader<'_> {
    /// What begins here; afterwards, the next one does.
    fn statement(&mut self) {
        let begin = self.at;
        if self.tokens[begin].is_sign('<') {
            self.skip_label();
        }
        let Some(first) = self.tokens.get(self.at).copied() else { return };
        if first.is("DECLARE") {
            let end = self.until(self.at, &["BEGIN"]);
            let range = self.tokens[begin].start..self.end_of(end);
            self.enter(end + 1, Scope::Declared(range));
        } else if first.is_any(&["BEGIN", "LOOP"]) {
            self.enter(self.at + 1, Scope::Nothing);
        } else if first.is_any(&["ELSE", "EXCEPTION"]) {
            self.at += 1;
        } else if first.is_any(&["IF", "ELSIF", "ELSEIF"]) {
            let then = self.until(self.at + 1, &["THEN"]);
            self.value(self.at + 1..then);
            match first.is("IF") {
                true => self.enter(then + 1, Scope::Nothing),
                false => self.at = then + 1,
            }
        } else if first.is("WHEN") {
            self.at = self.until(self.at + 1, &["THEN"]) + 1;
        } else if first.is("CASE") {
            let when = self.until(self.at + 1, &["WHEN"]);
            self.value(self.at + 1..when);
            self.enter(when, Scope::Nothing);
        } else if first.is("WHILE") {
            let end = self.until(self.at + 1, &["LOOP"]);
            self.value(self.at + 1..end);
            self.enter(end + 1, Scope::Nothing);
        } else if first.is_any(&["FOR", "FOREACH"]) {
            self.counting_or_reading();
        } else if first.is("END") {
            self.open.pop();
            self.at = self.semicolon() + 1;
        } else {
            self.plain(first);
        }
    }

    /// `<<name>>`
    fn skip_label(&mut self) {
        while self.at < self.tokens.len() && !self.tokens[self.at].is_sign('>') {
            self.at += 1;
        }
        self.at = (self.at + 2).min(self.tokens.len());
    }

    fn enter(&mut self, at: usize, scope: Scope) {
        self.at = at;
        self.open.push(scope);
    }

    fn counting_or_reading(&mut self) {
        let end = self.until(self.at + 1, &["LOOP"]);
        let of = (self.at + 1..end).find(|at| self.tokens[*at].is("IN")).map_or(end, |at| at + 1);
        let is_dot = |at: usize| self.tokens[at].is_sign('.');
        let counts = (of..end.saturating_sub(1)).any(|at| is_dot(at) && is_dot(at + 1));
        let scope = match self.tokens.get(self.at + 1) {
            Some(counter) if counts => Scope::Counter(self.tokens[self.at].start, counter.text.to_owned()),
            _ => Scope::Nothing,
        };
        if let Some(first) = self.tokens.get(of).filter(|_| of < end && !counts) {
            if first.is("EXECUTE") {
                self.found.unseen += 1;
            } else if first.is_any(&QUERY) || first.is_sign('(') {
                self.add(of..end, Form::Statement, false);
            }
        }
        self.enter(end + 1, scope);
    }

    fn plain(&mut self, first: Token<'_>) {
        let end = self.semicolon();
        let all = self.at..end;
        if first.is_any(&SQL) {
            let takes = taken(&self.tokens[all.clone()]).is_some();
            let form = if first.is("PERFORM") { Form::Perform } else { Form::Statement };
            self.add(all, form, first.is("SELECT") && !takes);
        } else if let Some(assigned) = self.assigned(all) {
            self.value(assigned);
        } else if !first.is_any(&NO_NAMES) && !first.is_sign(';') {
            self.found.unseen += 1;
            self.found.makes_names |= !first.is_any(&["TRUNCATE", "LOCK", "NOTIFY"]);
        }
        self.at = end + 1;
    }

    /// The value of `name := value`.
    fn assigned(&self, statement: Range<usize>) -> Option<Range<usize>> {
        self.tokens[statement.start].name()?;
        // A name, and what leads into it: `.field`, `[1]`.
        let equals = statement.clone().find(|at| self.tokens[*at].is_sign('='))?;
        let target = &self.tokens[statement.start + 1..equals];
        let plain = target.iter().all(|it| {
            it.text.starts_with(['.', '[', ']', ':'])
                || it.text.starts_with(|c: char| c.is_ascii_digit())
                || it.name().is_some()
        });
        let leads = target.first().is_none_or(|it| [".", "[", ":"].contains(&it.text));
        (plain && leads).then_some(equals + 1..statement.end)
    }

    fn value(&mut self, tokens: Range<usize>) {
        self.add(tokens, Form::Value, false);
    }

    fn add(&mut self, tokens: Range<usize>, form: Form, rows_for_nobody: bool) {
        let pieces = self.tokens.get(tokens).unwrap_or_default();
        if let (Some(first), Some(last)) = (pieces.first(), pieces.last()) {
            let (line, range) = (first.line, first.start..last.end());
            let within = self.open.clone();
            self.found.plain.push(Statement { line, rows_for_nobody, range, form, within });
        }
    }

    /// The next of these words at or after `at` that is no part of a `case … end`.
    fn until(&self, at: usize, words: &[&str]) -> usize {
        let mut cases = 0_usize;
        for (at, token) in self.tokens.iter().enumerate().skip(at) {
            if cases == 0 && token.is_any(words) {
                return at;
            }
            match token {
                token if token.is("CASE") => cases += 1,
                token if token.is("END") => cases = cases.saturating_sub(1),
                _ => {}
            }
        }
        self.tokens.len()
    }

    fn semicolon(&self) -> usize {
        (self.at..self.tokens.len()).find(|at| self.tokens[*at].is_sign(';')).unwrap_or(self.tokens.len())
    }

    fn end_of(&self, at: usize) -> usize {
        self.tokens.get(at).or(self.tokens.last()).map_or(0, Token::end)
    }
}

/// `into strict a, b.c`, which is PL/pgSQL and not SQL: where it stands, in bytes.
fn taken(statement: &[Token<'_>]) -> Option<Range<usize>> {
    let mut depth = 0_i32;
    for (at, token) in statement.iter().enumerate() {
        match token {
            token if token.is_sign('(') => depth += 1,
            token if token.is_sign(')') => depth -= 1,
            _ => {}
        }
        let of_sql = at > 0 && statement[at - 1].is_any(&["INSERT", "MERGE"]);
        if depth > 0 || of_sql || !token.is("INTO") {
            continue;
        }
        let mut end = at + 1;
        if statement.get(end).is_some_and(|it| it.is("STRICT")) {
            end += 1;
        }
        end += 1;
        while statement.get(end).is_some_and(|it| it.is_sign('.') || it.is_sign(',')) {
            end += 2;
        }
        let end = end.min(statement.len());
        return Some(token.start..statement[end - 1].end());
    }
    None
}

impl Statement {
    /// The body of a function that explains it, with everything on the line of its file, after the first.
    pub(crate) fn probe(&self, sql: &str) -> String {
        // The two texts are there where an exception is caught.
        let mut body =
            format!("declare event {EVENT}; projectord_row record; sqlstate text; sqlerrm text; begin\n");
        let mut written = 0;
        let mut ends = 0;
        for scope in &self.within {
            match scope {
                Scope::Declared(range) => {
                    push_blank(&mut body, &sql[written..range.start]);
                    body.push_str(&sql[range.clone()]);
                    written = range.end;
                }
                Scope::Counter(at, name) => {
                    push_blank(&mut body, &sql[written..*at]);
                    body.push_str(&format!("declare {name} integer; begin"));
                    written = *at;
                }
                Scope::Nothing => continue,
            }
            ends += 1;
        }
        push_blank(&mut body, &sql[written..self.range.start]);
        let text = &sql[self.range.clone()];
        let text = match self.form {
            Form::Statement => match taken(&tokens(text)) {
                Some(into) => {
                    format!("{}{}{}", &text[..into.start], blank(&text[into.clone()]), &text[into.end..])
                }
                None => text.to_owned(),
            },
            Form::Perform => format!("select {}", &text["perform".len()..]),
            Form::Value => format!("select ({text}\n)"),
        };
        body.push_str(&format!(" for projectord_row in explain {text}\n loop exit; end loop;"));
        body.push_str(&" end;".repeat(ends));
        body.push_str(" end");
        body
    }
}

fn push_blank(body: &mut String, text: &str) {
    body.push_str(&blank(text));
}

/// Nothing, on as many lines.
fn blank(text: &str) -> String {
    format!(" {}", "\n".repeat(text.matches('\n').count()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(sql: &str) -> Vec<(usize, &str)> {
        statements(sql).plain.iter().map(|it| (it.line, &sql[it.range.clone()])).collect()
    }

    #[test]
    fn statements_conditions_and_values_are_found_wherever_they_stand() {
        let sql = "<<a>>\ndeclare n int := 1; r record;\nbegin
            if n = case when true then 1 else 2 end then perform f(1);
            elsif exists (select 1) then
                n := n + 1; r.x = 2;
            else
                for i in 1..n loop delete from t where k = i; end loop;
                for r in select k from t loop null; end loop;
            end if;
            case n when 1 then insert into t values (1); else null; end case;
        exception when others then raise notice 'x'; update t set k = 1;
        end;
        with x as (select 1) select k into strict n, r.y from x";
        assert_eq!(
            found(sql),
            [
                (4, "n = case when true then 1 else 2 end"),
                (4, "perform f(1)"),
                (5, "exists (select 1)"),
                (6, "n + 1"),
                (6, "2"),
                (8, "delete from t where k = i"),
                (9, "select k from t"),
                (11, "n"),
                (11, "insert into t values (1)"),
                (12, "update t set k = 1"),
                (14, "with x as (select 1) select k into strict n, r.y from x"),
            ]
        );
    }

    #[test]
    fn what_is_only_known_when_it_runs_is_counted() {
        let found = statements("execute 'x'; for r in execute 'y' loop call z(); end loop; null; a := 1;");
        assert_eq!((found.unseen, found.makes_names, found.plain.len()), (3, true, 1));
        assert!(!statements("insert into t values (1)").makes_names);
    }

    #[test]
    fn a_query_whose_rows_nobody_takes_is_seen() {
        let nobody = |sql: &str| statements(sql).plain.iter().filter(|it| it.rows_for_nobody).count();
        assert_eq!(nobody("select 1; if a then select 2; end if; insert into t select 3;"), 2);
        assert_eq!(nobody("select 1 into a; for r in select 1 loop null; end loop; perform 1;"), 0);
    }

    #[test]
    fn a_probe_keeps_every_line_and_what_is_in_scope() {
        let sql = "declare\n  a int;\nbegin\n  perform 1;\n  for i in 1..2 loop\n    select k\n      into strict a\n      from t where k = i;\n  end loop;\nend";
        let last = statements(sql).plain.pop().unwrap();
        let probe = last.probe(sql);
        let lines: Vec<&str> = probe.lines().map(str::trim).collect();
        assert_eq!(lines[1..4], ["declare", "a int;", "begin"]);
        assert!(lines[5].ends_with("declare i integer; begin"), "{probe}");
        assert!(lines[6].ends_with("explain select k") && lines[7].is_empty(), "{probe}");
        assert_eq!(lines[8], "from t where k = i");
        assert!(probe.ends_with(" end; end; end"), "{probe}");
    }

    #[test]
    fn it_ends_on_anything() {
        for text in [
            "<<",
            "if",
            "for i in 1.",
            "declare",
            "case",
            "end",
            ";",
            "select into",
            "x :=",
            "into",
            "perform",
        ] {
            for it in statements(text).plain {
                it.probe(text);
            }
        }
    }
}
