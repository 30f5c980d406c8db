//! Which event types a handler is for: a type as it is, or a glob with `*` and `?`.

use std::fmt;

/// An event type, or a glob over event types: `*` stands for any text, `?` for any one character.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern(String);

impl Pattern {
    /// A pattern.
    ///
    /// # Errors
    /// When it is empty, longer than a type may be, or holds a NUL.
    pub fn new(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("an event type cannot be empty".into()),
            text if text.len() > 200 => Err("an event type has at most 200 bytes".into()),
            text if text.contains('\0') => Err("an event type cannot contain \\u0000".into()),
            text if text.contains(['[', ']', '{', '}']) && text.contains(['*', '?']) => {
                Err("a glob knows * and ? only, not [ ] or { }".into())
            }
            text => Ok(Self(text.to_owned())),
        }
    }

    /// Every type.
    pub(super) fn all() -> Self {
        Self("*".into())
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands for more than one type.
    pub fn is_glob(&self) -> bool {
        self.0.contains(['*', '?'])
    }

    /// Whether it matches everything.
    pub fn is_all(&self) -> bool {
        self.0.chars().all(|c| c == '*')
    }

    /// Whether it stands for this type.
    pub fn matches(&self, event_type: &str) -> bool {
        let (pattern, text): (Vec<char>, Vec<char>) =
            (self.0.chars().collect(), event_type.chars().collect());
        if !self.is_glob() {
            return self.0 == event_type;
        }
        // Where the last star was, and how far it has taken; more is taken when what follows does not match.
        let (mut p, mut t, mut star) = (0, 0, None);
        while t < text.len() {
            match pattern.get(p) {
                Some('*') => {
                    star = Some((p, t));
                    p += 1;
                }
                Some(c) if *c == '?' || *c == text[t] => (p, t) = (p + 1, t + 1),
                _ => match star {
                    Some((at, taken)) => {
                        star = Some((at, taken + 1));
                        (p, t) = (at + 1, taken + 1);
                    }
                    None => return false,
                },
            }
        }
        pattern[p..].iter().all(|c| *c == '*')
    }

    /// As a pattern for SQL's LIKE.
    pub fn to_like(&self) -> String {
        let mut like = String::with_capacity(self.0.len());
        for c in self.0.chars() {
            match c {
                '*' => like.push('%'),
                '?' => like.push('_'),
                '%' | '_' | '\\' => like.extend(['\\', c]),
                other => like.push(other),
            }
        }
        like
    }

    /// Orders patterns by what is tried first: types before globs, longer globs before shorter ones.
    pub(super) fn rank(&self) -> (bool, std::cmp::Reverse<usize>, &str) {
        let literal = self.0.chars().filter(|c| !matches!(c, '*' | '?')).count();
        (self.is_glob(), std::cmp::Reverse(if self.is_glob() { literal } else { 0 }), &self.0)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_becomes_a_like_pattern_that_means_the_same() {
        assert_eq!(Pattern::new("W_*").unwrap().to_like(), r"W\_%");
        assert_eq!(Pattern::new("100%?").unwrap().to_like(), r"100\%_");
        assert!(Pattern::new("A_[xy]*").is_err());
        assert!(Pattern::new("A_[xy]").is_ok(), "a type may hold brackets");
    }

    #[test]
    fn a_glob_matches_as_like_does() {
        for (glob, event_type, wanted) in [
            ("A", "A", true),
            ("A", "a", false),
            ("W_*", "W_", true),
            ("W_*", "WX", false),
            ("*b*c", "abbcbc", true),
            ("*b*c", "abbcb", false),
            ("?*", "", false),
            ("a?c", "aéc", true),
            ("*", "", true),
        ] {
            assert_eq!(Pattern::new(glob).unwrap().matches(event_type), wanted, "{glob} {event_type}");
        }
    }

    #[test]
    fn types_come_before_globs_and_longer_globs_before_shorter() {
        let mut patterns = ["*", "W_*", "W_a", "W_ab*", "A"].map(|text| Pattern::new(text).unwrap());
        patterns.sort_by(|a, b| a.rank().cmp(&b.rank()));
        assert_eq!(patterns.map(|pattern| pattern.0), ["A", "W_a", "W_ab*", "W_*", "*"]);
    }
}
