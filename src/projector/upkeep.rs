//! Looking after the tables of a read model while many events are applied to it. Autovacuum looks once a minute: in
//! that time a table of twenty rows that every event changes comes to a hundred megabytes of old versions, each of
//! which whoever reads it has to pass over; and a table that was swapped in is read by plans that know nothing of it.

use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};
use tracing::debug;

use super::apply::Applier;
use crate::postgres::{bounded, describe};
use crate::shutdown::Shutdown;

/// How often it is looked whether there is something to do.
const LOOK: Duration = Duration::from_secs(1);
/// After it took some time, so many times as long nothing is done.
const REST: u32 = 20;
/// When PostgreSQL gives up: tables for which that is too short are left to autovacuum, which gives way to others.
const LONGEST: &str = "5s";

/// When to look again.
#[derive(Debug, Clone)]
pub(super) struct Upkeep {
    next: Instant,
}

impl Default for Upkeep {
    fn default() -> Self {
        Self { next: Instant::now() + LOOK }
    }
}

impl Applier {
    /// Between two batches of many: vacuums the generation's tables whose dead rows are more than a thousand and a
    /// fifth of the others, where it has not been looked for a while and nobody else in this daemon is at it.
    pub(super) async fn vacuum_where_due(&mut self, shutdown: &mut Shutdown) {
        if self.upkeep.next > Instant::now() {
            return;
        }
        let begun = Instant::now();
        if self.sessions.upkeep().available_permits() > 0 {
            // To give back what is at the end of a table, it would have to be locked from readers, too.
            let vacuum = "vacuum (skip_locked, truncate false)";
            self.on_tables(vacuum, "n_dead_tup > 1000 + n_live_tup / 5", shutdown).await;
        }
        self.upkeep.next = Instant::now() + LOOK.max(begun.elapsed() * REST);
    }

    /// Tells PostgreSQL's planner what is in the generation's tables, before anybody reads them.
    pub(super) async fn analyze(&self, shutdown: &mut Shutdown) {
        self.on_tables("analyze (skip_locked)", "true", shutdown).await;
    }

    /// Runs a command on those of the generation's tables of which a condition holds, in a session of its own. Where
    /// that fails, is stopped or takes long, whoever applies events goes on: autovacuum is there, too.
    async fn on_tables(&self, command: &str, which: &str, shutdown: &mut Shutdown) {
        let tables = format!(
            "select string_agg(format('%I.%I', schemaname, relname), ', ')
               from pg_catalog.pg_stat_user_tables join projectord.generations g on g.schema_name = schemaname
              where g.projection = $1 and g.generation = $2 and {which}"
        );
        let run = async {
            let _only_one = self.sessions.upkeep().acquire().await;
            let named: (Option<String>,) = sqlx::query_as(AssertSqlSafe(tables))
                .bind(&self.projection)
                .bind(self.generation)
                .fetch_one(&self.pool)
                .await?;
            let (Some(tables),) = named else { return Ok(()) };
            debug!(command, tables, "looking after tables");
            let options = PgConnectOptions::clone(&self.pool.connect_options());
            let mut session = options.options([("statement_timeout", LONGEST)]).connect().await?;
            session.execute(AssertSqlSafe(format!("{command} {tables}"))).await.map(drop)
        };
        tokio::select! {
            done = bounded(run) => if let Err(error) = done {
                debug!(command, error = %describe(&error), "left to autovacuum");
            },
            () = shutdown.requested() => {}
        }
    }
}
