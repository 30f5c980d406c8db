//! `projectord demo`: the whole thing on a private PostgreSQL, with sample events appended live.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::json;
use sqlx::PgPool;

use super::exit::{Code, Failed};
use super::print::{self, Colour, paint, thousands};
use crate::config::{Config, Logging, SecretUrl};
use crate::daemon::Daemon;
use crate::event::{Commit, NewEvent, StreamId, Version};
use crate::postgres::Options;
use crate::private_server::{Disk, PrivatePostgres, free_port, reachable};
use crate::store::{EventStore, ExpectedVersion, PostgresStore, Settings};

const FOLDER: &str = ".projectord";
/// How often events are appended, and rows shown.
const APPEND: Duration = Duration::from_millis(120);
const SHOW: Duration = Duration::from_secs(2);

/// The projections that come with the sources, for a binary that is run from anywhere.
const PROJECTIONS: [(&str, &str); 7] = [
    ("orders/projection.toml", include_str!("../../projections/orders/projection.toml")),
    ("orders/schema.sql", include_str!("../../projections/orders/schema.sql")),
    ("orders/OrderCreated.sql", include_str!("../../projections/orders/OrderCreated.sql")),
    ("orders/StatusChanged.sql", include_str!("../../projections/orders/StatusChanged.sql")),
    ("customers/schema.sql", include_str!("../../projections/customers/schema.sql")),
    ("customers/OrderCreated.sql", include_str!("../../projections/customers/OrderCreated.sql")),
    ("customers/StatusChanged.sql", include_str!("../../projections/customers/StatusChanged.sql")),
];

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// End after this time, as in 30s; otherwise with Ctrl-C.
    #[arg(long = "for", value_name = "TIME", value_parser = humantime_serde::re::humantime::parse_duration)]
    time: Option<Duration>,
    /// Leave the server running and its folder in place.
    #[arg(long)]
    keep: bool,
}

pub(super) async fn run(arguments: Arguments) -> Result<Code, Failed> {
    let failed = |error: &dyn std::fmt::Display| Failed::new(Code::Failed, error);
    let folder = folder()?;
    print::line("Starting a private PostgreSQL …");
    let server =
        PrivatePostgres::start(&folder.join("postgres"), Disk::Volatile).map_err(|error| failed(&error))?;
    let url = server.url("postgres");
    let projections = folder.join("projections");
    write_projections(&projections).map_err(|error| failed(&error))?;

    let mut config = Config::default();
    config.postgres.url = SecretUrl::from(url.as_str());
    config.projections.path = projections.clone();
    config.http.listen = free_address(&config.http.listen).map_err(|error| failed(&error))?;
    config.log = Logging { level: "warn".into(), ..Logging::default() };
    let settings = folder.join("config.toml");
    fs::write(&settings, format!("[postgres]\nurl = {url:?}\n\n[projections]\npath = {projections:?}\n"))
        .map_err(|error| failed(&error))?;
    let level = config.log.start();
    let options: Options = url.parse().map_err(|error| failed(&error))?;
    let store = PostgresStore::new(&options, Settings::default());
    store.setup().await?;

    print::line(format!("{} in {}", paint(Colour::Green, "It runs"), folder.display()));
    print::line(paint(
        Colour::Dim,
        "Orders are appended to the event store; two projections keep tables of them. Ctrl-C ends it.",
    ));
    print::line(paint(Colour::Dim, format!("The dashboard is at http://{}/", config.http.listen)));
    let ended = tokio::select! {
        ended = Daemon::builder(config).reload(None, level).run() => ended.map(drop).map_err(|error| failed(&error)),
        ended = append_orders(&store) => ended,
        ended = show_rows(options.pool(2), &settings) => ended,
        () = after(arguments.time) => Ok(()),
    };
    if arguments.keep {
        server.keep();
        print::line(format!(
            "\nThe server still runs. Look further with:\n  psql '{url}'\n  projectord status --config {}",
            settings.display()
        ));
        print::line("The next `projectord demo` ends it.");
    } else {
        server.stop();
        fs::remove_dir_all(&folder).map_err(|error| failed(&error))?;
        print::line("\nStopped, and cleaned up.");
    }
    ended.map(|()| Code::Done)
}

