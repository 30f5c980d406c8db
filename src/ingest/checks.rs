//! What is compared beside following the feed, and when: lately recorded commits every few seconds, and the whole
//! store at start and then rarely.

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

use super::compare::{FullPass, Missing};
use super::error::IngestError;
use super::run::Ingest;
use super::status::Progress;
use super::sweep::Marks;

/// Both comparisons, as far as they have come.
pub(super) struct Checks<'a> {
    ingest: &'a Ingest,
    sweep: Interval,
    marks: Marks,
    pass: FullPass,
    pass_due: Instant,
}

/// "Add these, and tell when that is done."
pub(super) struct Question {
    pub(super) missing: Missing,
    pub(super) answer: oneshot::Sender<()>,
}

impl<'a> Checks<'a> {
    /// From the start; the full pass when it is due.
    pub(super) fn begin(ingest: &'a Ingest, pass_due: Instant) -> Self {
        let mut sweep = interval(ingest.config.sweep_interval);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { ingest, sweep, marks: Marks::default(), pass: FullPass::begin(), pass_due }
    }

    /// Compares again and again. What is missing from the log is added by whoever follows the feed, before anything
    /// else is compared.
    pub(super) async fn keep_comparing(mut self, found: mpsc::Sender<Question>) -> IngestError {
        loop {
            let compared = tokio::select! {
                _ = self.sweep.tick() => self.ingest.sweep(&mut self.marks).await,
                () = sleep_until(self.pass_due) => self.pass_on().await,
            };
            match compared {
                Ok(missing) if missing.is_empty() => {}
                Ok(missing) => {
                    let (answer, added) = oneshot::channel();
                    // Where nobody follows the feed any more, this ends with it.
                    let _ = found.send(Question { missing, answer }).await;
                    let _ = added.await;
                }
                Err(error) => return error,
            }
        }
    }

    /// One step of the full pass.
    async fn pass_on(&mut self) -> Result<Missing, IngestError> {
        let begun = Instant::now();
        let Some(missing) = self.ingest.full_pass_step(&mut self.pass).await? else {
            self.pass = FullPass::begin();
            self.pass_due = Instant::now() + self.ingest.config.full_pass_interval;
            self.ingest.progress.send_replace(Progress::Complete);
            return Ok(Missing::default());
        };
        if *self.ingest.progress.borrow() == Progress::Complete {
            // Rarely and gently: a fifth of the time.
            self.pass_due = Instant::now() + begun.elapsed() * 4;
        }
        Ok(missing)
    }
}
