//! The bank's event log of BPI Challenge 2012.

use std::io::BufRead;
use std::path::Path;

use flate2::read::GzDecoder;
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use crate::report::Report;

#[derive(Deserialize)]
pub struct BankEvent {
    pub stream_id: Uuid,
    pub stream_type: String,
    #[serde(rename = "type")]
    pub event_type: String,
    pub data: Value,
    pub metadata: Value,
}

/// All events, in the order in which they happened.
pub fn load(report: &mut Report) -> Option<Vec<BankEvent>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/bpic2012.ndjson.gz");
    let Ok(file) = std::fs::File::open(&path) else {
        report.left_out("ingest and replay: ../shared/data/bpic2012.ndjson.gz is not there");
        return None;
    };
    let lines = std::io::BufReader::new(GzDecoder::new(file)).lines();
    Some(lines.map(|line| serde_json::from_str(&line.expect("a line")).expect("an event")).collect())
}
