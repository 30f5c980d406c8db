//! Hears what PostgreSQL announces and rings the bells in this process. While its session stands, it also
//! shows others that this process lives.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::time::timeout;
use tracing::{info, warn};
use uuid::Uuid;

use crate::backoff::Backoff;
use crate::log::BELL;
use crate::postgres::describe;
use crate::projector::Ringer;

/// The channel on which a change of what is wanted is announced.
pub(crate) const CONTROL: &str = "projectord_control";

/// After so long without a notification, whether anybody is there is asked.
const SILENCE: Duration = Duration::from_secs(5);

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
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(4));
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
        let shown = show_presence(&mut listener, daemon).await?;
        Ok((listener, shown))
    };
    let (mut listener, shown) = match connected.await {
        Ok(listener) => listener,
        Err(error) => return error,
    };
    if std::mem::take(down) {
        info!("hearing PostgreSQL's notifications again");
    }
    backoff.reset();
    bells.log.ring();
    bells.control.ring();
    let lost = follow(&mut listener, daemon, bells, shown).await;
    // The session may go back to the pool, and the next one is to have the lock.
    let freed = sqlx::query("select pg_advisory_unlock_all()").execute(&mut listener);
    drop(timeout(Duration::from_secs(1), freed).await);
    lost
}

/// Rings until the session is lost.
async fn follow(listener: &mut PgListener, daemon: Uuid, bells: &Bells, mut shown: bool) -> sqlx::Error {
    let mut asked = Instant::now();
    loop {
        // Nothing to hear, or nobody there any more.
        let silent = match timeout(SILENCE, listener.try_recv()).await {
            Ok(Ok(Some(notification))) => {
                if notification.channel() == CONTROL { &bells.control } else { &bells.log }.ring();
                false
            }
            Ok(Ok(None)) => return sqlx::Error::Protocol("the connection was closed".into()),
            Ok(Err(error)) => return error,
            Err(_) => true,
        };
        if !silent && (shown || asked.elapsed() < SILENCE) {
            continue;
        }
        let ask = async {
            match shown {
                true => sqlx::query("select 1").execute(&mut *listener).await.map(|_| true),
                false => show_presence(listener, daemon).await,
            }
        };
        shown = match timeout(SILENCE, ask).await {
            Ok(Ok(shown)) => shown,
            Ok(Err(error)) => return error,
            Err(_) => return sqlx::Error::Protocol("the connection has fallen silent".into()),
        };
        asked = Instant::now();
    }
}

/// Takes the lock that the server frees as soon as the process is gone; see `projectord.keep_leases`. Not to be
/// had while a session of before, which has fallen silent, still has it: then it is tried again later.
async fn show_presence(listener: &mut PgListener, daemon: Uuid) -> Result<bool, sqlx::Error> {
    let (shown,): (bool,) = sqlx::query_as("select pg_try_advisory_lock(hashtextextended($1::text, 0))")
        .bind(daemon)
        .fetch_one(listener)
        .await?;
    Ok(shown)
}
