//! What was measured, as a table and as JSON.

use serde_json::{Value, json};

#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
    left_out: Vec<String>,
}

struct Row {
    what: String,
    ours: f64,
    unit: &'static str,
    /// The same by hand.
    beside: Option<(&'static str, f64)>,
    /// What is aimed at: at least this ratio, or at most this value.
    aim: Option<Aim>,
}

pub enum Aim {
    Ratio(f64),
    AtMost(f64),
}

impl Report {
    pub fn rate(
        &mut self,
        what: impl Into<String>,
        ours: f64,
        beside: &'static str,
        theirs: f64,
        aim: Option<f64>,
    ) {
        let what = what.into();
        eprintln!("  {what}: {ours:.0}/s; {beside}: {theirs:.0}/s");
        self.rows.push(Row {
            what,
            ours,
            unit: "/s",
            beside: Some((beside, theirs)),
            aim: aim.map(Aim::Ratio),
        });
    }

    pub fn value(&mut self, what: impl Into<String>, ours: f64, unit: &'static str, aim: Option<f64>) {
        let what = what.into();
        eprintln!("  {what}: {ours:.1} {unit}");
        self.rows.push(Row { what, ours, unit, beside: None, aim: aim.map(Aim::AtMost) });
    }

    pub fn left_out(&mut self, what: impl Into<String>) {
        let what = what.into();
        if !self.left_out.contains(&what) {
            self.left_out.push(what);
        }
    }

    pub fn print(&self) {
        println!("\n| what | measured | beside it | ratio | aim |\n|---|---:|---|---:|---|");
        for row in &self.rows {
            let ratio = row.beside.map(|(_, theirs)| row.ours / theirs);
            let beside = row
                .beside
                .map(|(name, theirs)| format!("{name}: {theirs:.0}{}", row.unit))
                .unwrap_or_default();
            let ratio_text = ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
            let aim = match row.aim {
                Some(Aim::Ratio(aim)) => format!("≥ {aim} {}", met(ratio.unwrap_or(0.0) >= aim)),
                Some(Aim::AtMost(aim)) => format!("≤ {aim} {} {}", row.unit, met(row.ours <= aim)),
                None => String::new(),
            };
            let ours = if row.unit == "/s" {
                format!("{:.0}/s", row.ours)
            } else {
                format!("{:.1} {}", row.ours, row.unit)
            };
            println!("| {} | {ours} | {beside} | {ratio_text} | {aim} |", row.what);
        }
        for what in &self.left_out {
            println!("\nLeft out: {what}");
        }
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                let (name, theirs) = row.beside.unzip();
                json!({"what": row.what, "measured": row.ours, "unit": row.unit, "beside": name, "beside_measured": theirs})
            })
            .collect();
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench.json");
        if std::fs::write(&path, format!("{:#}\n", json!({"rows": rows, "left_out": self.left_out}))).is_ok()
        {
            println!("\nAs JSON in target/bench.json");
        }
    }
}

/// Of these, the one that a share of them is not above.
pub fn percentile(values: &[f64], share: f64) -> f64 {
    let mut ordered = values.to_vec();
    ordered.sort_by(f64::total_cmp);
    ordered[((ordered.len() - 1) as f64 * share) as usize]
}

fn met(yes: bool) -> &'static str {
    if yes { "✓" } else { "✗" }
}
