//! Hears what PostgreSQL announces and rings the bells in this process. While its session stands, it also
//! shows others that this process lives.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tracing::{info, warn};
use uuid::Uuid;

use crate::backoff::Backoff;
use crate::log::BELL;
use crate::postgres::describe;
use crate::projector::Ringer;

/// The channel on which a change of what is wanted is announced.
pub(crate) const CONTROL: &str = "projectord_control";

/// The two bells.
#[derive(Debug, Default)]
pub(super) struct Bells {
    /// The log is longer.
    pub(super) log: Ringer,
    /// Something else may be wanted.
    pub(super) control: Ringer,
}

/// Listens for ever. What was missed while the connection was down is made up for by ringing.
pub(super) async fn listen(pool: PgPool, daemon: Uuid, bells: Arc<Bells>) {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
    let mut down = false;
    loop {
        let lost = hear(&pool, daemon, &bells, &mut backoff, &mut down).await;
        if !down {
            warn!(error = %describe(&lost), "cannot hear PostgreSQL's notifications; reading now and then instead");
            down = true;
        }
        tokio::time::sleep(backoff.next_wait()).await;
    }
}

async fn hear(
    pool: &PgPool,
    daemon: Uuid,
    bells: &Bells,
    backoff: &mut Backoff,
    down: &mut bool,
) -> sqlx::Error {
    let connected = async {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen_all([BELL, CONTROL]).await?;
        // The server frees this as soon as the process is gone; see projectord.keep_leases.
        sqlx::query("select pg_advisory_lock(hashtextextended($1::text, 0))")
            .bind(daemon)
            .execute(&mut listener)
            .await?;
        Ok(listener)
    };
    let mut listener = match connected.await {
        Ok(listener) => listener,
        Err(error) => return error,
    };
    if std::mem::take(down) {
        info!("hearing PostgreSQL's notifications again");
    }
    backoff.reset();
    bells.log.ring();
    bells.control.ring();
    loop {
        match listener.try_recv().await {
            Ok(Some(notification)) if notification.channel() == CONTROL => bells.control.ring(),
            Ok(Some(_)) => bells.log.ring(),
            Ok(None) => return sqlx::Error::Protocol("the connection was closed".into()),
            Err(error) => return error,
        }
    }
}
