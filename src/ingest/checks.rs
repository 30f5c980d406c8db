//! What is compared beside following the feed, and when: lately recorded commits every few seconds, and the whole
//! store at start and then rarely.

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

impl<'a> Checks<'a> {
    /// From the start; the full pass at once, unless it `rests` first.
    pub(super) fn begin(ingest: &'a Ingest, rests: bool) -> Self {
        let mut sweep = interval(ingest.config.sweep_interval);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pass_due = Instant::now();
        if rests {
            pass_due += ingest.config.full_pass_interval;
        }
        Self { ingest, sweep, marks: Marks::default(), pass: FullPass::begin(), pass_due }
    }

    /// Compares until something is missing from the log; whoever follows the feed adds it, and comes again.
    pub(super) async fn next(mut self) -> Result<(Self, Missing), IngestError> {
        loop {
            let missing = tokio::select! {
                _ = self.sweep.tick() => self.ingest.sweep(&mut self.marks).await?,
                () = sleep_until(self.pass_due) => self.pass_on().await?,
            };
            if !missing.is_empty() {
                return Ok((self, missing));
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
