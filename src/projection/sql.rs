//! Just enough of SQL's grammar to see where statements begin and end: strings, quoted names, dollar
//! quotes and comments are passed over. PostgreSQL does the real parsing.

/// A statement's first words, upper case, and where it stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) words: Vec<String>,
    /// The line that it begins on, from 1.
    pub(super) line: usize,
    /// It follows THEN, ELSE, LOOP or BEGIN and not a semicolon; so it may also be a part of an expression.
    nested: bool,
    in_loop: bool,
}

/// What a look over the text found.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) statements: Vec<Statement>,
    /// Whether the last statement has its semicolon.
    pub(super) terminated: bool,
    /// The line of a quote or comment that nothing closes.
    pub(super) unclosed: Option<usize>,
    opened: bool,
    loops: usize,
    /// How many ENDs the body of an SQL function, after BEGIN ATOMIC, still needs.
    atomic: usize,
    last_word: String,
}

/// Why a statement must not stand where it stands, if it must not.
pub(super) fn refusal(statement: &Statement, is_handler: bool) -> Option<&'static str> {
    const TRANSACTION: &str = "the daemon commits rows and checkpoint together, as one role";
    const BATCH: &str =
        "it would leave out all later events of the batch, or the rest of the handler unseen; use IF";
    const COPY: &str = "no data come along with it; use INSERT";
    let words: Vec<&str> = statement.words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["COMMIT" | "ROLLBACK", ..]
        | ["SET" | "RESET", "ROLE" | "SESSION", ..]
        | ["SET", "LOCAL", "ROLE", ..] => Some(TRANSACTION),
        ["ABORT" | "SAVEPOINT" | "RELEASE", ..]
        | ["START" | "PREPARE" | "SET", "TRANSACTION", ..]
        | ["RESET" | "DISCARD", "ALL", ..]
            if !statement.nested =>
        {
            Some(TRANSACTION)
        }
        ["BEGIN" | "END", ..] if !is_handler && !statement.nested => Some(TRANSACTION),
        ["COPY", ..] if !statement.nested => Some(COPY),
        ["RETURN", ..] if is_handler => Some(BATCH),
        ["EXIT" | "CONTINUE", ..] if is_handler && !statement.in_loop => Some(BATCH),
        _ => None,
    }
}

/// Where and why a text is not one statement that writes rows.
pub(super) fn not_one_statement(text: &str) -> Option<(usize, String)> {
    let scan = scan(text);
    let mut statements = scan.statements.iter().filter(|statement| !statement.nested);
    let Some(first) = statements.next() else {
        return Some((1, "it has no statement".into()));
    };
    let word = first.words.first().map_or("", String::as_str);
    if !matches!(word, "INSERT" | "UPDATE" | "DELETE" | "MERGE" | "WITH") {
        return Some((first.line, format!("{} begins nothing that writes rows", first.words.join(" "))));
    }
    statements.next().map(|second| (second.line, "a second statement begins here".into()))
}

/// Looks over `text`.
pub(super) fn scan(text: &str) -> Scan {
    let mut scan = Scan {
        statements: Vec::new(),
        terminated: true,
        unclosed: None,
        opened: false,
        loops: 0,
        atomic: 0,
        last_word: String::new(),
    };
    let (mut rest, mut line) = (text, 1);
    while let Some(c) = rest.chars().next() {
        let length = if let Some((length, is_code)) = skipped_len(rest) {
            if is_code {
                scan.begin(line, None);
            }
            scan.unclosed = scan.unclosed.or(length.is_none().then_some(line));
            length.unwrap_or(rest.len())
        } else if c == ';' {
            scan.terminated = scan.atomic == 0;
            1
        } else if c.is_alphabetic() || c == '_' {
            let length =
                rest.find(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '$')).unwrap_or(rest.len());
            scan.word(line, rest[..length].to_uppercase());
            length
        } else {
            if !c.is_whitespace() {
                scan.begin(line, None);
            }
            c.len_utf8()
        };
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    scan
}

impl Scan {
    fn word(&mut self, line: usize, word: String) {
        self.begin(line, Some(word.clone()));
        match (self.last_word.as_str(), word.as_str()) {
            ("END", "LOOP") => self.loops = self.loops.saturating_sub(1),
            (_, "LOOP") => (self.loops, self.opened) = (self.loops + 1, true),
            (_, "THEN" | "ELSE" | "BEGIN") => self.opened = true,
            ("BEGIN", "ATOMIC") => self.atomic = 1,
            (_, "CASE") if self.atomic > 0 => self.atomic += 1,
            (_, "END") => self.atomic = self.atomic.saturating_sub(1),
            _ => {}
        }
        self.last_word = word;
    }

    /// A piece of code on `line`: the first of a statement, or more of it.
    fn begin(&mut self, line: usize, word: Option<String>) {
        if self.terminated || self.opened {
            let (nested, in_loop) = (!self.terminated, self.loops > 0);
            self.statements.push(Statement { words: Vec::new(), line, nested, in_loop });
            (self.terminated, self.opened) = (false, false);
        }
        if let (Some(word), Some(statement)) = (word, self.statements.last_mut())
            && statement.words.len() < 3
        {
            statement.words.push(word);
        }
    }
}

