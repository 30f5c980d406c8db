//! What is true, read from the database, whether or not a daemon runs.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use sqlx::types::Json;
use uuid::Uuid;

use super::{Control, ControlError};
use crate::config;
use crate::projector::Failure;

/// Everything that there is to say. The format is documented in docs/operations.md, and stable.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Those that were seen within ten seconds, the oldest first.
    pub daemons: Vec<DaemonStatus>,
    /// As it is configured here.
    pub store: StoreStatus,
    /// None where the log is the store.
    pub ingest: Option<IngestStatus>,
    /// The log's head.
    pub log: LogStatus,
    /// In order of name.
    pub projections: Vec<ProjectionStatus>,
}

/// A daemon.
#[derive(Debug, Serialize, FromRow)]
pub struct DaemonStatus {
    /// Made at each start.
    pub id: Uuid,
    /// Its machine.
    pub host: String,
    /// Its process.
    pub pid: i32,
    /// Its version.
    pub version: String,
    /// Since when it runs.
    pub started_at: DateTime<Utc>,
    /// Whether it does its part, as it measures it against the log and the store.
    pub ready: bool,
    /// Why not.
    pub reasons: Vec<String>,
    /// How often something could not be reloaded, and the old one stayed.
    pub refused_reloads: i64,
}

/// The store.
#[derive(Debug, Serialize)]
pub struct StoreStatus {
    /// `rethinkdb` or `postgres`.
    pub kind: &'static str,
    /// Where RethinkDB is, without a password.
    pub url: Option<String>,
    /// The identity of the store that the log copies.
    pub id: Option<Uuid>,
}

/// Ingest.
#[derive(Debug, Serialize, FromRow)]
pub struct IngestStatus {
    /// What it does.
    pub state: String,
    /// The daemon that has it.
    pub owner: Option<Uuid>,
    /// Why it does not.
    pub error: Option<String>,
    /// `open` or `closed`.
    pub feed: String,
    /// Commits that no feed announced.
    pub repaired: i64,
    /// When the whole store was last compared with the log.
    pub full_pass_at: Option<DateTime<Utc>>,
}

/// The log.
#[derive(Debug, Serialize, FromRow)]
pub struct LogStatus {
    /// The last position.
    pub head: i64,
    #[serde(skip)]
    store_id: Option<Uuid>,
    /// When the last event was recorded.
    pub newest_at: Option<DateTime<Utc>>,
}

/// A projection.
#[derive(Debug, Serialize, FromRow)]
pub struct ProjectionStatus {
    /// Its name.
    pub name: String,
    /// What it does.
    pub state: String,
    /// What it is to do.
    pub wanted: String,
    /// Which build readers see.
    pub generation: i64,
    /// The checkpoint.
    pub position: i64,
    /// The log's head.
    pub head: i64,
    /// How many events are not applied.
    pub lag_events: i64,
    /// How long ago the first of them was recorded.
    pub lag_seconds: f64,
    /// How fast it is.
    pub events_per_second: f64,
    /// `beside`, `held` or `in_place`, until it has begun.
    pub rebuild_wanted: Option<String>,
    /// Why it cannot begin.
    pub rebuild_error: Option<Json<Failure>>,
    /// While it is rebuilt in place: how far it has to come.
    pub rebuild_to: Option<i64>,
    /// Those that readers do not see: being built, or to go back to.
    pub generations: Json<Vec<GenerationStatus>>,
    /// The daemon that has it.
    pub owner: Option<Uuid>,
    /// How often it has changed hands.
    pub epoch: i64,
    /// How often the fence refused a stale owner's work.
    pub refusals: i64,
    /// When last.
    pub refused_at: Option<DateTime<Utc>>,
    /// Events that were set aside.
    pub parked: i64,
    /// Events that an operator left out.
    pub skipped: i64,
    /// Why it is halted.
    pub error: Option<Json<Failure>>,
}

/// A generation beside the live one.
#[derive(Debug, Serialize, Deserialize)]
pub struct GenerationStatus {
    /// Which.
    pub generation: i64,
    /// `building` or `retired`.
    pub state: String,
    /// How far it is.
    pub position: i64,
    /// How fast it is.
    pub events_per_second: f64,
    /// It has caught up, and waits until somebody has looked.
    pub held: bool,
    /// When it had everything that was in the log.
    pub caught_up_at: Option<DateTime<Utc>>,
    /// Until when one can go back to it.
    pub keep_until: Option<DateTime<Utc>>,
    /// Why it is not fed any more.
    pub error: Option<Failure>,
}

