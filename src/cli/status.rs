//! `projectord status`: what is true, whether or not a daemon runs.

use std::time::Duration;

use clap::Args;
use sqlx::types::Json;

use super::exit::{Code, Failed};
use super::operator::operator;
use super::print::{self, Colour, paint, thousands};
use crate::config::Config;
use crate::control::{DaemonStatus, GenerationStatus, IngestStatus, ProjectionStatus, Status};

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

pub(super) async fn run(config: &Config, arguments: &Arguments) -> Result<Code, Failed> {
    let control = operator(config).await?;
    loop {
        let status = control.status(&config.store).await?;
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
    if let Some(IngestStatus { state, error, feed, repaired, .. }) = ingest {
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
fn others(it: &ProjectionStatus) -> Vec<String> {
    let name = &it.name;
    let mut lines = Vec::new();
    if it.rebuild_wanted.is_some() {
        lines.push("a rebuild is asked for".into());
    }
    if let Some(Json(error)) = &it.rebuild_error {
        let error = print::plain(error);
        lines.push(paint(Colour::Red, format!("a rebuild could not begin: {error}")));
    }
    for GenerationStatus {
        generation,
        state,
        position,
        events_per_second,
        held,
        caught_up_at,
        keep_until,
        error,
    } in &it.generations.0
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
                format!("generation {generation} cannot be gone back to: {}", print::plain(error.without_hint()))
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
fn show_daemon(daemon: &DaemonStatus, status: &Status) {
    let DaemonStatus { id, host, pid, version, started_at, reasons, refused_reloads, .. } = daemon;
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
