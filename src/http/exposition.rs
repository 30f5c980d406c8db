//! Prometheus' text format, version 0.0.4, written.

use std::fmt::Write;

use crate::measure::{BOUNDS, Times};

/// The media type of it.
pub(super) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a family of samples is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// The text, as it grows. A family is opened once, and its samples follow.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    text: String,
    family: &'static str,
}

impl Exposition {
    /// Opens a family.
    pub(super) fn family(&mut self, family: &'static str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.family = family;
        let _ = writeln!(self.text, "# HELP {family} {help}\n# TYPE {family} {kind}");
    }

    /// One number of the family that is open.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        self.line("", labels, None, value);
    }

    /// The one number of the family that is open, where it is known.
    pub(super) fn known(&mut self, value: Option<f64>) {
        if let Some(value) = value {
            self.sample(&[], value);
        }
    }

    /// A histogram of the family that is open.
    #[expect(clippy::cast_precision_loss, reason = "numbers of the format are such")]
    pub(super) fn times(&mut self, labels: &[(&str, &str)], times: &Times) {
        let (up_to, all) = times.up_to();
        for (bound, count) in BOUNDS.iter().zip(up_to) {
            self.line("_bucket", labels, Some(&bound.to_string()), count as f64);
        }
        self.line("_bucket", labels, Some("+Inf"), all as f64);
        self.line("_sum", labels, None, times.sum());
        self.line("_count", labels, None, all as f64);
    }

    /// All of it.
    pub(super) fn text(self) -> String {
        self.text
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], bound: Option<&str>, value: f64) {
        let text = &mut self.text;
        let _ = write!(text, "{}{suffix}", self.family);
        let labels = labels.iter().copied().chain(bound.map(|bound| ("le", bound)));
        for (at, (name, value)) in labels.clone().enumerate() {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(text, "{}{name}=\"{value}\"", if at == 0 { '{' } else { ',' });
        }
        let end = if labels.count() > 0 { "}" } else { "" };
        let _ = match value {
            f64::INFINITY => writeln!(text, "{end} +Inf"),
            f64::NEG_INFINITY => writeln!(text, "{end} -Inf"),
            value => writeln!(text, "{end} {value}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn labels_are_escaped_and_a_histogram_ends_with_all_of_it() {
        let mut page = Exposition::default();
        page.family("x_up", Kind::Gauge, "Whether.");
        page.sample(&[("name", "a\"b\\c\nd"), ("other", "é")], 1.5);
        page.sample(&[], 12_345_678_901.0);
        let times = Times::default();
        times.took(Duration::from_millis(3));
        times.took(Duration::from_secs(100));
        page.family("x_seconds", Kind::Histogram, "How long.");
        page.times(&[("name", "a")], &times);
        let text = page.text();
        assert!(text.starts_with("# HELP x_up Whether.\n# TYPE x_up gauge\n"), "{text}");
        assert!(
            text.contains("x_up{name=\"a\\\"b\\\\c\\nd\",other=\"é\"} 1.5\nx_up 12345678901\n"),
            "{text}"
        );
        assert!(text.contains("x_seconds_bucket{name=\"a\",le=\"0.0025\"} 0\n"), "{text}");
        assert!(text.contains("x_seconds_bucket{name=\"a\",le=\"0.005\"} 1\n"), "{text}");
        assert!(
            text.ends_with(
                "le=\"+Inf\"} 2\nx_seconds_sum{name=\"a\"} 100.003\nx_seconds_count{name=\"a\"} 2\n"
            ),
            "{text}"
        );
    }
}
