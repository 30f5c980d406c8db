//! What `projectord status` reads.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use sqlx::{FromRow, PgPool};
use uuid::Uuid;

use crate::config::Store;
use crate::projector::Failure;

/// Everything that `status` says.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    pub(crate) daemons: Vec<DaemonStatus>,
    pub(crate) store: StoreStatus,
    pub(crate) ingest: Option<IngestStatus>,
    pub(crate) log: LogStatus,
    pub(crate) projections: Vec<ProjectionStatus>,
}

#[derive(Debug, Serialize, FromRow)]
pub(crate) struct DaemonStatus {
    pub(crate) id: Uuid,
    pub(crate) host: String,
    pub(crate) pid: i32,
    pub(crate) version: String,
    pub(crate) started_at: DateTime<Utc>,
    /// Whether it does its part, as it measures it against the log and the store.
    pub(crate) ready: bool,
    /// Why not.
    pub(crate) reasons: Vec<String>,
    /// How often something could not be reloaded, and the old one stayed.
    pub(crate) refused_reloads: i64,
}

#[derive(Debug, Serialize)]
pub(crate) struct StoreStatus {
    /// `rethinkdb` or `postgres`.
    pub(crate) kind: &'static str,
    pub(crate) url: Option<String>,
    /// The identity of the store that the log copies.
    pub(crate) id: Option<Uuid>,
}

#[derive(Debug, Serialize, FromRow)]
pub(crate) struct IngestStatus {
    pub(crate) state: String,
    /// The daemon that has it.
    pub(crate) owner: Option<Uuid>,
    pub(crate) error: Option<String>,
    pub(crate) feed: String,
    pub(crate) repaired: i64,
    pub(crate) full_pass_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Serialize, FromRow)]
pub(crate) struct LogStatus {
    pub(crate) head: i64,
    #[serde(skip)]
    pub(crate) store_id: Option<Uuid>,
    pub(crate) newest_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Serialize, FromRow)]
pub(crate) struct ProjectionStatus {
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) wanted: String,
    pub(crate) generation: i64,
    pub(crate) position: i64,
    pub(crate) head: i64,
    pub(crate) lag_events: i64,
    pub(crate) lag_seconds: f64,
    pub(crate) events_per_second: f64,
    /// `beside`, `held` or `in_place`, until it has begun.
    pub(crate) rebuild_wanted: Option<String>,
    /// Why it cannot begin.
    pub(crate) rebuild_error: Option<Json<Failure>>,
    pub(crate) rebuild_to: Option<i64>,
    /// Those that readers do not see: being built, or to go back to.
    pub(crate) generations: Json<Vec<GenerationStatus>>,
    /// The daemon that has it, and how often it has changed hands.
    pub(crate) owner: Option<Uuid>,
    pub(crate) epoch: i64,
    /// How often the fence refused a stale owner's work, and when last.
    pub(crate) refusals: i64,
    pub(crate) refused_at: Option<DateTime<Utc>>,
    /// Events that were set aside, and that an operator left out.
    pub(crate) parked: i64,
    pub(crate) skipped: i64,
    pub(crate) error: Option<Json<Failure>>,
}

/// A generation beside the live one.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct GenerationStatus {
    pub(crate) generation: i64,
    pub(crate) state: String,
    pub(crate) position: i64,
    pub(crate) events_per_second: f64,
    /// It has caught up, and waits until somebody has looked.
    pub(crate) held: bool,
    pub(crate) caught_up_at: Option<DateTime<Utc>>,
    /// Until when one can go back to it.
    pub(crate) keep_until: Option<DateTime<Utc>>,
    pub(crate) error: Option<Failure>,
}

pub(super) async fn read(pool: &PgPool, store: &Store) -> Result<Status, sqlx::Error> {
    let daemons = sqlx::query_as(
        "select id, host, pid, version, started_at, ready, reasons, refused_reloads from projectord.daemons
          where seen_at > clock_timestamp() - interval '10 seconds' order by started_at",
    )
    .fetch_all(pool)
    .await?;
    let log: LogStatus = sqlx::query_as(
        "select h.position as head, h.store_id, e.recorded_at as newest_at
           from projectord.log_head h left join projectord.events e using (position)",
    )
    .fetch_one(pool)
    .await?;
    let url = store.url.as_ref().map(ToString::to_string);
    let ingest: IngestStatus = sqlx::query_as(
        "select s.state, l.owner, s.error, s.feed, s.repaired, s.full_pass_at from projectord.ingest_status s
               left join projectord.leases l on l.name = 'ingest' and l.expires_at > clock_timestamp()",
    )
    .fetch_one(pool)
    .await?;
    let projections = sqlx::query_as(
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
          order by p.name",
    )
    .fetch_all(pool)
    .await?;
    let kind = if url.is_some() { "rethinkdb" } else { "postgres" };
    let ingest = url.is_some().then_some(ingest);
    Ok(Status { daemons, store: StoreStatus { kind, url, id: log.store_id }, ingest, log, projections })
}
