//! A text of SQL as words, names, strings and signs, each with its place. Comments are left out.

use super::sql::skipped_len;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A key word or a name without quotes.
    Word,
    /// A name in double quotes.
    Quoted,
    /// A string, quotes included.
    Text,
    /// One character of anything else.
    Sign,
}

/// A piece of the text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    /// Where it begins, in bytes.
    pub(super) start: usize,
    /// The line that it begins on, from 1.
    pub(super) line: usize,
}

impl Token<'_> {
    /// Whether it is this key word.
    pub(super) fn is(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(word)
    }

    /// Whether it is one of these key words.
    pub(super) fn is_any(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(word))
    }

    /// Whether it is this sign.
    pub(super) fn is_sign(&self, sign: char) -> bool {
        self.kind == Kind::Sign && self.text.starts_with(sign)
    }

    /// The name that it is, as PostgreSQL has it.
    pub(super) fn name(&self) -> Option<String> {
        match self.kind {
            Kind::Word => Some(self.text.to_lowercase()),
            Kind::Quoted => Some(self.text.trim_matches('"').to_owned()),
            Kind::Text | Kind::Sign => None,
        }
    }

    /// Where it ends, in bytes.
    pub(super) fn end(&self) -> usize {
        self.start + self.text.len()
    }
}

/// The tokens of `text`, in order.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let (mut found, mut start, mut line) = (Vec::new(), 0, 1);
    while let Some(c) = text[start..].chars().next() {
        let rest = &text[start..];
        let (length, kind) = if let Some((length, is_code)) = skipped_len(rest) {
            let kind = if c == '"' { Kind::Quoted } else { Kind::Text };
            (length.unwrap_or(rest.len()), is_code.then_some(kind))
        } else if c.is_alphabetic() || c == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '$'));
            (end.unwrap_or(rest.len()), Some(Kind::Word))
        } else {
            (c.len_utf8(), (!c.is_whitespace()).then_some(Kind::Sign))
        };
        let text = &rest[..length];
        found.extend(kind.map(|kind| Token { kind, text, start, line }));
        line += text.matches('\n').count();
        start += length;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_left_out_and_strings_are_one_piece() {
        let found = tokens("a -- b\n'c;d' /* e */ \"F\"\"g\" $x$;$x$;1");
        let pieces: Vec<(Kind, &str, usize)> = found.iter().map(|it| (it.kind, it.text, it.line)).collect();
        assert_eq!(
            pieces,
            [
                (Kind::Word, "a", 1),
                (Kind::Text, "'c;d'", 2),
                (Kind::Quoted, "\"F\"", 2),
                (Kind::Quoted, "\"g\"", 2),
                (Kind::Text, "$x$;$x$", 2),
                (Kind::Sign, ";", 2),
                (Kind::Sign, "1", 2),
            ]
        );
        assert!(found.iter().all(|it| it.end() == it.start + it.text.len()));
    }
}