/// `.projectord/` here, unless PostgreSQL's user may not come here.
fn folder() -> Result<PathBuf, Failed> {
    let here = std::env::current_dir().map_err(|error| Failed::new(Code::Failed, error))?;
    let folder =
        if reachable(&here) { here.join(FOLDER) } else { std::env::temp_dir().join("projectord-demo") };
    fs::create_dir_all(&folder)
        .map_err(|error| Failed::new(Code::Failed, format!("{}: {error}", folder.display())))?;
    Ok(folder)
}

/// This address, or another port where a daemon has it already.
fn free_address(usual: &str) -> std::io::Result<String> {
    match TcpListener::bind(usual) {
        Ok(_) => Ok(usual.to_owned()),
        Err(_) => Ok(format!("127.0.0.1:{}", free_port()?)),
    }
}

fn write_projections(folder: &Path) -> std::io::Result<()> {
    for (file, text) in PROJECTIONS {
        let path = folder.join(file);
        fs::create_dir_all(path.parent().unwrap_or(folder))?;
        fs::write(path, text)?;
    }
    Ok(())
}

async fn after(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

/// What a shop would do: load, decide, append at the version that was loaded.
async fn append_orders(store: &PostgresStore) -> Result<(), Failed> {
    let mut open: Vec<(StreamId, Version)> = Vec::new();
    loop {
        let is_new = open.len() < 3 || (open.len() < 40 && fastrand::f32() < 0.4);
        let (stream, expected, event) = if is_new {
            let order = json!({"user_id": fastrand::u32(1..=12), "total": f64::from(fastrand::u32(500..30_000)) / 100.0});
            (StreamId::random(), ExpectedVersion::NoStream, ("OrderCreated", order))
        } else {
            let (stream, version) = open[fastrand::usize(..open.len())];
            let status =
                ["paid", "packed", "sent", "delivered"][usize::try_from(version.0 - 1).unwrap_or(0).min(3)];
            (stream, ExpectedVersion::Exact(version), ("StatusChanged", json!({"status": status})))
        };
        let commit = Commit::new("order", vec![NewEvent::from_json(event.0, event.1)]);
        let appended = store.append_to_stream(stream, expected, commit).await?;
        open.retain(|(other, _)| *other != stream);
        if appended.version.0 < 5 {
            open.push((stream, appended.version));
        }
        tokio::time::sleep(APPEND).await;
    }
}

async fn show_rows(pool: PgPool, settings: &Path) -> Result<(), Failed> {
    loop {
        tokio::time::sleep(SHOW).await;
        // The read models are built by the daemon, which may just be starting.
        let _ = show_once(&pool, settings).await;
    }
}

async fn show_once(pool: &PgPool, settings: &Path) -> Result<(), sqlx::Error> {
    let (events,): (i64,) =
        sqlx::query_as("select position from projectord.log_head").fetch_one(pool).await?;
    let statuses: Vec<(String, i64)> =
        sqlx::query_as("select status, count(*) from orders.orders group by status order by 2 desc")
            .fetch_all(pool)
            .await?;
    let latest: Vec<(String, i32, String, i64)> = sqlx::query_as(
        "select right(id::text, 8), user_id, status, version from orders.orders order by updated_at desc limit 4",
    )
    .fetch_all(pool)
    .await?;
    let best: Vec<(i32, i64, String)> = sqlx::query_as(
        "select user_id, orders, total::text from customers.customers order by total desc limit 3",
    )
    .fetch_all(pool)
    .await?;
    let statuses: Vec<String> =
        statuses.into_iter().map(|(status, count)| format!("{count} {status}")).collect();
    print::line(format!(
        "\n{} events appended; {}",
        paint(Colour::Bold, thousands(events.unsigned_abs())),
        statuses.join(", ")
    ));
    print::line(paint(Colour::Dim, "  orders.orders, latest               customers.customers, best"));
    for row in 0..4 {
        let order = latest
            .get(row)
            .map(|(id, user, status, version)| format!("…{id}  user {user:<3} {status:<10} v{version}"));
        let customer = best
            .get(row)
            .map(|(user, orders, total)| format!("user {user:<3} {orders:>3} orders {total:>10}"));
        print::line(format!("  {:<35} {}", order.unwrap_or_default(), customer.unwrap_or_default()));
    }
    print::line(paint(
        Colour::Dim,
        format!("  look further: projectord status --config {}", settings.display()),
    ));
    Ok(())
}
