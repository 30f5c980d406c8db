//! What stands beside the live generation: begun where one is wanted, and fed.

use sqlx::{Error, PgPool};
use tracing::{Instrument, error, info, warn};

use super::build::{Beside, GenerationError, build_beside, rebuild_in_place};
use super::feeder::Feeder;
use super::record::{Aside, Rebuild, Record, refuse_rebuild};
use super::run::Projector;
use super::{Build, Failure, OnChange, State};
use crate::postgres::{Class, bounded, classify, describe};
use crate::projection::Compiled;
use crate::shutdown::Shutdown;

impl Projector {
    /// Begins a generation where one is wanted, in place or beside the live one; the row as it is then. None
    /// where it is halted. While the log is followed live, one beside is begun meanwhile.
    pub(super) async fn build(&mut self, record: Record, in_place: bool) -> Result<Option<Record>, Error> {
        let (pool, projection, lease) = (&self.pool, &self.projection, self.lease);
        let halts = in_place || record.fingerprint.is_none();
        let built = if in_place || record.fingerprint.is_none() && record.rebuild_wanted().is_some() {
            info!("making the read model, empty");
            rebuild_in_place(pool, projection, lease, record.generation, record.rebuild_forced).await
        } else if let Some(how) = self.wants_beside(&record) {
            if self.state == Some(State::Live) {
                self.begin_meanwhile(record.generation, how);
                return Ok(Some(record));
            }
            info!(replaces = record.generation, held = how.held, "building beside the live rows");
            build_beside(pool, projection, lease, record.generation, how).await
        } else {
            return Ok(Some(record));
        };
        if let Err(error) = built {
            let failure = refusal(error, &self.compiled)?;
            if halts {
                self.halt(failure).await?;
                return Ok(None);
            }
            cannot_build(&self.pool, &self.projection.name, &failure).await?;
        }
        bounded(Record::read_or_create(&self.pool, &self.projection.name)).await.map(Some)
    }

    /// Begins it in a task beside, since it holds up whoever does it for some ten batches. The control bell rings
    /// when it has begun; where PostgreSQL did not do its part it is still wanted, and tried again.
    fn begin_meanwhile(&mut self, seen: i64, how: Beside) {
        while let Some(ended) = self.beginning.try_join_next() {
            if let Err(error) = ended {
                error!(%error, "beginning a build broke off");
            }
        }
        if !self.beginning.is_empty() {
            return;
        }
        info!(replaces = seen, held = how.held, "building beside the live rows");
        let (pool, projection, lease) = (self.pool.clone(), self.projection.clone(), self.lease);
        let compiled = self.compiled.clone();
        let begin = async move {
            let Err(error) = build_beside(&pool, &projection, lease, seen, how).await else { return };
            let told = match refusal(error, &compiled) {
                Ok(failure) => cannot_build(&pool, &projection.name, &failure).await,
                Err(away) => Err(away),
            };
            if let Err(away) = told {
                warn!(error = %describe(&away), "the build is not begun yet; trying again");
            }
        };
        self.beginning.spawn(begin.in_current_span());
    }

    /// Whether a generation is to be begun beside the live one, and how.
    fn wants_beside(&self, record: &Record) -> Option<Beside> {
        let workers = self.settings.rebuild.workers;
        if let Some(how) = record.rebuild_wanted() {
            return Some(Beside { held: how == Rebuild::Held, forced: record.rebuild_forced, workers });
        }
        let ours = self.projection.fingerprint();
        let changed = self.settings.on_change == OnChange::Rebuild
            && self.settled.is_none()
            && !self.is_ours(record)
            && record.building.as_ref() != Some(&ours);
        changed.then_some(Beside { held: false, forced: false, workers })
    }

    /// Works on the generations that readers do not see.
    pub(super) async fn feed_others(&mut self, record: &Record) -> Result<(), Error> {
        let starts = self.settled.is_none();
        let mut others = bounded(Aside::read(&self.pool, &self.projection.name)).await?;
        // One that was begun from files that are gone is of no use.
        let ours = self.projection.fingerprint();
        let stale = |it: &Aside| starts && it.state == "building" && it.fingerprint != ours;
        others.iter_mut().filter(|it| stale(it)).for_each(|it| it.is_over = true);
        let begins = record.rebuild_wanted().is_some() && !self.beginning.is_empty();
        let build = match others.iter().find(|it| it.state == "building" && !it.is_over) {
            Some(it) if it.held => Build::None,
            Some(it) if it.error.is_some() && !starts => Build::Failed,
            Some(_) => Build::UnderWay,
            None if begins => Build::UnderWay,
            None if record.rebuild_error.is_some() => Build::Failed,
            None => Build::None,
        };
        self.progress.send_modify(|progress| {
            progress.build = build;
            // Halted no more: the error was an older generation's, or somebody has taken it away.
            if progress.state == Some(State::Halted) && record.error.is_none() {
                progress.state = None;
            }
        });
        let mut feeders = std::mem::take(&mut self.feeders);
        let feeder = |aside: Aside, shutdown: Shutdown| Feeder {
            applier: self.applier(aside.generation, Some(&aside.fingerprint)),
            aside,
            analyzed: false,
            live: record.generation,
            keep_old: self.settings.rebuild.keep_old,
            pace: self.pace.clone(),
            log_bell: self.log_bell.clone(),
            control_bell: self.control_bell.clone(),
            shutdown,
        };
        feeders.follow(&self.pool, &self.projection.name, &others, starts, feeder);
        self.feeders = feeders;
        Ok(())
    }
}

/// Why it cannot be built. `Err` where PostgreSQL did not do its part, so that it is worth another try.
fn refusal(error: GenerationError, compiled: &Compiled) -> Result<Failure, Error> {
    match error {
        GenerationError::Refused(failure) => Ok(failure),
        GenerationError::Postgres(error) if classify(&error) == Class::Statement => {
            Ok(Failure::of(&error, compiled))
        }
        GenerationError::Postgres(error) => Err(error),
    }
}

async fn cannot_build(pool: &PgPool, name: &str, failure: &Failure) -> Result<(), Error> {
    error!(reason = %failure.for_log(), "cannot build it; the live rows go on");
    bounded(refuse_rebuild(pool, name, failure)).await
}