impl Control {
    /// Everything; `store` is what is configured here.
    ///
    /// # Errors
    /// See [`daemons`](Self::daemons).
    pub async fn status(&self, store: &config::Store) -> Result<Status, ControlError> {
        let daemons = sqlx::query_as(
            "select id, host, pid, version, started_at, ready, reasons, refused_reloads from projectord.daemons
              where seen_at > clock_timestamp() - interval '10 seconds' order by started_at",
        )
        .fetch_all(&self.pool)
        .await?;
        let log: LogStatus = sqlx::query_as(
            "select h.position as head, h.store_id, e.recorded_at as newest_at
               from projectord.log_head h left join projectord.events e using (position)",
        )
        .fetch_one(&self.pool)
        .await?;
        let url = store.url.as_ref().map(ToString::to_string);
        let ingest: IngestStatus = sqlx::query_as(
            "select s.state, l.owner, s.error, s.feed, s.repaired, s.full_pass_at from projectord.ingest_status s
                   left join projectord.leases l on l.name = 'ingest' and l.expires_at > clock_timestamp()",
        )
        .fetch_one(&self.pool)
        .await?;
        let projections = self.projections(None).await?;
        let kind = if url.is_some() { "rethinkdb" } else { "postgres" };
        let ingest = url.is_some().then_some(ingest);
        Ok(Status { daemons, store: StoreStatus { kind, url, id: log.store_id }, ingest, log, projections })
    }

    /// All projections, or the one of this name, if it is there.
    ///
    /// # Errors
    /// See [`daemons`](Self::daemons).
    pub async fn projections(&self, name: Option<&str>) -> Result<Vec<ProjectionStatus>, ControlError> {
        Ok(sqlx::query_as(
            "select p.name, p.state, p.wanted, p.generation, coalesce(g.checkpoint, 0) as position, h.position as head,
                    h.position - coalesce(g.checkpoint, 0) as lag_events,
                    coalesce(extract(epoch from clock_timestamp() - next.recorded_at), 0)::float8 as lag_seconds,
                    p.events_per_second, p.rebuild_wanted, p.rebuild_error,
                    coalesce((select jsonb_agg(jsonb_build_object(
                                  'generation', o.generation, 'state', o.state, 'held', o.held, 'error', o.error,
                                  'position', coalesce((select avg(s.checkpoint)::bigint from projectord.shares s
                                                         where s.projection = o.projection and s.generation = o.generation),
                                                       o.checkpoint),
                                  'events_per_second', o.events_per_second, 'caught_up_at', o.caught_up_at,
                                  'keep_until', o.keep_until) order by o.generation)
                                from projectord.generations o
                               where o.projection = p.name and o.state <> 'live'), '[]') as generations,
                    case when p.state = 'rebuilding' then g.built_to end as rebuild_to,
                    case when l.expires_at > clock_timestamp() then l.owner end as owner,
                    coalesce(l.epoch, 0) as epoch, coalesce(l.refusals, 0) as refusals, l.refused_at,
                    (select count(*) from projectord.parked k
                      where k.projection = p.name and k.generation = p.generation) as parked,
                    (select count(*) from projectord.skipped s where s.projection = p.name) as skipped, p.error
               from projectord.projections p
              cross join projectord.log_head h
               left join projectord.generations g on g.projection = p.name and g.generation = p.generation
               left join projectord.leases l on l.name = p.name
               left join projectord.events next on next.position = coalesce(g.checkpoint, 0) + 1
              where $1::text is null or p.name = $1
              order by p.name",
        )
        .bind(name)
        .fetch_all(&self.pool)
        .await?)
    }

    /// One projection.
    ///
    /// # Errors
    /// See [`generation`](Self::generation).
    pub async fn projection(&self, name: &str) -> Result<ProjectionStatus, ControlError> {
        match self.projections(Some(name)).await?.pop() {
            Some(projection) => Ok(projection),
            None => Err(self.unknown(name).await),
        }
    }
}
