//! Leases: who works on what. A lease keeps others idle; the fence in the checkpoint's row keeps them out.

use std::time::Duration;

use sqlx::PgPool;
use uuid::Uuid;

use crate::postgres::interval;

/// How long a lease is good for without renewal. It is renewed at a third of this, and given up at two
/// thirds.
pub const LIFE: Duration = Duration::from_secs(6);

/// The lease of ingest; no projection can have this name.
pub const INGEST: &str = "ingest";

/// A right to work on something: the fence is this owner in this epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The daemon.
    pub owner: Uuid,
    /// Grows whenever the lease changes hands.
    pub epoch: i64,
}

/// A lease that this daemon holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Of what: [`INGEST`], or a projection.
    pub name: String,
    /// The right.
    pub lease: Lease,
    /// Whether another daemon, which has less to do, should have it.
    pub hand_over: bool,
}

/// A daemon, as it introduces itself.
#[derive(Debug, Clone)]
pub struct Identity {
    /// New for each process.
    pub id: Uuid,
    /// The machine's name.
    pub host: String,
    /// The process.
    pub pid: i32,
}

impl Identity {
    /// This process.
    pub fn of_this_process() -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let pid = i32::try_from(std::process::id()).unwrap_or(0);
        Self { id: Uuid::new_v4(), host, pid }
    }
}

/// The heartbeat: renews what the daemon holds and takes what is free of what it is able to do; what it
/// holds now.
///
/// # Errors
/// When PostgreSQL cannot be reached or refuses. So for the other functions here.
pub async fn keep(pool: &PgPool, who: &Identity, able: &[String]) -> Result<Vec<Held>, sqlx::Error> {
    let rows: Vec<(String, i64, bool)> = sqlx::query_as(
        "select lease, lease_epoch, hand_over from projectord.keep_leases($1, $2, $3, $4, $5, $6)",
    )
    .bind(who.id)
    .bind(&who.host)
    .bind(who.pid)
    .bind(env!("CARGO_PKG_VERSION"))
    .bind(able)
    .bind(interval(LIFE))
    .fetch_all(pool)
    .await?;
    let held = |(name, epoch, hand_over)| Held { name, lease: Lease { owner: who.id, epoch }, hand_over };
    Ok(rows.into_iter().map(held).collect())
}

/// Gives a lease back, so that another daemon need not wait for its end.
///
/// # Errors
/// See [`keep`].
pub async fn release(pool: &PgPool, name: &str, lease: Lease) -> Result<(), sqlx::Error> {
    sqlx::query(
        "with gone as (update projectord.leases set owner = null, free_since = clock_timestamp()
                        where name = $1 and owner = $2 and epoch = $3 returning 1)
         select pg_notify('projectord_control', '') from gone",
    )
    .bind(name)
    .bind(lease.owner)
    .bind(lease.epoch)
    .execute(pool)
    .await
    .map(drop)
}

/// Gives everything back and says goodbye.
///
/// # Errors
/// See [`keep`].
pub async fn leave(pool: &PgPool, who: &Identity) -> Result<(), sqlx::Error> {
    sqlx::query(
        "with gone as (delete from projectord.daemons where id = $1),
              free as (update projectord.leases set owner = null, free_since = clock_timestamp() where owner = $1)
         select pg_notify('projectord_control', '')",
    )
    .bind(who.id)
    .execute(pool)
    .await
    .map(drop)
}

/// Writes down that the fence refused this owner's work on something.
///
/// # Errors
/// See [`keep`].
pub async fn note_refused(pool: &PgPool, name: &str, lease: Lease) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update projectord.leases set refusals = refusals + 1, refused = $2, refused_at = clock_timestamp()
          where name = $1",
    )
    .bind(name)
    .bind(lease.owner)
    .execute(pool)
    .await
    .map(drop)
}
