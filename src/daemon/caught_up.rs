//! `run --until-caught-up`: done when every projection has reached the log's head as it was.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use tokio::sync::watch;
use uuid::Uuid;

use crate::event::Position;
use crate::ingest;
use crate::log::Log;
use crate::postgres::describe;
use crate::projector::{Build, Progress, State};

/// How often to look at what other daemons do.
const LOOK: Duration = Duration::from_millis(100);

/// Waits until every projection has reached the log's head as it was when the store had been read; the
/// names of those that are halted, if any are. One that is paused is left out. What another daemon owns is
/// waited for too, by what it has written down.
///
/// Fails where the store is refused, or PostgreSQL goes away.
pub(super) async fn wait(
    pool: &PgPool,
    daemon: Uuid,
    projections: HashMap<String, watch::Receiver<Progress>>,
    mut store: watch::Receiver<ingest::Progress>,
) -> Result<Vec<String>, String> {
    let read = async {
        let read = store.wait_for(|progress| *progress != ingest::Progress::Reading).await;
        match read.as_deref() {
            Ok(ingest::Progress::Refused(reason)) => Err(reason.clone()),
            _ => Ok(()),
        }
    };
    tokio::select! {
        read = read => read?,
        others = others_read_it(pool, daemon) => others.map_err(|error| describe(&error))?,
    }
    let target = Log::new(pool.clone()).head().await.map_err(|error| describe(&error))?;
    let mut halted = Vec::new();
    for (name, mut progress) in projections {
        let settled = progress.wait_for(|progress| match progress.state {
            Some(State::Paused) => true,
            _ if progress.build == Build::UnderWay => false,
            Some(State::Halted) => true,
            Some(_) => progress.checkpoint >= target,
            None => false,
        });
        let goes_on = |it: &Progress| it.state != Some(State::Halted) && it.build != Build::Failed;
        let is_halted = tokio::select! {
            // A projector that ended without a word has panicked.
            settled = settled => !settled.is_ok_and(|progress| goes_on(&progress)),
            others = others_did_it(pool, daemon, &name, target) => others.map_err(|error| describe(&error))?,
        };
        if is_halted {
            halted.push(name);
        }
    }
    halted.sort();
    Ok(halted)
}

/// Waits until another daemon owns ingest and follows the store live; and for its next heartbeat, since one that
/// was killed a moment ago has said so too, and the server may not know yet that it is gone.
async fn others_read_it(pool: &PgPool, daemon: Uuid) -> Result<(), sqlx::Error> {
    let mut beats = HashMap::new();
    loop {
        let live: Option<(Uuid, DateTime<Utc>)> = sqlx::query_as(
            "select d.id, d.seen_at
               from projectord.ingest_status s, projectord.leases l join projectord.daemons d on d.id = l.owner
              where s.state = 'live' and l.name = 'ingest' and l.owner <> $1",
        )
        .bind(daemon)
        .fetch_optional(pool)
        .await?;
        if let Some((owner, beat)) = live
            && beats.insert(owner, beat).is_some_and(|before| before != beat)
        {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits until another daemon, one that lives, owns a projection and has come to `target`, or does not go on; whether it is
/// halted.
async fn others_did_it(
    pool: &PgPool,
    daemon: Uuid,
    name: &str,
    target: Position,
) -> Result<bool, sqlx::Error> {
    loop {
        let state: Option<(String, i64)> = sqlx::query_as(
            "select case when p.rebuild_error is not null or b.error is not null then 'halted' else p.state end,
                    coalesce(g.checkpoint, 0)
               from projectord.projections p
               join projectord.leases l on l.name = p.name and l.owner <> $2
               left join projectord.generations g on g.projection = p.name and g.generation = p.generation
               left join projectord.generations b on b.projection = p.name and b.state = 'building' and not b.held
              where p.name = $1 and (b.generation is null or b.error is not null) and not pg_try_advisory_xact_lock(hashtextextended(l.owner::text, 0))",
        )
        .bind(name)
        .bind(daemon)
        .fetch_optional(pool)
        .await?;
        match state {
            Some((state, _)) if state == "halted" => return Ok(true),
            Some((state, _)) if state == "paused" => return Ok(false),
            Some((_, checkpoint)) if Position::from_sql(checkpoint) >= target => return Ok(false),
            _ => tokio::time::sleep(LOOK).await,
        }
    }
}
