//! A writer of the fault lab: appends to a few streams from several tasks until its standard input closes,
//! and keeps a journal of what it meant to do and what came of it. See `faultlab/`.
//!
//! ```sh
//! lab_writer URL SEED JOURNAL
//! ```

use std::error::Error;
use std::fs::File;
use std::io::{Read, Write, stdin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use projectord::event::{Commit, NewEvent, StreamId, Version};
use projectord::store::{
    AppendError, EventStore, ExpectedVersion, LoadError, PostgresStore, RethinkStore, Settings,
};
use serde_json::{Value, json};
use uuid::Uuid;

const STREAMS: u64 = 8;
const WRITERS: u64 = 4;

type Shared = Arc<dyn EventStore>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, seed, journal] = arguments.as_slice() else {
        return Err("usage: lab_writer URL SEED JOURNAL".into());
    };
    let seed: u64 = seed.parse()?;
    let settings = Settings { deadline: Duration::from_secs(60), ..Settings::default() };
    let store: Shared = if url.starts_with("rethinkdb") {
        Arc::new(RethinkStore::new(url.parse()?, settings))
    } else {
        Arc::new(PostgresStore::new(&url.parse()?, settings))
    };
    let journal = Journal(Arc::new(Mutex::new(File::create(journal)?)));
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        writers.spawn(write(Arc::clone(&store), seed, writer, journal.clone(), Arc::clone(&stop)));
    }
    // Its end is the sign to stop: also when whoever started us has died.
    std::thread::spawn(move || {
        let _ = stdin().read_to_end(&mut Vec::new());
        stop.store(true, Ordering::Relaxed);
    });
    while writers.join_next().await.is_some() {}
    Ok(())
}

/// One line for each intent, before it; and one for what came of it.
#[derive(Clone)]
struct Journal(Arc<Mutex<File>>);

impl Journal {
    fn write(&self, line: &Value) {
        if let Ok(mut file) = self.0.lock() {
            // One write, so that a line is whole or not there.
            let _ = file.write_all(format!("{line}\n").as_bytes());
        }
    }
}

async fn write(store: Shared, seed: u64, writer: u64, journal: Journal, stop: Arc<AtomicBool>) {
    let mut random = fastrand::Rng::with_seed(seed.wrapping_mul(31).wrapping_add(writer));
    let mut known = [0_u64; STREAMS as usize];
    let mut turn = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        turn += 1;
        let nth = random.u64(0..STREAMS);
        let stream = StreamId(Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{seed}/{nth}").as_bytes()));
        let place = &mut known[usize::try_from(nth).unwrap_or(0)];
        let expected = match random.u8(0..10) {
            0..2 => ExpectedVersion::Any,
            // A place that is taken: a conflict, if anything is there.
            2 => ExpectedVersion::Exact(Version(place.saturating_sub(1))),
            _ if *place == 0 => ExpectedVersion::NoStream,
            _ => ExpectedVersion::Exact(Version(*place)),
        };
        let values: Vec<String> =
            (0..random.usize(1..=5)).map(|n| format!("payload-{seed}-{writer}-{turn}-{n}")).collect();
        let events =
            values.iter().map(|value| NewEvent::from_json("Written", json!({ "value": value }))).collect();
        let commit = Commit::new("lab", events);
        let id = commit.id.0;
        journal.write(&json!({"intent": id, "stream": stream.0, "values": values}));
        let (result, version) = match store.append_to_stream(stream, expected, commit).await {
            Ok(appended) => ("ok", Some(appended.version.0)),
            Err(AppendError::Conflict { .. } | AppendError::Invalid { .. }) => ("definite_fail", None),
            Err(_) => ("unknown", None),
        };
        journal.write(&json!({"result": result, "of": id, "version": version}));
        *place = match version {
            Some(version) => version,
            None => match store.load_stream(stream, Version(1)).await {
                Ok(loaded) => loaded.version.0,
                Err(LoadError::NotFound { .. }) => 0,
                Err(_) => *place,
            },
        };
        tokio::time::sleep(Duration::from_millis(random.u64(2..12))).await;
    }
}
