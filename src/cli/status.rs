//! `projectord status`: what is true, read from the database, whether or not a daemon runs.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use sqlx::{FromRow, PgPool};
use uuid::Uuid;

use super::exit::{Code, Failed};
use super::open::pool;
use super::print::{self, Colour, paint, thousands};
use crate::config::Config;
use crate::projector::Failure;

/// How often `--watch` looks.
const WATCH: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// As JSON; the format is documented in docs/operations.md and stable.
    #[arg(long)]
    json: bool,
    /// Again every second.
    #[arg(long)]
    watch: bool,
}

/// Everything that `status` says.
#[derive(Debug, Serialize)]
struct Status {
    daemons: Vec<Daemon>,
    store: Store,
    ingest: Option<Ingest>,
    log: LogHead,
    projections: Vec<Projection>,
}

#[derive(Debug, Serialize, FromRow)]
struct Daemon {
    id: Uuid,
    host: String,
    pid: i32,
    version: String,
    started_at: DateTime<Utc>,
    /// Whether it does its part, as it measures it against the log and the store.
    ready: bool,
    /// Why not.
    reasons: Vec<String>,
    /// How often something could not be reloaded, and the old one stayed.
    refused_reloads: i64,
}

#[derive(Debug, Serialize)]
struct Store {
    /// `rethinkdb` or `postgres`.
    kind: &'static str,
    url: Option<String>,
    /// The identity of the store that the log copies.
    id: Option<Uuid>,
}

#[derive(Debug, Serialize, FromRow)]
struct Ingest {
    state: String,
    /// The daemon that has it.
    owner: Option<Uuid>,
    error: Option<String>,
    feed: String,
    repaired: i64,
    full_pass_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Serialize, FromRow)]
struct LogHead {
    head: i64,
    #[serde(skip)]
    store_id: Option<Uuid>,
    newest_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Serialize, FromRow)]
struct Projection {
    name: String,
    state: String,
    wanted: String,
    generation: i64,
    position: i64,
    head: i64,
    lag_events: i64,
    lag_seconds: f64,
    events_per_second: f64,
    /// `beside`, `held` or `in_place`, until it has begun.
    rebuild_wanted: Option<String>,
    /// Why it cannot begin.
    rebuild_error: Option<Json<Failure>>,
    rebuild_to: Option<i64>,
    /// Those that readers do not see: being built, or to go back to.
    generations: Json<Vec<Generation>>,
    /// The daemon that has it, and how often it has changed hands.
    owner: Option<Uuid>,
    epoch: i64,
    /// How often the fence refused a stale owner's work, and when last.
    refusals: i64,
    refused_at: Option<DateTime<Utc>>,
    /// Events that were set aside, and that an operator left out.
    parked: i64,
    skipped: i64,
    error: Option<Json<Failure>>,
}

/// A generation beside the live one.
#[derive(Debug, Serialize, Deserialize)]
struct Generation {
    generation: i64,
    state: String,
    position: i64,
    events_per_second: f64,
    /// It has caught up, and waits until somebody has looked.
    held: bool,
    caught_up_at: Option<DateTime<Utc>>,
    /// Until when one can go back to it.
    keep_until: Option<DateTime<Utc>>,
    error: Option<Failure>,
}

pub(super) async fn run(config: &Config, arguments: &Arguments) -> Result<Code, Failed> {
    let pool = pool(config).await?;
    loop {
        let status = read(&pool, config).await?;
        if arguments.json {
            print::line(serde_json::to_string(&status).map_err(|error| Failed::new(Code::Failed, error))?);
        } else {
            if arguments.watch && std::io::IsTerminal::is_terminal(&std::io::stdout()) {
                print::text("\x1b[H\x1b[2J");
            }
            show(&status);
        }
        if !arguments.watch {
            return Ok(Code::Done);
        }
        tokio::time::sleep(WATCH).await;
    }
}