/// The length of the comment or quoted text that `rest` begins with, none where it is not closed, and
/// whether it is code.
pub(super) fn skipped_len(rest: &str) -> Option<(Option<usize>, bool)> {
    let until = |start: usize, end: &str| rest[start..].find(end).map(|at| start + at + end.len());
    if rest.starts_with("--") {
        return Some((until(2, "\n").or(Some(rest.len())), false));
    }
    if rest.starts_with("/*") {
        return Some((block_comment_len(rest), false));
    }
    if rest.starts_with('"') {
        return Some((until(1, "\""), true));
    }
    if rest.starts_with(['e', 'E']) && rest[1..].starts_with('\'') {
        return Some((escaped_len(&rest[1..]).map(|length| length + 1), true));
    }
    if rest.starts_with('\'') {
        return Some((until(1, "'"), true));
    }
    let tag = dollar_tag(rest)?;
    Some((until(tag.len(), tag), true))
}

/// Block comments nest in PostgreSQL.
fn block_comment_len(rest: &str) -> Option<usize> {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        if here.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return Some(at);
            }
        } else {
            at += 1;
        }
    }
    None
}

/// The length of an `E'…'` string after its `E`, in which a backslash escapes.
fn escaped_len(rest: &str) -> Option<usize> {
    let mut escaped = true;
    for (at, byte) in rest.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'\'' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// `$$` or `$name$` at the start of `rest`.
fn dollar_tag(rest: &str) -> Option<&str> {
    let after = rest.strip_prefix('$')?;
    let length = after.find('$')?;
    let name = &after[..length];
    let is_name = name.chars().all(|c| c.is_alphanumeric() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit());
    is_name.then(|| &rest[..length + 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_words(text: &str) -> Vec<String> {
        scan(text).statements.into_iter().map(|statement| statement.words.join(" ")).collect()
    }

    fn refused(text: &str, is_handler: bool) -> Vec<usize> {
        let statements = scan(text).statements;
        statements.iter().filter(|it| refusal(it, is_handler).is_some()).map(|it| it.line).collect()
    }

    #[test]
    fn statements_are_found_between_quotes_and_comments() {
        let text = "-- insert;\ninsert into t values ('a;b', E'\\';', \"c;d\", $x$;commit;$x$);\n/* /* ; */ ; */ commit";
        assert_eq!(first_words(text), ["INSERT INTO T", "COMMIT"]);
        let found = scan(text);
        assert_eq!((found.statements[1].line, found.terminated), (3, false));
    }

    #[test]
    fn a_trailing_comment_does_not_hide_a_semicolon() {
        assert!(scan("update t set a = 1; -- done").terminated);
        assert!(!scan("update t set a = 1 -- done;").terminated);
        assert!(scan("  -- nothing\n").statements.is_empty());
    }

    #[test]
    fn what_would_end_the_transaction_or_the_batch_is_found_wherever_it_may_stand() {
        for handler in [
            "perform 1;\nCommit",
            "if a then\nset role b; end if",
            "if a then null; else\nreturn; end if;",
            "begin perform 1; exception when others then\nrollback; end;",
            "while a loop exit; end loop;\nexit when b;",
            "declare n int; begin\nreturn; end;",
            "perform 1;\ncontinue when a;",
        ] {
            assert_eq!(refused(handler, true), [2], "{handler}");
        }
        for handler in [
            "for i in 1..2 loop exit when i = 2; continue; end loop",
            "insert into returns (role) values ('x') on conflict (id) do update set role = 'y'",
            "update t set a = case when b then release else c end",
            "begin null; end; perform $$ commit $$",
        ] {
            assert_eq!(refused(handler, true), [0; 0], "{handler}");
        }
        assert_eq!(refused("create table t ();\nend;\nbegin;\ncopy t from stdin", false), [2, 3, 4]);
        let function =
            "create function f() returns int begin atomic select case when true then 1 end; select 2; end;";
        assert_eq!(refused(&format!("{function}\ncommit"), false), [2]);
    }

    #[test]
    fn one_statement_that_writes_rows_is_told_from_anything_else() {
        for one in [
            "insert into t select 1",
            "-- a\nwith a as (select 1) update t set n = case when b then 1 else 2 end;\n-- c",
            "merge into t using batch on a when matched then delete when not matched then insert values (1);",
        ] {
            assert_eq!(not_one_statement(one), None, "{one}");
        }
        for (other, line) in
            [("", 1), ("\nselect 1", 2), ("delete from t;\ndelete from u", 2), ("begin null; end", 1)]
        {
            assert_eq!(not_one_statement(other).map(|(line, _)| line), Some(line), "{other}");
        }
    }

    #[test]
    fn what_is_not_closed_is_found() {
        for text in ["a\n'b", "'a' || $x$\n$y$ || '\n", "/* */\n/* /* */", "a\n\"b", "\n e'\\'"] {
            assert!(scan(text).unclosed.is_some(), "{text}");
        }
        assert_eq!(scan("a\n'b").unclosed, Some(2));
        for text in ["'it''s'", "a$b", "a$b$c", "$$ ' $$", "-- '", "e'\\''", "/* ' /* */ */"] {
            assert_eq!(scan(text).unclosed, None, "{text}");
        }
    }

    #[test]
    fn it_ends_on_anything() {
        for text in ["'", "\"", "$a$", "/*", "/* /* */", "e'\\", "$1", "é$é$", "--", "E'", "loop", "end loop"]
        {
            scan(text);
        }
    }
}
