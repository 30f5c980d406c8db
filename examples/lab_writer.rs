//! The fault lab's writers: they append as programs do that embed the store, and keep a journal of what they
//! meant to do and what came of it. The lab starts this, breaks things, and holds the journal against the store.
//!
//! ```text
//! lab_writer URL JOURNAL SEED [--writers 4] [--streams 8] [--rate 100] [--appends 1000] [--most 5] [--run 1] [--duel]
//! ```
//!
//! Ends after so many appends, or, in order, when standard input does. What is chosen depends on the seed
//! alone; what comes of it depends on who is first. `--duel` lets all writers append to one stream at one
//! expected version, in rounds.

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use projectord::event::{Commit, CommitId, NewEvent, StreamId, Version};
use projectord::store::{
    AppendError, Appended, EventStore, ExpectedVersion, LoadError, PostgresStore, RethinkStore, Settings,
};
use serde_json::{Value, json};
use tokio::sync::Barrier;
use tokio::time::Instant;
use uuid::Uuid;

type Failed = Box<dyn Error + Send + Sync>;

/// In every payload, so that the lab can see whether one comes out where none should.
const MARK: &str = "lab-payload";
const KEYS: [&str; 4] = ["alpha", "beta", "gamma", "δ'\"\\;--"];

/// What the command line says.
struct Plan {
    url: String,
    journal: String,
    seed: u64,
    writers: u64,
    streams: u64,
    /// Appends a second, of all writers together.
    rate: u64,
    appends: u64,
    /// The most events of a commit.
    most: usize,
    /// Which of several programs this is that write to the same streams.
    run: u64,
    duel: bool,
}

impl Plan {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self, Failed> {
        let mut place = || words.next().ok_or("lab_writer URL JOURNAL SEED [--writers N] …");
        let (url, journal, seed) = (place()?, place()?, place()?.parse()?);
        let mut plan = Self {
            url,
            journal,
            seed,
            writers: 4,
            streams: 8,
            rate: 100,
            appends: u64::MAX,
            most: 5,
            run: 0,
            duel: false,
        };
        while let Some(word) = words.next() {
            let mut number =
                || words.next().ok_or(format!("{word} wants a number"))?.parse::<u64>().map_err(Failed::from);
            match word.as_str() {
                "--writers" => plan.writers = number()?,
                "--streams" => plan.streams = number()?,
                "--rate" => plan.rate = number()?,
                "--appends" => plan.appends = number()?,
                "--most" => plan.most = usize::try_from(number()?)?,
                "--run" => plan.run = number()?,
                "--duel" => plan.duel = true,
                other => return Err(format!("unknown: {other}").into()),
            }
        }
        Ok(plan)
    }
}

/// One line before an append and one after it, in the file before the call goes on: the lab may kill us at
/// any time.
struct Journal(Mutex<File>);

impl Journal {
    fn write(&self, line: &Value) {
        let mut file = self.0.lock().expect("no writer panics while it holds the journal");
        // One write call for each line: what is cut off is a line at the end.
        file.write_all(format!("{line}\n").as_bytes()).expect("the journal can be written");
    }
}