async fn read(pool: &PgPool, config: &Config) -> Result<Status, Failed> {
    let daemons = sqlx::query_as(
        "select id, host, pid, version, started_at, ready, reasons, refused_reloads from projectord.daemons
          where seen_at > clock_timestamp() - interval '10 seconds' order by started_at",
    )
    .fetch_all(pool)
    .await?;
    let log: LogHead = sqlx::query_as(
        "select h.position as head, h.store_id, e.recorded_at as newest_at
           from projectord.log_head h left join projectord.events e using (position)",
    )
    .fetch_one(pool)
    .await?;
    let url = config.store.url.as_ref().map(ToString::to_string);
    let ingest: Ingest = sqlx::query_as(
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
    Ok(Status { daemons, store: Store { kind, url, id: log.store_id }, ingest, log, projections })
}

fn show(status: &Status) {
    let Status { daemons, store, ingest, log, projections } = status;
    let down = daemons.is_empty();
    match daemons.as_slice() {
        [] => print::line(format!("daemon   {}", paint(Colour::Red, "not running: nothing below moves"))),
        daemons => daemons.iter().for_each(|daemon| show_daemon(daemon, status)),
    }
    match &store.url {
        Some(url) => print::line(format!("store    RethinkDB at {url}")),
        None => print::line("store    the log itself"),
    }
    if let Some(Ingest { state, error, feed, repaired, .. }) = ingest {
        let state = if down { paint(Colour::Dim, "stopped") } else { paint_state(state) };
        print::line(format!(
            "ingest   {state}, feed {feed}, {} commits found without the feed",
            thousands(repaired.unsigned_abs())
        ));
        if let Some(error) = error.as_ref().filter(|_| !down) {
            print::line(format!("         {}", paint(Colour::Red, error)));
        }
    }
    let newest =
        log.newest_at.map(|time| format!(", newest recorded {}", time.format("%F %T"))).unwrap_or_default();
    print::line(format!("log      {} events{newest}", thousands(log.head.unsigned_abs())));
    print::line("");
    let width = projections.iter().map(|it| it.name.len()).max().unwrap_or(0).max(10);
    let title = format!(
        "{:<width$}  {:<12} {:>12} {:>12} {:>9} {:>10}",
        "projection", "state", "position", "lag", "seconds", "events/s"
    );
    print::line(paint(Colour::Dim, title));
    for it in projections {
        // Padded before it is painted: colours have no width.
        let state = paint_state(&format!(
            "{:<12}",
            if down && !matches!(it.state.as_str(), "paused" | "halted") { "down" } else { &it.state }
        ));
        print::line(format!(
            "{:<width$}  {state} {:>12} {:>12} {:>9.1} {:>10}",
            it.name,
            thousands(it.position.unsigned_abs()),
            thousands(it.lag_events.unsigned_abs()),
            it.lag_seconds.max(0.0),
            format!("{:.0}", if down { 0.0 } else { it.events_per_second }),
        ));
        if let Some(Json(error)) = &it.error {
            print::line(format!("{:<width$}  {}", "", paint(Colour::Red, print::plain(error))));
            if let Some(detail) = &error.detail {
                print::line(format!("{:<width$}  {}", "", print::plain(detail)));
            }
        }
        if it.parked > 0 || it.skipped > 0 {
            let (parked, skipped) = (it.parked, it.skipped);
            let name = &it.name;
            print::line(format!(
                "{:<width$}  {parked} parked, {skipped} skipped: projectord parked {name}",
                ""
            ));
        }
        if let Some(at) = it.refused_at {
            let (times, at) = (it.refusals, at.format("%F %T"));
            print::line(format!("{:<width$}  a stale owner was refused {times} times, last {at}", ""));
        }
        for line in others(it) {
            print::line(format!("{:<width$}  {line}", ""));
        }
    }
    if projections.is_empty() {
        print::line("none has run yet");
    }
}

/// What stands beside the live generation, and what is to.
fn others(it: &Projection) -> Vec<String> {
    let name = &it.name;
    let mut lines = Vec::new();
    if it.rebuild_wanted.is_some() {
        lines.push("a rebuild is asked for".into());
    }
    if let Some(Json(error)) = &it.rebuild_error {
        let error = print::plain(error);
        lines.push(paint(Colour::Red, format!("a rebuild could not begin: {error}")));
    }
    for Generation { generation, state, position, events_per_second, held, caught_up_at, keep_until, error } in
        &it.generations.0
    {
        let at = thousands(position.unsigned_abs());
        lines.push(match (state.as_str(), error, keep_until) {
            ("building", Some(error), _) => {
                let error = print::plain(error);
                paint(Colour::Red, format!("generation {generation} cannot be built on from {at}: {error}"))
            }
            ("building", ..) if *held && caught_up_at.is_some() => format!(
                "generation {generation} is ready and held: projectord rebuild {name}, with --verify or --cancel"
            ),
            ("building", ..) => {
                let left = it.head - position;
                let (of, rate) = (thousands(it.head.unsigned_abs()), events_per_second);
                format!("generation {generation} is being built: {at} of {of}, {rate:.0}/s{}", eta(left, *rate))
            }
            (_, Some(error), _) => {
                format!("generation {generation} cannot be gone back to: {}", print::plain(error))
            }
            (_, None, until) => {
                let until = until.map(|until| until.format("%F %T").to_string()).unwrap_or_default();
                format!("generation {generation} can be gone back to until {until}: projectord undo {name}")
            }
        });
    }
    lines
}

/// How long it will take at this rate.
#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn eta(events: i64, rate: f64) -> String {
    if events <= 0 || rate < 1.0 {
        return String::new();
    }
    format!(", about {:.0} s left", (events as f64 / rate).ceil())
}

/// Who it is, what it owns, and whether it does its part.
fn show_daemon(daemon: &Daemon, status: &Status) {
    let Daemon { id, host, pid, version, started_at, reasons, refused_reloads, .. } = daemon;
    let ready = if daemon.ready { paint(Colour::Green, "ready") } else { paint(Colour::Red, "not ready") };
    let since = started_at.format("%F %T");
    print::line(format!("daemon   {host} pid {pid}, version {version}, since {since}, {ready}"));
    let owned = status.projections.iter().filter(|it| it.owner == Some(*id)).map(|it| it.name.as_str());
    let ingest = status.ingest.iter().filter(|it| it.owner == Some(*id)).map(|_| "ingest");
    let owned: Vec<&str> = ingest.chain(owned).collect();
    if status.daemons.len() > 1 {
        let owned = if owned.is_empty() { "nothing".into() } else { owned.join(", ") };
        print::line(format!("         owns {owned}"));
    }
    for reason in reasons {
        print::line(format!("         {}", paint(Colour::Red, print::plain(reason))));
    }
    if *refused_reloads > 0 {
        print::line(format!(
            "         {refused_reloads} reloads refused something; what ran before still does"
        ));
    }
}

fn paint_state(state: &str) -> String {
    let colour = match state.trim() {
        "live" => Colour::Green,
        "halted" | "down" => Colour::Red,
        "stopped" => Colour::Dim,
        _ => Colour::Yellow,
    };
    paint(colour, state)
}
