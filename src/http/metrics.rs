//! `/metrics`: what the database says, and what this process has counted. Labels are names of projections, states and
//! classes of errors; never anything that stands in an event.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use chrono::{DateTime, Utc};

use super::Shared;
use super::exposition::Kind::{Counter, Gauge, Histogram};
use super::exposition::{Exposition, Kind, MEDIA_TYPE};
use crate::control::{GenerationStatus, ProjectionStatus, Status};
use crate::measure::{Count, Measures, ProjectionMeasure};

const STATES: [&str; 6] = ["catching_up", "live", "backoff", "paused", "halted", "rebuilding"];
const INGEST_STATES: [&str; 5] = ["stopped", "catching_up", "live", "backoff", "halted"];

/// The page. Where PostgreSQL is away it has what the process knows.
pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> ([(HeaderName, &'static str); 1], String) {
    let status = shared.status.read().await.ok();
    let mut page = Exposition::default();
    process(&mut page, &shared, status.as_deref());
    log(&mut page, status.as_deref());
    ingest(&mut page, &shared, status.as_deref());
    projections(&mut page, &shared, status.as_deref());
    batches(&mut page, &shared.measures);
    requests(&mut page, &shared.measures);
    ([(CONTENT_TYPE, MEDIA_TYPE)], page.text())
}

fn process(page: &mut Exposition, shared: &Shared, status: Option<&Status>) {
    page.family("projectord_build_info", Gauge, "Always 1; the version is a label.");
    page.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    page.family("projectord_uptime_seconds", Gauge, "How long this daemon has run.");
    page.sample(&[], shared.pulse.begun().elapsed().as_secs_f64());
    page.family(
        "projectord_pulse_age_seconds",
        Gauge,
        "How long ago the main runtime last beat; livez fails at 30.",
    );
    page.sample(&[], shared.pulse.age().as_secs_f64());
    page.family("projectord_ready", Gauge, "Whether this daemon does its part, as readyz says.");
    page.sample(&[], truth(shared.reasons().is_empty()));
    page.family(
        "projectord_database_up",
        Gauge,
        "Whether PostgreSQL answered; where 0, what it knows is left out.",
    );
    page.sample(&[], truth(status.is_some()));
    let own = status.and_then(|status| status.daemons.iter().find(|daemon| daemon.id == shared.daemon));
    page.family("projectord_refused_reloads_total", Counter, "Reloads of which something was refused.");
    page.known(own.map(|daemon| number(daemon.refused_reloads)));
}

fn log(page: &mut Exposition, status: Option<&Status>) {
    let log = status.map(|status| &status.log);
    page.family("projectord_log_head", Gauge, "The last position in the log.");
    page.known(log.map(|log| number(log.head)));
    page.family("projectord_log_newest_timestamp_seconds", Gauge, "When the newest event was recorded.");
    page.known(log.and_then(|log| log.newest_at).map(time));
}

/// Without a store on RethinkDB there is no ingest: the database says nothing of it, and what is counted stays at 0.
fn ingest(page: &mut Exposition, shared: &Shared, status: Option<&Status>) {
    let found = status.and_then(|status| status.ingest.as_ref());
    page.family("projectord_ingest_state", Gauge, "1 for the state that ingest is in.");
    if let Some(found) = found {
        for state in INGEST_STATES {
            page.sample(&[("state", state)], truth(found.state == state));
        }
    }
    page.family("projectord_ingest_owned", Gauge, "Whether this daemon has the lease of ingest.");
    page.known(found.map(|it| truth(it.owner == Some(shared.daemon))));
    page.family("projectord_ingest_feed_open", Gauge, "Whether the feed is open.");
    page.known(found.map(|it| truth(it.feed == "open")));
    page.family(
        "projectord_ingest_repaired_commits_total",
        Counter,
        "Commits that were found without the feed.",
    );
    page.known(found.map(|it| number(it.repaired)));
    page.family("projectord_ingest_full_pass_timestamp_seconds", Gauge, "When the last full pass ended.");
    page.known(found.and_then(|it| it.full_pass_at).map(time));
    let measure = shared.measures.ingest();
    page.family(
        "projectord_ingest_batches_total",
        Counter,
        "Transactions of this daemon that added to the log.",
    );
    page.sample(&[], count(&measure.batches));
    page.family("projectord_ingest_events_total", Counter, "Events that this daemon added to the log.");
    page.sample(&[], count(&measure.events));
    page.family("projectord_ingest_feeds_opened_total", Counter, "Feeds that this daemon opened.");
    page.sample(&[], count(&measure.feeds));
    page.family("projectord_ingest_feeds_lost_total", Counter, "Feeds that this daemon lost.");
    page.sample(&[], count(&measure.feed_losses));
    page.family("projectord_ingest_errors_total", Counter, "Errors of ingest in this daemon, by class.");
    page.sample(&[("class", "away")], count(&measure.away));
    page.sample(&[("class", "refused")], count(&measure.refused));
    page.family("projectord_ingest_add_duration_seconds", Histogram, "What adding a batch to the log took.");
    page.times(&[], &measure.add);
}

/// A family with one number for each projection.
type Family = (&'static str, Kind, &'static str, fn(&ProjectionStatus) -> Option<f64>);

#[rustfmt::skip]
const OF_EACH: [Family; 14] = [
    ("projectord_projection_generation", Gauge, "The generation that readers see.", |it| Some(number(it.generation))),
    ("projectord_projection_position", Gauge, "The checkpoint.", |it| Some(number(it.position))),
    ("projectord_projection_lag_events", Gauge, "Events of the log after the checkpoint.", |it| Some(number(it.lag_events))),
    ("projectord_projection_lag_seconds", Gauge, "How old the first event after the checkpoint is; 0 where there is none.", |it| Some(it.lag_seconds.max(0.0))),
    ("projectord_projection_events_per_second", Gauge, "How fast its owner says that it is.", |it| Some(it.events_per_second)),
    ("projectord_projection_lease_epoch", Gauge, "How often its lease has changed hands.", |it| Some(number(it.epoch))),
    ("projectord_projection_fence_refusals_total", Counter, "How often the fence refused a stale owner.", |it| Some(number(it.refusals))),
    ("projectord_projection_parked_events", Gauge, "Events that are parked.", |it| Some(number(it.parked))),
    ("projectord_projection_skipped_events", Gauge, "Events that an operator left out.", |it| Some(number(it.skipped))),
    ("projectord_projection_rebuild_position", Gauge, "How far the rebuild under way is.", |it| rebuild(it).map(|(position, _)| number(position))),
    ("projectord_projection_rebuild_target", Gauge, "Where it has caught up.", |it| rebuild(it).map(|(_, target)| number(target))),
    ("projectord_projection_rebuild_progress_ratio", Gauge, "The one by the other.", |it| rebuild(it).map(|(position, target)| if target > 0 { (number(position) / number(target)).min(1.0) } else { 1.0 })),
    ("projectord_projection_rebuild_failed", Gauge, "Whether a rebuild cannot begin or go on.", |it| Some(truth(it.rebuild_error.is_some() || building(it).any(|it| it.error.is_some())))),
    ("projectord_projection_retired_generations", Gauge, "Generations that one can go back to.", |it| Some(number(i64::try_from(it.generations.0.iter().filter(|it| it.state == "retired").count()).unwrap_or(0)))),
];

fn projections(page: &mut Exposition, shared: &Shared, status: Option<&Status>) {
    let found = status.map(|status| status.projections.as_slice()).unwrap_or_default();
    page.family("projectord_projection_state", Gauge, "1 for the state that the projection is in.");
    for it in found {
        for state in STATES {
            page.sample(&[("projection", &it.name), ("state", state)], truth(it.state == state));
        }
    }
    page.family("projectord_projection_owned", Gauge, "Whether this daemon has its lease.");
    for it in found {
        page.sample(&[("projection", &it.name)], truth(it.owner == Some(shared.daemon)));
    }
    for (name, kind, help, value) in OF_EACH {
        page.family(name, kind, help);
        for it in found {
            if let Some(value) = value(it) {
                page.sample(&[("projection", &it.name)], value);
            }
        }
    }
}

/// What this daemon's projectors have counted, of all generations.
fn batches(page: &mut Exposition, measures: &Measures) {
    let measured = measures.projections();
    let mut each = |name, help, of: fn(&ProjectionMeasure) -> &Count| {
        page.family(name, Counter, help);
        for (projection, measure) in &measured {
            page.sample(&[("projection", projection)], count(of(measure)));
        }
    };
    each("projectord_projection_batches_total", "Batches that this daemon committed.", |it| &it.batches);
    each("projectord_projection_events_total", "Events that its checkpoints passed.", |it| &it.events);
    each("projectord_projection_retries_total", "Batches that were sent again, or made smaller.", |it| {
        &it.retries
    });
    page.family("projectord_projection_errors_total", Counter, "Errors of batches, by class.");
    for (projection, measure) in &measured {
        let errors = &measure.errors;
        for (class, errors) in [
            ("away", &errors.away),
            ("again", &errors.again),
            ("fenced", &errors.fenced),
            ("handler", &errors.handler),
        ] {
            page.sample(&[("projection", projection), ("class", class)], count(errors));
        }
    }
    page.family("projectord_projection_apply_duration_seconds", Histogram, "What a committed batch took.");
    for (projection, measure) in &measured {
        page.times(&[("projection", projection)], &measure.apply);
    }
}

/// What came over HTTP.
fn requests(page: &mut Exposition, measures: &Measures) {
    let (append, http) = (measures.append(), measures.http());
    page.family("projectord_appends_total", Counter, "Appends over HTTP, by outcome.");
    for (outcome, counted) in [
        ("appended", &append.appended),
        ("repeated", &append.repeated),
        ("conflict", &append.conflict),
        ("refused", &append.refused),
        ("unavailable", &append.unavailable),
    ] {
        page.sample(&[("outcome", outcome)], count(counted));
    }
    page.family(
        "projectord_append_duration_seconds",
        Histogram,
        "What an append over HTTP took that was done.",
    );
    page.times(&[], &append.time);
    page.family("projectord_http_connections", Gauge, "Connections that are open.");
    page.sample(&[], (count(&http.accepted) - count(&http.closed)).max(0.0));
    page.family("projectord_http_connections_total", Counter, "Connections that were taken.");
    page.sample(&[], count(&http.accepted));
    page.family(
        "projectord_http_connections_refused_total",
        Counter,
        "Connections for which there was no room.",
    );
    page.sample(&[], count(&http.too_many));
    page.family("projectord_http_responses_total", Counter, "Answers, by the first digit of their status.");
    for (class, counted) in ["1xx", "2xx", "3xx", "4xx", "5xx"].iter().zip(&http.answers) {
        page.sample(&[("class", class)], count(counted));
    }
}

fn building(it: &ProjectionStatus) -> impl Iterator<Item = &GenerationStatus> {
    it.generations.0.iter().filter(|it| it.state == "building")
}

/// The rebuild under way, if one is: how far it is, and where it ends.
fn rebuild(it: &ProjectionStatus) -> Option<(i64, i64)> {
    match it.rebuild_to {
        Some(target) => Some((it.position, target)),
        None => building(it).next().map(|build| (build.position, it.head)),
    }
}

fn time(time: DateTime<Utc>) -> f64 {
    number(time.timestamp_millis()) / 1000.0
}

fn truth(is: bool) -> f64 {
    f64::from(u8::from(is))
}

#[expect(clippy::cast_precision_loss, reason = "numbers of the format are such")]
fn number(number: i64) -> f64 {
    number as f64
}

#[expect(clippy::cast_precision_loss, reason = "numbers of the format are such")]
fn count(count: &Count) -> f64 {
    count.get() as f64
}
