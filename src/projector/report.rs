//! What a projector says of itself: to the log, to its row, to the daemon.

use sqlx::Error;
use tracing::{error, info, warn};

use super::rate::Rate;
use super::record::write_state;
use super::run::{Projector, Turn};
use super::{Failure, State};
use crate::backoff::Backoff;
use crate::postgres::{bounded, describe};

impl Projector {
    pub(super) async fn halt(&mut self, failure: Failure) -> Result<Turn, Error> {
        self.enter(State::Halted, Some(failure)).await?;
        Ok(Turn::Wait)
    }

    pub(super) async fn back_off(&mut self, away: &Error, backoff: &mut Backoff) {
        let wait = backoff.next_wait();
        let message = describe(away);
        // Once for each reason: that sessions were ended is not yet why no other can be had.
        if self.state != Some(State::Backoff) || self.away != message {
            warn!(error = %message, "PostgreSQL does not do its part; trying again until it does");
            self.state = Some(State::Backoff);
            self.away.clone_from(&message);
        }
        // Where PostgreSQL is away altogether, this cannot be written down either.
        let failure = Failure { message, ..Failure::default() };
        let written =
            write_state(&self.pool, &self.projection.name, self.lease, State::Backoff, Some(&failure), 0.0);
        drop(tokio::time::timeout(wait, written).await);
        self.shutdown.within(wait).await;
    }

    /// One row for each transition.
    pub(super) async fn enter(&mut self, state: State, failure: Option<Failure>) -> Result<(), Error> {
        match &failure {
            // Said once: what is tried again may fail again.
            Some(failure) if self.failure.as_ref() != Some(failure) => {
                error!(reason = %failure.for_log(), "halted");
            }
            Some(_) => {}
            None => self.say(state),
        }
        if matches!(state, State::Paused | State::Halted) {
            self.sessions.give_back(&self.projection.name);
        }
        self.state = Some(state);
        self.failure.clone_from(&failure);
        self.progress.send_modify(|progress| progress.state = Some(state));
        self.rate = Rate::default();
        bounded(write_state(&self.pool, &self.projection.name, self.lease, state, failure.as_ref(), 0.0))
            .await
    }

    /// One line for each transition.
    fn say(&self, to: State) {
        if Some(to) != self.state {
            info!(from = self.state.map_or("starting", State::as_str), %to, "state");
        }
    }

    /// Writes down a change of state at once, and the rate now and then.
    pub(super) async fn report(&mut self, state: State, events: u64) -> Result<(), Error> {
        self.rate.add(events);
        if Some(state) != self.state {
            self.say(state);
            self.state = Some(state);
        } else if !self.rate.due() {
            return Ok(());
        }
        let rate = self.rate.take();
        bounded(write_state(&self.pool, &self.projection.name, self.lease, state, None, rate)).await
    }
}
