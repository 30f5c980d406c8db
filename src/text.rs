//! Text that somebody else wrote, in a message of ours.

use std::fmt::Display;

/// `text` on one line and without what a terminal would obey: anybody may have written it.
pub(crate) fn plain(text: impl Display) -> String {
    let escaped = |c: char| {
        if c.is_control() { c.escape_default().to_string() } else { c.to_string() }
    };
    text.to_string().chars().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn text_of_others_stays_on_its_line() {
        assert_eq!(super::plain("é 'a'\n\u{1b}[2J"), "é 'a'\\n\\u{1b}[2J");
    }
}