/// What all writers share.
struct Shared {
    plan: Plan,
    store: Box<dyn EventStore>,
    journal: Journal,
    left: AtomicU64,
    ended: AtomicBool,
    together: Barrier,
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let plan = Plan::read(std::env::args().skip(1))?;
    let file = File::options().create(true).append(true).open(&plan.journal)?;
    let shared = Arc::new(Shared {
        store: open(&plan.url)?,
        journal: Journal(Mutex::new(file)),
        left: AtomicU64::new(plan.appends),
        ended: AtomicBool::new(false),
        together: Barrier::new(usize::try_from(plan.writers)?),
        plan,
    });
    let ended = Arc::clone(&shared);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        ended.ended.store(true, Ordering::Relaxed);
    });
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..shared.plan.writers {
        let shared = Arc::clone(&shared);
        writers.spawn(async move {
            if shared.plan.duel { duel(&shared, number).await } else { write(&shared, number).await }
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended??;
    }
    Ok(())
}

fn open(url: &str) -> Result<Box<dyn EventStore>, Failed> {
    let settings = Settings { deadline: Duration::from_secs(10), ..Settings::default() };
    Ok(if url.starts_with("rethinkdb") {
        Box::new(RethinkStore::new(url.parse()?, settings))
    } else {
        Box::new(PostgresStore::new(&url.parse()?, settings))
    })
}

/// Appends at its share of the rate, until there is nothing left to do.
async fn write(shared: &Shared, number: u64) -> Result<(), Failed> {
    let plan = &shared.plan;
    let mut random = fastrand::Rng::with_seed(plan.seed ^ plan.run << 40 ^ number << 56);
    // Versions as this writer last saw them; it decides on them, and may be behind.
    let mut known = vec![None; usize::try_from(plan.streams)?];
    let pause = Duration::from_secs_f64(plan.writers as f64 / plan.rate.max(1) as f64);
    let mut next = Instant::now();
    while !shared.ended.load(Ordering::Relaxed) && take_one(&shared.left) {
        // What was missed while the store was away is not made up for all at once.
        next = (next + pause).max(Instant::now());
        tokio::time::sleep_until(next).await;
        let which = random.usize(0..known.len());
        let stream = StreamId(name(plan.seed, which as u64));
        let expected = match (random.u8(0..10), known[which]) {
            (0..3, _) => ExpectedVersion::Any,
            (3, _) => ExpectedVersion::NoStream,
            // Now and then it looks first, as a program does that decides on what it has loaded.
            (4, _) | (_, None) => match look(shared, stream, Version::ZERO).await {
                Some(Version::ZERO) => ExpectedVersion::NoStream,
                Some(version) => ExpectedVersion::Exact(version),
                None => continue,
            },
            (_, Some(version)) => ExpectedVersion::Exact(version),
        };
        let id = CommitId(Uuid::from_u128(random.u128(..)));
        let commit = commit(&mut random, shared.plan.most, id);
        match append(shared, number, stream, expected, commit).await {
            Ok(appended) => known[which] = Some(appended.version),
            Err(AppendError::Conflict { actual, .. }) if actual > Version::ZERO => {
                known[which] = Some(actual);
            }
            Err(_) => known[which] = None,
        }
    }
    Ok(())
}

/// Rounds in which all writers want the same place. Whoever won or lost, the next round begins where the
/// stream is.
async fn duel(shared: &Shared, number: u64) -> Result<(), Failed> {
    let stream = StreamId(name(shared.plan.seed, 0));
    let mut random = fastrand::Rng::with_seed(shared.plan.seed ^ shared.plan.run << 40 ^ number << 56);
    let mut version = Version::ZERO;
    for _ in 0..shared.plan.appends {
        // From what is known on: all of it, in each round, would be most of what this does.
        let Some(now) = look(shared, stream, version).await else { return Err("the store is away".into()) };
        version = now;
        let expected = if version == Version::ZERO {
            ExpectedVersion::NoStream
        } else {
            ExpectedVersion::Exact(version)
        };
        shared.together.wait().await;
        let commit = commit(&mut random, shared.plan.most, CommitId::random());
        let _ = append(shared, number, stream, expected, commit).await;
        shared.together.wait().await;
    }
    Ok(())
}

fn take_one(left: &AtomicU64) -> bool {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}

async fn look(shared: &Shared, stream: StreamId, from: Version) -> Option<Version> {
    match shared.store.load_stream(stream, from).await {
        Ok(loaded) => Some(loaded.version),
        Err(LoadError::NotFound(_)) => Some(Version::ZERO),
        Err(error) => {
            shared
                .journal
                .write(&json!({"kind": "not_loaded", "stream": stream, "reason": error.to_string()}));
            None
        }
    }
}

async fn append(
    shared: &Shared,
    writer: u64,
    stream: StreamId,
    expected: ExpectedVersion,
    commit: Commit,
) -> Result<Appended, AppendError> {
    let id = commit.id;
    let events: Vec<Value> =
        commit.events.iter().map(|it| json!({"type": it.event_type, "data": it.data})).collect();
    let wanted = match expected {
        ExpectedVersion::Any => json!("any"),
        ExpectedVersion::NoStream => json!(0),
        ExpectedVersion::Exact(version) => json!(version),
    };
    shared.journal.write(
        &json!({"kind": "intent", "commit": id, "writer": writer, "stream": stream, "expected": wanted, "events": events}),
    );
    let done = shared.store.append_to_stream(stream, expected, commit).await;
    shared.journal.write(&match &done {
        Ok(it) => json!({"kind": "ok", "commit": id, "first": it.first, "version": it.version, "repeated": it.repeated}),
        // It may have been stored: the last try was under way.
        Err(AppendError::Unavailable { reason, tries, .. }) => {
            json!({"kind": "unknown", "commit": id, "tries": tries, "reason": reason})
        }
        Err(error) => json!({"kind": "definite_fail", "commit": id, "reason": error.to_string()}),
    });
    done
}

/// Events of three types, one to `most`.
fn commit(random: &mut fastrand::Rng, most: usize, id: CommitId) -> Commit {
    let events = (0..random.usize(1..=most)).map(|_| {
        let key = KEYS[random.usize(0..KEYS.len())];
        let amount = random.i64(-1_000_000..1_000_000);
        match random.u8(0..10) {
            0 => NewEvent::from_json("LabCleared", json!({"key": key, "amount": amount, "mark": MARK})),
            1..3 => NewEvent::from_json(
                "LabNoted",
                json!({"amount": amount, "mark": MARK, "half": 0.5, "none": null}),
            ),
            _ => NewEvent::from_json("LabSet", json!({"key": key, "amount": amount, "mark": MARK})),
        }
    });
    Commit::new("lab", events.collect()).with_id(id)
}

/// The same streams for the same seed.
fn name(seed: u64, stream: u64) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("lab {seed} {stream}").as_bytes())
}
