//! `run --until-caught-up`: done when every projection has reached the log's head as it was.

use std::collections::HashMap;

use sqlx::PgPool;
use tokio::sync::watch;

use crate::ingest;
use crate::log::Log;
use crate::postgres::describe;
use crate::projector::{Progress, State};

/// Waits until every projection has reached the log's head as it was when the store had been read; the
/// names of those that are halted, if any are. One that is paused is left out.
///
/// Fails where the store is refused, or PostgreSQL goes away.
pub(super) async fn wait(
    pool: &PgPool,
    projections: HashMap<String, watch::Receiver<Progress>>,
    mut store: watch::Receiver<ingest::Progress>,
) -> Result<Vec<String>, String> {
    let read = store.wait_for(|progress| *progress != ingest::Progress::Reading).await;
    if let Ok(ingest::Progress::Refused(reason)) = read.as_deref() {
        return Err(reason.clone());
    }
    drop(read);
    let target = Log::new(pool.clone()).head().await.map_err(|error| describe(&error))?;
    let mut halted = Vec::new();
    for (name, mut progress) in projections {
        let settled = progress.wait_for(|progress| match progress.state {
            Some(State::Paused | State::Halted) => true,
            Some(_) => progress.checkpoint >= target,
            None => false,
        });
        // A projector that ended without a word has panicked.
        if !settled.await.is_ok_and(|progress| progress.state != Some(State::Halted)) {
            halted.push(name);
        }
    }
    halted.sort();
    Ok(halted)
}
