//! The names that a text of SQL mentions, for what makes a replay differ: what they are, PostgreSQL knows.

use super::tokens::{Kind, Token, tokens};

/// What gives another time, or another number, whenever it is asked, though PostgreSQL does not call it volatile.
const UNSTEADY: [&str; 8] = [
    "now",
    "transaction_timestamp",
    "statement_timestamp",
    "pg_current_xact_id",
    "pg_current_snapshot",
    "pg_backend_pid",
    "txid_current",
    "txid_current_snapshot",
];
/// The same, as key words, which need no parentheses.
const UNSTEADY_WORDS: [&str; 5] =
    ["current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"];
/// Volatile, and known without asking PostgreSQL.
const VOLATILE: [&str; 6] =
    ["random", "gen_random_uuid", "clock_timestamp", "timeofday", "nextval", "currval"];
/// Texts that become the time at which they are read.
const UNSTEADY_TEXTS: [&str; 4] = ["'now'", "'today'", "'tomorrow'", "'yesterday'"];
/// After these stands a table.
const BEFORE_TABLES: [&str; 8] = ["FROM", "JOIN", "INTO", "UPDATE", "ONLY", "TABLE", "USING", "REFERENCES"];

/// A name in a text of SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mention {
    /// The line, from 1.
    pub(crate) line: usize,
    /// What stands before its point.
    pub(crate) qualifier: Option<String>,
    /// The name.
    pub(crate) name: String,
    /// A parenthesis follows, and it is no table's list of columns.
    pub(crate) is_call: bool,
    /// It stands where tables stand.
    pub(crate) is_table: bool,
    /// It is the time at which it is asked for.
    pub(crate) is_unsteady: bool,
}

impl Mention {
    /// Whether PostgreSQL need not be asked: it is never the same twice.
    pub(crate) fn is_never_the_same(&self) -> bool {
        self.is_unsteady
            || self.is_call
                && self.qualifier.as_deref().is_none_or(|it| it == "pg_catalog")
                && VOLATILE.contains(&self.name.as_str())
    }

    /// As it stands there.
    pub(crate) fn shown(&self) -> String {
        let qualifier = self.qualifier.as_ref().map(|it| format!("{it}.")).unwrap_or_default();
        format!("{qualifier}{}{}", self.name, if self.is_call { "()" } else { "" })
    }
}

/// The names in `sql`, also those in the bodies of functions, and of `do`.
pub(crate) fn mentions(sql: &str) -> Vec<Mention> {
    let mut found = Vec::new();
    collect(sql, 0, &mut found);
    found
}

fn collect(sql: &str, lines_before: usize, found: &mut Vec<Mention>) {
    let all = tokens(sql);
    let mut at = 0;
    while at < all.len() {
        let (token, before) = (all[at], at.checked_sub(1).map(|before| all[before]));
        let line = lines_before + token.line;
        if token.kind == Kind::Text {
            text(&all, at, line, found);
            at += 1;
            continue;
        }
        let Some(first) = token.name() else {
            at += 1;
            continue;
        };
        let mut names = vec![first];
        while let (Some(point), Some(next)) = (all.get(at + 1), all.get(at + 2))
            && point.is_sign('.')
            && let Some(name) = next.name()
        {
            names.push(name);
            at += 2;
        }
        let is_table = before.is_some_and(|it| it.is_any(&BEFORE_TABLES));
        let lists_columns = is_table && before.is_some_and(|it| !it.is_any(&["FROM", "JOIN", "USING"]));
        let is_call = all.get(at + 1).is_some_and(|it| it.is_sign('(')) && !lists_columns;
        let name = names.get(1).unwrap_or(&names[0]).clone();
        let qualifier = (names.len() > 1).then(|| names[0].clone());
        let is_builtin = qualifier.as_deref().is_none_or(|it| it == "pg_catalog");
        let is_unsteady = is_call && is_builtin && UNSTEADY.contains(&name.as_str())
            || token.kind == Kind::Word && names.len() == 1 && UNSTEADY_WORDS.contains(&name.as_str());
        found.push(Mention { line, qualifier, name, is_call, is_table, is_unsteady });
        at += 1;
    }
}

/// A string: a body of code, a moment, or nothing.
fn text(all: &[Token<'_>], at: usize, line: usize, found: &mut Vec<Mention>) {
    let token = all[at];
    let before = |back: usize| at.checked_sub(back).map(|at| all[at]);
    let is = |token: Option<Token<'_>>, word: &str| token.is_some_and(|it| it.is(word));
    let is_body = token.text.starts_with('$') && (is(before(1), "AS") || is(before(1), "DO"));
    if is_body {
        let tag = token.text[1..].find('$').map_or(1, |end| end + 2);
        let inside = token.text.get(tag..token.text.len().saturating_sub(tag)).unwrap_or_default();
        collect(inside, line - 1, found);
        return;
    }
    let is_cast = all.get(at + 1).is_some_and(|it| it.is_sign(':'))
        && all
            .get(at + 3)
            .is_some_and(|it| it.is_any(&["date", "time", "timetz", "timestamp", "timestamptz"]));
    let is_typed = before(1).is_some_and(|it| it.is_any(&["date", "time", "timestamp", "timestamptz"]));
    let name = token.text.to_lowercase();
    if (is_cast || is_typed) && UNSTEADY_TEXTS.contains(&name.as_str()) {
        let (qualifier, is_call, is_table, is_unsteady) = (None, false, false, true);
        found.push(Mention { line, qualifier, name, is_call, is_table, is_unsteady });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn never_the_same(sql: &str) -> Vec<String> {
        let found = mentions(sql).into_iter().filter(Mention::is_never_the_same);
        found.map(|it| format!("{}:{}", it.line, it.shown())).collect()
    }

    #[test]
    fn what_is_never_the_same_is_found_in_code_alone() {
        let found = never_the_same(
            "-- now()\ninsert into t (now, random) values (now(), 'now()', CURRENT_DATE);\nupdate t set now = now + 1,
             at = pg_catalog.clock_timestamp(), d = 'today'::date, e = 'today', f = timestamp 'now', \"current_date\" = 1;",
        );
        let wanted = ["2:now()", "2:current_date", "4:pg_catalog.clock_timestamp()", "4:'today'", "4:'now'"];
        assert_eq!(found, wanted);
        assert!(never_the_same("insert into random (a) values (1); select mine.now()").is_empty());
    }

    #[test]
    fn bodies_of_functions_are_code() {
        let sql = "create function f() returns int language sql as $x$\n select random() $x$;\nselect $$ random() $$;";
        assert_eq!(never_the_same(sql), ["2:random()"]);
        assert_eq!(never_the_same("do $$ begin\n\nperform now(); end $$"), ["3:now()"]);
    }

    #[test]
    fn a_name_is_taken_apart() {
        let found = mentions("select a.b from c.d join e.f(1)");
        let shown: Vec<(String, bool)> = found.iter().map(|it| (it.shown(), it.is_table)).collect();
        assert!(
            shown.contains(&("c.d".into(), true)) && shown.contains(&("e.f()".into(), true)),
            "{shown:?}"
        );
        assert!(shown.contains(&("a.b".into(), false)));
    }

    #[test]
    fn it_ends_on_anything() {
        for text in ["$$", "as $", "as $$", "do $a$", "a.", "'now'::", "\"", "as $é$$é$"] {
            mentions(text);
        }
    }
}
