//! Expected rows held against those that were found, and the difference for a reader.

use std::fmt;

use super::table::{Column, Row, Table};
use crate::text::plain;

/// The most rows that are shown.
const MOST_ROWS: usize = 20;
/// The most characters of a value that are shown.
const MOST_CHARS: usize = 60;

/// A row that is expected: what each column must be that it names.
pub(super) type Expected = Vec<Option<Option<String>>>;

/// Rows that are not as they should be, side by side.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    header: Vec<String>,
    /// A word for the row, and its values.
    rows: Vec<(&'static str, Vec<String>)>,
}

/// What differs. In any order unless `in_order`; which row an expected one stands for is seen by the key, or
/// else by how many values agree. `show` names a value as the reader knows it.
pub(super) fn difference(
    found: &Table,
    expected: &[Expected],
    in_order: bool,
    show: impl Fn(&Column, &str) -> String,
) -> Option<Difference> {
    let pairs = if in_order { by_place(found, expected) } else { by_likeness(found, expected) };
    let named = |place: &usize| expected.is_empty() || expected.iter().any(|row| row[*place].is_some());
    let rest = (0..found.columns.len()).filter(|place| !found.key.contains(place) && named(place));
    let shown: Vec<usize> = found.key.iter().copied().chain(rest).collect();
    let cell = |place: usize, value: Option<&String>| match value {
        None => "null".to_owned(),
        Some(value) => shorten(&show(&found.columns[place], value)),
    };
    let mut rows = Vec::new();
    for (wanted, there) in pairs {
        if let (Some(wanted), Some(there)) = (wanted, there)
            && agree(&expected[wanted], &found.rows[there])
        {
            continue;
        }
        if let Some(wanted) = wanted {
            let values = shown.iter().map(|place| match &expected[wanted][*place] {
                Some(value) => cell(*place, value.as_ref()),
                None => "·".into(),
            });
            rows.push((if there.is_some() { "expected" } else { "missing" }, values.collect()));
        }
        if let Some(there) = there {
            let values = shown.iter().map(|place| cell(*place, found.rows[there][*place].as_ref()));
            rows.push((if wanted.is_some() { "found" } else { "not expected" }, values.collect()));
        }
    }
    let header = shown.iter().map(|place| plain(&found.columns[*place].name)).collect();
    (!rows.is_empty()).then_some(Difference { header, rows })
}

fn agree(expected: &Expected, found: &Row) -> bool {
    expected.iter().zip(found).all(|(wanted, there)| wanted.as_ref().is_none_or(|wanted| wanted == there))
}

type Pair = (Option<usize>, Option<usize>);

fn by_place(found: &Table, expected: &[Expected]) -> Vec<Pair> {
    (0..expected.len().max(found.rows.len()))
        .map(|place| ((place < expected.len()).then_some(place), (place < found.rows.len()).then_some(place)))
        .collect()
}

fn by_likeness(found: &Table, expected: &[Expected]) -> Vec<Pair> {
    let mut partner: Vec<Option<usize>> = vec![None; found.rows.len()];
    // Those that agree first, as many as there can be: one may agree with several, and must leave each its own.
    for wanted in 0..expected.len() {
        place(wanted, found, expected, &mut partner, &mut vec![false; found.rows.len()]);
    }
    let mut open: Vec<usize> = (0..expected.len()).filter(|it| !partner.contains(&Some(*it))).collect();
    let key_is_named =
        |row: &Expected| !found.key.is_empty() && found.key.iter().all(|place| row[*place].is_some());
    open.retain(|wanted| {
        let row = &expected[*wanted];
        let likeness = |there: usize| {
            let same = |place: &usize| row[*place].as_ref() == Some(&found.rows[there][*place]);
            match key_is_named(row) {
                true => usize::from(found.key.iter().all(same)),
                false => (0..row.len()).filter(same).count(),
            }
        };
        let free = (0..found.rows.len()).filter(|there| partner[*there].is_none());
        let best = free
            .map(|there| (likeness(there), there))
            .max_by_key(|(like, there)| (*like, usize::MAX - there));
        match best {
            Some((1.., there)) => {
                partner[there] = Some(*wanted);
                false
            }
            _ => true,
        }
    });
    let mut pairs: Vec<Pair> =
        partner.iter().enumerate().map(|(there, wanted)| (*wanted, Some(there))).collect();
    pairs.extend(open.into_iter().map(|wanted| (Some(wanted), None)));
    // Expected rows in their order, and then what nobody expected.
    pairs.sort_by_key(|(wanted, there)| (wanted.unwrap_or(usize::MAX), *there));
    pairs
}

