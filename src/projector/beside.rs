//! What stands beside the live generation: begun where one is wanted, and fed.

use sqlx::Error;
use tracing::{error, info};

use super::build::{Beside, GenerationError, build_beside, rebuild_in_place};
use super::feeder::Feeder;
use super::record::{Aside, Rebuild, Record, refuse_rebuild};
use super::run::Projector;
use super::{Build, Failure, OnChange, State};
use crate::postgres::{Class, bounded, classify};
use crate::shutdown::Shutdown;

impl Projector {
    /// Begins a generation where one is wanted, in place or beside the live one; the row as it is then. None
    /// where it is halted.
    pub(super) async fn build(&mut self, record: Record, in_place: bool) -> Result<Option<Record>, Error> {
        let (pool, projection, lease) = (&self.pool, &self.projection, self.lease);
        let halts = in_place || record.fingerprint.is_none();
        let built = if in_place || record.fingerprint.is_none() && record.rebuild_wanted().is_some() {
            info!("making the read model, empty");
            rebuild_in_place(pool, projection, lease, record.generation, record.rebuild_forced).await
        } else if let Some(how) = self.wants_beside(&record) {
            info!(replaces = record.generation, held = how.held, "building beside the live rows");
            build_beside(pool, projection, lease, record.generation, how).await
        } else {
            return Ok(Some(record));
        };
        match built {
            Ok(_) => {}
            Err(GenerationError::Postgres(error)) if classify(&error) != Class::Statement => {
                return Err(error);
            }
            Err(refused) => {
                let failure = match refused {
                    GenerationError::Refused(failure) => failure,
                    GenerationError::Postgres(error) => Failure::of(&error, &self.compiled),
                };
                if halts {
                    self.halt(failure).await?;
                    return Ok(None);
                }
                error!(reason = %failure.for_log(), "cannot build it; the live rows go on");
                bounded(refuse_rebuild(&self.pool, &self.projection.name, &failure)).await?;
            }
        }
        bounded(Record::read_or_create(&self.pool, &self.projection.name)).await.map(Some)
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
        let build = match others.iter().find(|it| it.state == "building" && !it.is_over) {
            Some(it) if it.held => Build::None,
            Some(it) if it.error.is_some() && !starts => Build::Failed,
            Some(_) => Build::UnderWay,
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
