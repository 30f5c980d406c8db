//! What is wanted of a projection and what is said of it: the rows of `projectord.projections` and
//! `projectord.generations`.

use sqlx::types::Json;
use sqlx::{FromRow, PgPool};

use super::{Failure, State};
use crate::event::Position;
use crate::lease::Lease;

/// What an operator wants of a projection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// It runs.
    Running,
    /// It stands still.
    Paused,
}

impl Wanted {
    /// As in the column.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
        }
    }
}

/// A rebuild that an operator asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rebuild {
    /// Beside the live rows, whose place it takes when it has caught up.
    Beside,
    /// Beside the live rows, until somebody has looked at it.
    Held,
    /// In the place of the live rows.
    InPlace,
}

impl Rebuild {
    /// As in the column.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Beside => "beside",
            Self::Held => "held",
            Self::InPlace => "in_place",
        }
    }
}

/// A projection as its row says.
#[derive(Debug, Clone, FromRow)]
pub struct Record {
    wanted: String,
    rebuild_wanted: Option<String>,
    /// Whether the rebuild that is wanted may leave dependants behind.
    pub rebuild_forced: bool,
    /// Why one that was wanted could not begin.
    pub rebuild_error: Option<Json<Failure>>,
    /// Why it is halted; cleared by whoever resumes it.
    pub error: Option<Json<Failure>>,
    /// The generation that readers see; 0 before the first.
    pub generation: i64,
    /// Files that an operator went back from.
    pub declined: Option<String>,
    /// What that generation was built from.
    pub fingerprint: Option<String>,
    built_to: Option<i64>,
    /// What the generation that is being built is built from.
    pub building: Option<String>,
}

/// A generation that readers do not see.
#[derive(Debug, Clone, FromRow)]
pub(super) struct Aside {
    pub(super) generation: i64,
    pub(super) state: String,
    pub(super) fingerprint: String,
    pub(super) held: bool,
    pub(super) built_to: i64,
    pub(super) shares: i64,
    pub(super) error: Option<Json<Failure>>,
    /// Retired, and nobody wants to go back to it any more.
    pub(super) is_over: bool,
}

impl Aside {
    /// Those of a projection.
    pub(super) async fn read(pool: &PgPool, name: &str) -> Result<Vec<Self>, sqlx::Error> {
        sqlx::query_as(
            "select generation, state, fingerprint, held, built_to, error,
                    coalesce(keep_until <= clock_timestamp(), false) as is_over,
                    (select count(*) from projectord.shares s
                      where s.projection = g.projection and s.generation = g.generation) as shares
               from projectord.generations g where projection = $1 and state <> 'live' order by generation",
        )
        .bind(name)
        .fetch_all(pool)
        .await
    }
}

impl Record {
    /// Reads it, and makes it where it is new.
    ///
    /// # Errors
    /// When PostgreSQL cannot be reached or refuses. So for the other functions here.
    pub async fn read_or_create(pool: &PgPool, name: &str) -> Result<Self, sqlx::Error> {
        sqlx::query("insert into projectord.projections (name) values ($1) on conflict do nothing")
            .bind(name)
            .execute(pool)
            .await?;
        sqlx::query_as(
            "select p.wanted, p.rebuild_wanted, p.rebuild_forced, p.rebuild_error, p.error, p.generation, p.declined, g.fingerprint,
                    g.built_to, (select b.fingerprint from projectord.generations b
                                  where b.projection = p.name and b.state = 'building') as building
               from projectord.projections p
               left join projectord.generations g on g.projection = p.name and g.generation = p.generation
              where p.name = $1",
        )
        .bind(name)
        .fetch_one(pool)
        .await
    }

    /// What an operator wants.
    pub fn wanted(&self) -> Wanted {
        if self.wanted == "paused" { Wanted::Paused } else { Wanted::Running }
    }

    /// The rebuild that an operator asked for, and that has not begun.
    pub fn rebuild_wanted(&self) -> Option<Rebuild> {
        [Rebuild::Beside, Rebuild::Held, Rebuild::InPlace]
            .into_iter()
            .find(|how| self.rebuild_wanted.as_deref() == Some(how.as_str()))
    }

    /// Where the log's head was when the generation was made.
    pub fn built_to(&self) -> Position {
        Position::from_sql(self.built_to.unwrap_or(0))
    }
}

/// Writes down what a projection is doing, where that is for this owner to say.
pub(super) async fn write_state(
    pool: &PgPool,
    name: &str,
    lease: Lease,
    state: State,
    failure: Option<&Failure>,
    events_per_second: f64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update projectord.projections
            set state = $2, error = $3, events_per_second = $4, updated_at = clock_timestamp()
          where name = $1
            and exists (select from projectord.leases l where l.name = $1 and l.owner = $5 and l.epoch = $6)",
    )
    .bind(name)
    .bind(state.as_str())
    .bind(failure.map(Json))
    .bind(events_per_second)
    .bind(lease.owner)
    .bind(lease.epoch)
    .execute(pool)
    .await?;
    Ok(())
}

/// Writes down why a rebuild that is wanted cannot begin.
pub(super) async fn refuse_rebuild(pool: &PgPool, name: &str, failure: &Failure) -> Result<(), sqlx::Error> {
    sqlx::query(
        "with refused as (
             update projectord.projections set rebuild_wanted = null, rebuild_forced = false, rebuild_error = $2
              where name = $1 returning 1)
         select pg_notify('projectord_control', '') from refused",
    )
    .bind(name)
    .bind(Json(failure))
    .execute(pool)
    .await
    .map(drop)
}

/// Writes down that a projection's files cannot be used, unless another daemon can use its own. Only told,
/// never acted upon; where PostgreSQL is away or the name is no name, the log alone says it.
pub async fn refuse(pool: &PgPool, name: &str, reason: &str) {
    let failure = Failure { message: reason.to_owned(), ..Failure::default() };
    let written = async {
        Record::read_or_create(pool, name).await?;
        sqlx::query(
            "update projectord.projections p
                set state = 'halted', error = $2, events_per_second = 0, updated_at = clock_timestamp()
              where name = $1 and not exists (
                    select from projectord.leases l
                     where l.name = $1 and l.owner is not null and l.expires_at > clock_timestamp())",
        )
        .bind(name)
        .bind(Json(&failure))
        .execute(pool)
        .await
    };
    drop(written.await);
}

/// The projections that have ever run; none where PostgreSQL is away.
pub async fn known(pool: &PgPool) -> Vec<String> {
    let names: Result<Vec<(String,)>, _> =
        sqlx::query_as("select name from projectord.projections order by name").fetch_all(pool).await;
    names.unwrap_or_default().into_iter().map(|(name,)| name).collect()
}
