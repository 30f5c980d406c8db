//! Past events that are not wanted. With many projections, each of which wants few event types, most batches would do
//! nothing but move a checkpoint, in a transaction each. Here whoever has caught up and has heard the bell comes along
//! with all others who have: the log is read once for all of them, and their checkpoints move together.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot::{self, error::TryRecvError};

use super::apply::{Applier, Handlers};
use super::sessions::{Generation, Sessions};
use crate::event::Position;
use crate::fault;
use crate::lease::Lease;
use crate::postgres::{Class, bounded, classify, describe};

/// Whoever is further behind than so many events applies a batch.
const MOST: i64 = 1000;
/// In the place of a generation, where the session that does this is kept.
const ALL: Generation<'_> = ("", 0);
/// After it was of no use, it is left out once; then twice, four times, so many times at the most.
const LONGEST_REST: u32 = 64;

/// Shared by all projectors of a daemon.
#[derive(Debug, Clone, Default)]
pub(super) struct Passing {
    waiting: Arc<Mutex<Vec<Waiting>>>,
    /// Held by whoever asks PostgreSQL for all who wait.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// Where a generation is, as whoever works on it knows.
#[derive(Debug)]
struct Place {
    projection: String,
    generation: i64,
    checkpoint: Position,
    lease: Lease,
}

#[derive(Debug)]
struct Waiting {
    place: Place,
    told: oneshot::Sender<Answer>,
}

/// Where it is now; none where there is something to apply. Or why that is not known.
type Answer = Result<Option<Position>, String>;

/// Whether it is worth while to ask.
#[derive(Debug, Clone, Default)]
pub(super) struct Worth {
    /// Whether the last batch came to the log's head.
    pub(super) caught_up: bool,
    rest: u32,
    left: u32,
}

impl Worth {
    /// Whether to ask now.
    fn now(&mut self) -> bool {
        let rested = self.left == 0;
        self.left = self.left.saturating_sub(1);
        self.caught_up && rested
    }

    fn was(&mut self, of_use: bool) {
        self.rest = if of_use { 0 } else { (self.rest * 2).clamp(1, LONGEST_REST) };
        self.left = self.rest;
    }
}

impl Applier {
    /// Where the checkpoint is now, if none of the events after it is wanted; none where a batch has to say.
    ///
    /// # Errors
    /// When PostgreSQL does not do its part: then what was committed must be read again.
    pub(super) async fn pass_over(&mut self, checkpoint: Position) -> Result<Option<Position>, sqlx::Error> {
        let may = self.share.is_none() && !matches!(self.handlers, Handlers::Gone);
        if !may || !self.worth_asking.now() {
            return Ok(None);
        }
        let (projection, generation, lease) = (self.projection.clone(), self.generation, self.lease);
        let place = Place { projection, generation, checkpoint, lease };
        let passed = self.sessions.passing().pass(&self.sessions, place).await;
        match &passed {
            Ok(passed) => self.worth_asking.was(passed.is_some()),
            Err(_) => self.measure.errors.away.one(),
        }
        passed
    }
}

impl Passing {
    async fn pass(&self, sessions: &Sessions, place: Place) -> Result<Option<Position>, sqlx::Error> {
        let (told, mut answer) = oneshot::channel();
        self.change(|waiting| waiting.push(Waiting { place, told }));
        let _turn = self.turn.lock().await;
        match answer.try_recv() {
            Err(TryRecvError::Empty) => {}
            answered => return known(answered),
        }
        let mut all = self.change(std::mem::take);
        all.retain(|it| !it.told.is_closed());
        fault::point("pass-before");
        let moved = bounded(pass_over(sessions, &all)).await;
        fault::point("pass-after");
        match moved {
            Ok(moved) => {
                for Waiting { place, told } in all {
                    let own = moved.iter().find(|(projection, generation, _)| {
                        *projection == place.projection && *generation == place.generation
                    });
                    let _ = told.send(Ok(own.map(|(_, _, checkpoint)| Position::from_sql(*checkpoint))));
                }
            }
            // Nobody knows whether they were moved.
            Err(error) if classify(&error) == Class::Away => {
                for Waiting { told, .. } in all {
                    let _ = told.send(Err(describe(&error)));
                }
                return Err(error);
            }
            // They were not: each one's batch will say what is wrong.
            Err(_) => all.into_iter().for_each(|it| drop(it.told.send(Ok(None)))),
        }
        known(answer.try_recv())
    }

    fn change<T>(&self, change: impl FnOnce(&mut Vec<Waiting>) -> T) -> T {
        change(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// An answer, unless whoever asked for all was stopped.
fn known(answer: Result<Answer, TryRecvError>) -> Result<Option<Position>, sqlx::Error> {
    let stopped = |_| Err("whoever asked for all was stopped".into());
    answer.unwrap_or_else(stopped).map_err(sqlx::Error::Protocol)
}

/// Those that were moved to the log's head, or were there already: projection, generation and checkpoint.
async fn pass_over(sessions: &Sessions, all: &[Waiting]) -> Result<Vec<(String, i64, i64)>, sqlx::Error> {
    let mut session = sessions.take(ALL).await?;
    let places = || all.iter().map(|it| &it.place);
    let moved = sqlx::query_as(
        "select projection, generation, checkpoint from projectord.pass_over($1, $2, $3, $4, $5, $6)",
    )
    .bind(places().map(|it| it.projection.as_str()).collect::<Vec<_>>())
    .bind(places().map(|it| it.generation).collect::<Vec<_>>())
    .bind(places().map(|it| it.checkpoint.to_sql()).collect::<Vec<_>>())
    .bind(places().map(|it| it.lease.owner).collect::<Vec<_>>())
    .bind(places().map(|it| it.lease.epoch).collect::<Vec<_>>())
    .bind(MOST)
    .fetch_all(&mut *session)
    .await?;
    sessions.keep(session, ALL);
    Ok(moved)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Before how many of so many batches it is asked, when that is of use or not.
    fn asked(worth: &mut Worth, batches: usize, of_use: bool) -> usize {
        let mut asked = 0;
        for _ in 0..batches {
            if worth.now() {
                worth.was(of_use);
                asked += 1;
            }
        }
        asked
    }

    #[test]
    fn who_wants_everything_hardly_ever_asks() {
        let mut worth = Worth::default();
        assert_eq!(asked(&mut worth, 10, true), 0, "not while catching up");
        worth.caught_up = true;
        assert_eq!(asked(&mut worth, 10, true), 10);
        assert_eq!(asked(&mut worth, 1000, false), 21);
        // The next one, at the latest after its rest, is of use.
        assert!(asked(&mut worth, 165, true) >= 100);
    }
}
