//! One way to write a number, whichever backend kept it.
//!
//! RethinkDB keeps doubles, so `1.0` comes back as `1`; PostgreSQL keeps the digits. A handler that
//! reads `event.data->>'amount'` must get the same text from both, so a number is stored as an integer
//! when it is one that a double holds exactly, and as the shortest double otherwise.

use serde_json::{Number, Value};

/// The largest integer up to which a double has no gaps: 2^53 − 1.
pub(super) const MAX_EXACT: u64 = (1 << 53) - 1;

/// Brings every number in `value` into its one form.
pub(crate) fn canonical(value: &mut Value) {
    match value {
        Value::Number(number) => *number = canonical_number(number),
        Value::Array(items) => items.iter_mut().for_each(canonical),
        Value::Object(fields) => fields.values_mut().for_each(canonical),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the value was just seen to be a small integer")]
fn canonical_number(number: &Number) -> Number {
    let Some(double) = number.as_f64() else {
        return number.clone();
    };
    if double.fract() == 0.0 && double.abs() <= MAX_EXACT as f64 {
        return Number::from(double as i64);
    }
    Number::from_f64(double).unwrap_or_else(|| number.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_form() {
        for (given, kept) in [
            ("1.0", "1"),
            ("-0.0", "0"),
            ("1e2", "100"),
            ("0.1", "0.1"),
            ("9007199254740991", "9007199254740991"),
            ("10000000000000000", "1e+16"),
            ("1e300", "1e+300"),
            ("5e-324", "5e-324"),
        ] {
            let mut value: Value = serde_json::from_str(given).unwrap();
            canonical(&mut value);
            assert_eq!(value.to_string(), kept, "for {given}");
        }
    }
}
