//! Just enough of SQL's grammar to see where statements begin and end: strings, quoted names, dollar
//! quotes and comments are passed over. PostgreSQL does the real parsing.

/// A statement's first words, upper case, and the line that it begins on, from 1.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) words: Vec<String>,
    pub(super) line: usize,
}

/// What a look over the text found.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) statements: Vec<Statement>,
    /// Whether the last statement has its semicolon.
    pub(super) terminated: bool,
}

/// Commands that would end the batch's transaction or leave its role; a handler must not.
pub(super) fn is_reserved_word(words: &[String]) -> bool {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    matches!(
        words.as_slice(),
        ["COMMIT" | "ROLLBACK" | "ABORT" | "SAVEPOINT" | "RELEASE", ..]
            | ["START" | "PREPARE", "TRANSACTION", ..]
            | ["SET", "ROLE" | "TRANSACTION" | "SESSION", ..]
            | ["SET", "LOCAL", "ROLE", ..]
            | ["RESET", "ROLE" | "SESSION" | "ALL", ..]
    )
}

/// Looks over `text`.
pub(super) fn scan(text: &str) -> Scan {
    let mut scan = Scan { statements: Vec::new(), terminated: true };
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = skipped_len(rest);
        let line = text[..text.len() - rest.len()].matches('\n').count() + 1;
        if let Some((length, is_code)) = skipped {
            if is_code {
                scan.begin(line, None);
            }
            rest = &rest[length..];
        } else if c == ';' {
            scan.terminated = true;
            rest = &rest[1..];
        } else if c.is_alphabetic() || c == '_' {
            let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            scan.begin(line, Some(rest[..length].to_uppercase()));
            rest = &rest[length..];
        } else {
            if !c.is_whitespace() {
                scan.begin(line, None);
            }
            rest = &rest[c.len_utf8()..];
        }
    }
    scan
}

impl Scan {
    /// A piece of code on `line`: the first of a statement, or more of it.
    fn begin(&mut self, line: usize, word: Option<String>) {
        if self.terminated {
            self.statements.push(Statement { words: Vec::new(), line });
            self.terminated = false;
        }
        if let (Some(word), Some(statement)) = (word, self.statements.last_mut()) {
            if statement.words.len() < 3 {
                statement.words.push(word);
            }
        }
    }
}

/// The length of the comment or quoted text that `rest` begins with, and whether it is code.
fn skipped_len(rest: &str) -> Option<(usize, bool)> {
    let until = |start: usize, end: &str| rest[start..].find(end).map_or(rest.len(), |at| start + at + end.len());
    if rest.starts_with("--") {
        return Some((until(2, "\n"), false));
    }
    if rest.starts_with("/*") {
        return Some((block_comment_len(rest), false));
    }
    if rest.starts_with('"') {
        return Some((until(1, "\""), true));
    }
    if rest.starts_with(['e', 'E']) && rest[1..].starts_with('\'') {
        return Some((1 + escaped_len(&rest[1..]), true));
    }
    if rest.starts_with('\'') {
        return Some((until(1, "'"), true));
    }
    let tag = dollar_tag(rest)?;
    Some((until(tag.len(), tag), true))
}

/// Block comments nest in PostgreSQL.
fn block_comment_len(rest: &str) -> usize {
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
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// The length of an `E'…'` string after its `E`, in which a backslash escapes.
fn escaped_len(rest: &str) -> usize {
    let mut escaped = true;
    for (at, byte) in rest.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'\'' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// `$$` or `$name$` at the start of `rest`.
fn dollar_tag(rest: &str) -> Option<&str> {
    let after = rest.strip_prefix('$')?;
    let length = after.find('$')?;
    let name = &after[..length];
    let is_name = name.chars().all(|c| c.is_alphanumeric() || c == '_') && !name.starts_with(|c: char| c.is_ascii_digit());
    is_name.then(|| &rest[..length + 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_words(text: &str) -> Vec<String> {
        scan(text).statements.into_iter().map(|statement| statement.words.join(" ")).collect()
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
    fn it_ends_on_anything() {
        for text in ["'", "\"", "$a$", "/*", "/* /* */", "e'\\", "$1", "é$é$", "--", "E'"] {
            scan(text);
        }
    }
}