/// Finds a row for an expected one; where that has gone to another, the other may find one more.
fn place(
    wanted: usize,
    found: &Table,
    expected: &[Expected],
    partner: &mut [Option<usize>],
    tried: &mut [bool],
) -> bool {
    for there in 0..found.rows.len() {
        if tried[there] || !agree(&expected[wanted], &found.rows[there]) {
            continue;
        }
        tried[there] = true;
        if partner[there].is_none_or(|other| place(other, found, expected, partner, tried)) {
            partner[there] = Some(wanted);
            return true;
        }
    }
    false
}

fn shorten(text: &str) -> String {
    let text = plain(text);
    match text.char_indices().nth(MOST_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

impl fmt::Display for Difference {
    /// A table: a word for each row, and its values under the names of their columns.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.rows[..self.rows.len().min(MOST_ROWS)];
        let lines =
            || std::iter::once(("", &self.header)).chain(shown.iter().map(|(word, row)| (*word, row)));
        let first = lines().map(|(word, _)| word.len()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.header.len())
            .map(|place| lines().map(|(_, row)| row[place].chars().count()).max().unwrap_or(0))
            .collect();
        for (nth, (word, row)) in lines().enumerate() {
            let mut line = format!("{word:first$}");
            for (value, width) in row.iter().zip(&widths) {
                line.push_str(&format!("  {value:width$}"));
            }
            write!(f, "{}{}", if nth == 0 { "" } else { "\n" }, line.trim_end())?;
        }
        match self.rows.len() - shown.len() {
            0 => Ok(()),
            more => write!(f, "\n… and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(key: &[usize], rows: &[[&str; 3]]) -> Table {
        let column = |name: &str| Column { name: name.into(), type_name: "text".into() };
        let row = |row: &[&str; 3]| row.iter().map(|cell| Some((*cell).to_owned())).collect();
        Table {
            columns: ["status", "id", "total"].map(column).to_vec(),
            key: key.to_vec(),
            rows: rows.iter().map(row).collect(),
        }
    }

    fn expected(rows: &[[&str; 3]]) -> Vec<Expected> {
        let cell = |cell: &&str| (!cell.is_empty()).then(|| Some((*cell).to_owned()));
        rows.iter().map(|row| row.iter().map(cell).collect()).collect()
    }

    fn shown(found: &Table, wanted: &[[&str; 3]], in_order: bool) -> String {
        difference(found, &expected(wanted), in_order, |_, value| value.to_owned())
            .map(|difference| difference.to_string())
            .unwrap_or_default()
    }

    #[test]
    fn rows_are_paired_by_their_key_which_is_shown_first() {
        let found = table(&[1], &[["created", "1", "5"], ["sent", "2", "5"], ["sent", "4", "7"]]);
        let wanted = [["sent", "1", ""], ["sent", "2", ""], ["sent", "3", ""]];
        assert_eq!(
            shown(&found, &wanted, false),
            "              id  status\n\
             expected      1   sent\n\
             found         1   created\n\
             missing       3   sent\n\
             not expected  4   sent"
        );
    }

    #[test]
    fn without_a_key_rows_are_paired_by_what_agrees() {
        let found = table(&[], &[["created", "1", "5"], ["sent", "2", "6"]]);
        let text = shown(&found, &[["sent", "2", "7"], ["created", "1", "5"]], false);
        assert_eq!(text, "          status  id  total\nexpected  sent    2   7\nfound     sent    2   6");
    }

    #[test]
    fn a_row_that_says_little_leaves_the_others_theirs() {
        let found = table(&[], &[["sent", "1", "5"], ["sent", "2", "5"]]);
        assert_eq!(shown(&found, &[["sent", "", ""], ["sent", "1", ""]], false), "");
        assert_eq!(shown(&found, &[["sent", "1", ""], ["sent", "", ""]], false), "");
    }

    #[test]
    fn a_query_is_compared_in_order() {
        let found = table(&[], &[["sent", "1", "5"], ["sent", "2", "5"]]);
        assert_eq!(shown(&found, &[["", "1", ""], ["", "2", ""]], true), "");
        assert_ne!(shown(&found, &[["", "2", ""], ["", "1", ""]], true), "");
    }
}
