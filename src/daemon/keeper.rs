//! Keeps this daemon's leases: the heartbeat. What it holds is what the fleet runs.

use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use crate::fault;
use crate::lease::{Held, Identity, LIFE, keep};
use crate::postgres::describe;
use crate::projector::Bell;
use crate::shutdown::Shutdown;

/// How soon a failed heartbeat is tried again.
const AGAIN: Duration = Duration::from_millis(500);
/// At first beats come as often: the daemon that ran here before may just have died.
const AT_FIRST: Duration = Duration::from_secs(3);

/// Beats until it is told to stop. `able` is what this daemon could run; `held` is what it may.
///
/// Time is measured here by a clock that no one sets, from before the request was sent: what this daemon
/// believes to hold it has given up before the database's clock gives it to another.
pub(super) async fn beat(
    pool: PgPool,
    who: Identity,
    mut able: watch::Receiver<Vec<String>>,
    mut control: Bell,
    held: watch::Sender<Vec<Held>>,
    mut shutdown: Shutdown,
) {
    let started = Instant::now();
    let mut renewed = started;
    while !shutdown.is_requested() {
        control.rang();
        fault::point("heartbeat");
        let names = able.borrow_and_update().clone();
        let begun = Instant::now();
        let patience = (renewed + LIFE * 2 / 3).max(begun + AGAIN);
        let failed = match timeout_at(patience, keep(&pool, &who, &names)).await {
            Ok(Ok(now)) => {
                renewed = begun;
                held.send_if_modified(|before| {
                    // What is to be handed over is said again until it is.
                    let news = *before != now || now.iter().any(|it| it.hand_over);
                    *before = now;
                    news
                });
                None
            }
            Ok(Err(error)) => Some(describe(&error)),
            Err(_) => Some("no answer from PostgreSQL".into()),
        };
        let wait = match failed {
            None if started.elapsed() < AT_FIRST => AGAIN,
            None => LIFE / 3,
            Some(error) => {
                if renewed.elapsed() >= LIFE * 2 / 3 && !held.borrow().is_empty() {
                    warn!(error, "leases could not be renewed; giving them up");
                    held.send_replace(Vec::new());
                }
                AGAIN
            }
        };
        tokio::select! {
            () = control.heard(wait) => {}
            Ok(()) = able.changed() => {}
            () = shutdown.requested() => {}
        }
    }
}
