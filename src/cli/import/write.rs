//! Pieces into the store.

use std::sync::Arc;

use indicatif::ProgressBar;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::lines::Piece;
use super::{Code, Failed, Tally};
use crate::event::{Commit, Event, NewEvent, StreamId, Version};
use crate::store::{AppendError, Appended, EventStore, ExpectedVersion, PostgresStore, RethinkStore};

/// Pieces that share a transaction.
const TOGETHER: usize = 200;

/// One after the other, many to a transaction, so that the log keeps the file's order.
pub(super) async fn in_order(
    store: &PostgresStore,
    mut pieces: mpsc::Receiver<Piece>,
    bar: &ProgressBar,
) -> Result<Tally, Failed> {
    let mut tally = Tally::default();
    let mut group = Vec::with_capacity(TOGETHER);
    while pieces.recv_many(&mut group, TOGETHER).await > 0 {
        let appends: Vec<(StreamId, Version, &Commit)> =
            group.iter().map(|piece| (piece.stream, piece.at, &piece.commit)).collect();
        // All of it, or, where something stands in the way or the server was away, piece by piece to see what.
        if store.append_together(&appends).await.is_ok_and(|whole| whole) {
            tally.added += group.iter().map(|piece| piece.commit.len()).sum::<u64>();
        } else {
            for piece in &group {
                tally.add(one(store, piece).await?);
            }
        }
        bar.set_position(tally.added + tally.known);
        group.clear();
    }
    Ok(tally)
}

/// Many at once, each stream's in order.
pub(super) async fn by_stream(
    store: RethinkStore,
    mut pieces: mpsc::Receiver<Piece>,
    writers: u64,
    bar: &ProgressBar,
) -> Result<Tally, Failed> {
    let store = Arc::new(store);
    let mut tasks = JoinSet::new();
    let mut lanes = Vec::new();
    for _ in 0..writers {
        let (lane, mut mine) = mpsc::channel::<Piece>(64);
        lanes.push(lane);
        let (store, bar) = (Arc::clone(&store), bar.clone());
        tasks.spawn(async move {
            let mut tally = Tally::default();
            while let Some(piece) = mine.recv().await {
                let done = one(&*store, &piece).await?;
                bar.inc(done.added + done.known);
                tally.add(done);
            }
            Ok(tally)
        });
    }
    while let Some(piece) = pieces.recv().await {
        let lane = u64::from(piece.stream.0.as_fields().0) % writers;
        // A lane that failed takes no more; what it met is said below.
        if lanes[usize::try_from(lane).unwrap_or(0)].send(piece).await.is_err() {
            break;
        }
    }
    drop((lanes, pieces));
    let mut tally = Tally::default();
    let mut failed = None;
    while let Some(done) = tasks.join_next().await {
        match done.map_err(|error| Failed::new(Code::Failed, error)) {
            Ok(Ok(part)) => tally.add(part),
            Ok(Err(error)) | Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(tally), Err)
}

/// One piece: added, or found to be there already in part or whole.
async fn one(store: &dyn EventStore, piece: &Piece) -> Result<Tally, Failed> {
    let expected = ExpectedVersion::Exact(piece.at);
    match store.append_to_stream(piece.stream, expected, piece.commit.clone()).await {
        Ok(Appended { repeated: true, .. }) => {
            return Ok(Tally { added: 0, known: piece.commit.len() });
        }
        Ok(_) => {
            return Ok(Tally { added: piece.commit.len(), known: 0 });
        }
        Err(AppendError::Conflict { actual, .. }) if actual > piece.at => {}
        Err(error) => return Err(at_line(piece, &error.into())),
    }
    // The stream goes further: does it say the same?
    let stored = store
        .load_stream(piece.stream, piece.at.next())
        .await
        .map_err(|error| at_line(piece, &error.into()))?;
    let same = |(mine, theirs): (&NewEvent, &Event)| {
        (&mine.event_type, &mine.data, &mine.metadata) == (&theirs.event_type, &theirs.data, &theirs.metadata)
    };
    let overlap = stored.events.len().min(piece.commit.events.len());
    let agreeing = piece.commit.events.iter().zip(&stored.events).take_while(|pair| same(*pair)).count();
    if agreeing < overlap {
        let (version, line) = (piece.at.plus(agreeing as u64 + 1), piece.line);
        let message = format!(
            ":{line}: version {version} of stream {} is another event in the store; import adds whole streams, and does \
             not mix them",
            piece.stream
        );
        return Err(Failed::new(Code::Conflict, message));
    }
    let known = overlap as u64;
    let mut rest = piece.commit.clone();
    rest.events.drain(..overlap);
    let added = rest.len();
    if added > 0 {
        let at = ExpectedVersion::Exact(piece.at.plus(known));
        store
            .append_to_stream(piece.stream, at, rest)
            .await
            .map_err(|error| at_line(piece, &error.into()))?;
    }
    Ok(Tally { added, known })
}

fn at_line(piece: &Piece, failed: &Failed) -> Failed {
    Failed::new(failed.code, format!(":{}: {}", piece.line, failed.message))
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.added += other.added;
        self.known += other.known;
    }
}
