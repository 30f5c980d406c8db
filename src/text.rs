//! Text for people: what somebody else wrote in a message of ours, and numbers.

use std::fmt::Display;

/// `text` on one line and without what a terminal would obey: anybody may have written it.
pub(crate) fn plain(text: impl Display) -> String {
    let escaped = |c: char| {
        if c.is_control() { c.escape_default().to_string() } else { c.to_string() }
    };
    text.to_string().chars().map(escaped).collect()
}

/// `1234567` as `1,234,567`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

/// A number of bytes, for people.
#[expect(clippy::cast_precision_loss, reason = "for people")]
pub(crate) fn size(bytes: i64) -> String {
    let kilobytes = bytes as f64 / 1024.0;
    if kilobytes < 1024.0 {
        format!("{kilobytes:.0} kB")
    } else if kilobytes < 1_048_576.0 {
        format!("{:.1} MB", kilobytes / 1024.0)
    } else {
        format!("{:.1} GB", kilobytes / 1_048_576.0)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_are_grouped() {
        assert_eq!(
            ["0", "999", "1,000", "1,234,567"],
            [0, 999, 1000, 1_234_567].map(super::thousands).each_ref().map(String::as_str)
        );
    }

    #[test]
    fn text_of_others_stays_on_its_line() {
        assert_eq!(super::plain("é 'a'\n\u{1b}[2J"), "é 'a'\\n\\u{1b}[2J");
    }
}
