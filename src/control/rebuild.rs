//! Rebuilds: asking for one, how far it is, letting it take the live rows' place, dropping it.

use std::time::Duration;

use serde_json::json;
use sqlx::FromRow;
use sqlx::types::Json;

use super::{Control, ControlError};
use crate::projector::{Failure, Rebuild};
use crate::text::{size, thousands};

/// How far a rebuild is, as the database says.
#[derive(Debug, FromRow)]
pub struct Standing {
    /// The generation that readers see.
    pub generation: i64,
    /// The projection's state.
    pub state: String,
    /// A rebuild is asked for, and has not begun.
    pub asked: bool,
    /// What is wrong with the live rows.
    pub error: Option<Json<Failure>>,
    /// How far the live rows are.
    pub checkpoint: i64,
    /// How far they must be to be called rebuilt.
    pub built_to: i64,
    /// The generation beside the live one.
    pub building: Option<i64>,
    /// It is to wait until somebody has looked at it.
    pub held: bool,
    /// How far it is.
    pub built: i64,
    /// The log's head.
    pub head: i64,
    /// Why it is not built on, or could not be begun.
    pub build_error: Option<Json<Failure>>,
}

impl Control {
    /// How far a rebuild is.
    ///
    /// # Errors
    /// See [`generation`](Self::generation).
    pub async fn standing(&self, name: &str) -> Result<Standing, ControlError> {
        let found = sqlx::query_as(
            "select p.generation, p.state, p.rebuild_wanted is not null as asked, p.error, coalesce(g.checkpoint, 0) as checkpoint,
                    coalesce(g.built_to, 0) as built_to, b.generation as building, coalesce(b.held, false) as held,
                    coalesce((select avg(s.checkpoint)::bigint from projectord.shares s
                               where s.projection = b.projection and s.generation = b.generation), b.checkpoint, 0) as built,
                    h.position as head, coalesce(b.error, p.rebuild_error) as build_error
               from projectord.projections p
              cross join projectord.log_head h
               left join projectord.generations g on g.projection = p.name and g.generation = p.generation
               left join projectord.generations b on b.projection = p.name and b.state = 'building'
              where p.name = $1",
        )
        .bind(name)
        .fetch_optional(&self.pool)
        .await?;
        match found {
            Some(standing) => Ok(standing),
            None => Err(self.unknown(name).await),
        }
    }

    /// What a rebuild will take, in a few lines; `kept` is how long the old rows are kept.
    ///
    /// # Errors
    /// [`ControlError::Conflict`] where objects outside depend on the tables, and it is not `forced`.
    pub async fn what_it_takes(
        &self,
        name: &str,
        forced: bool,
        kept: Duration,
    ) -> Result<Vec<String>, ControlError> {
        let live = self.generation(name).await?;
        let outside: Vec<(String,)> = sqlx::query_as("select * from projectord.dependants($1)")
            .bind(name)
            .fetch_all(&self.pool)
            .await?;
        let outside: Vec<String> = outside.into_iter().map(|(it,)| it).collect();
        if !outside.is_empty() && !forced {
            return Err(ControlError::Conflict(format!(
                "objects outside depend on {name}: {}; drop them and make them again afterwards, or force it: \
                 they stay with the old rows, and go with them",
                outside.join(", ")
            )));
        }
        let (events, bytes): (i64, i64) = sqlx::query_as(
            "select h.position, (select coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint from pg_catalog.pg_class c
                                  where c.relnamespace = to_regnamespace($1) and c.relkind in ('r', 'm'))
               from projectord.log_head h",
        )
        .bind(name)
        .fetch_one(&self.pool)
        .await?;
        let first = format!(
            "{name}: generation {live} has {}; {} events to replay; the old rows are kept for {kept:?}",
            size(bytes),
            thousands(events.unsigned_abs())
        );
        let with_them =
            outside.iter().map(|it| format!("  {it} stays with the old rows, and is dropped with them"));
        Ok(std::iter::once(first).chain(with_them).collect())
    }

    /// The fingerprint of the files that a generation was made of.
    ///
    /// # Errors
    /// PostgreSQL's.
    pub async fn fingerprint(&self, name: &str, generation: i64) -> Result<Option<String>, ControlError> {
        let found: Option<(Option<String>,)> = sqlx::query_as(
            "select fingerprint from projectord.generations where projection = $1 and generation = $2",
        )
        .bind(name)
        .bind(generation)
        .fetch_optional(&self.pool)
        .await?;
        Ok(found.and_then(|(fingerprint,)| fingerprint))
    }

    /// Asks for a rebuild, where none is under way.
    ///
    /// # Errors
    /// [`ControlError::Conflict`] where one is.
    pub async fn rebuild(&self, name: &str, how: Rebuild, forced: bool) -> Result<(), ControlError> {
        let mut tx = self.pool.begin().await?;
        let asked = sqlx::query(
            "update projectord.projections
                set rebuild_wanted = $2, rebuild_forced = $3, rebuild_error = null,
                    error = case when $2 = 'in_place' then null else error end
              where name = $1 and rebuild_wanted is null
                and ($2 = 'in_place' or not exists (
                     select from projectord.generations
                      where projection = $1 and state = 'building' and error is null))",
        )
        .bind(name)
        .bind(how.as_str())
        .bind(forced)
        .execute(&mut *tx)
        .await?;
        if asked.rows_affected() == 0 {
            tx.rollback().await?;
            self.generation(name).await?;
            let message =
                format!("a rebuild of {name} is under way already: wait until it has ended, or cancel it");
            return Err(ControlError::Conflict(message));
        }
        self.done(tx, "rebuild", name, json!({"how": how.as_str(), "forced": forced})).await
    }

    /// Lets what is held take the live one's place as soon as it has caught up.
    ///
    /// # Errors
    /// [`ControlError::Conflict`] where nothing is held.
    pub async fn swap(&self, name: &str, forced: bool) -> Result<String, ControlError> {
        self.generation(name).await?;
        let mut tx = self.pool.begin().await?;
        let held: Option<(i64,)> = sqlx::query_as(
            "update projectord.generations set held = false, forced = forced or $2
              where projection = $1 and state = 'building' and held
            returning generation",
        )
        .bind(name)
        .bind(forced)
        .fetch_optional(&mut *tx)
        .await?;
        let Some((next,)) = held else {
            tx.rollback().await?;
            let message =
                format!("no generation of {name} is held for a swap: ask for a rebuild that is held");
            return Err(ControlError::Conflict(message));
        };
        self.done(tx, "swap", name, json!({"to": next, "forced": forced})).await?;
        Ok(format!("readers of {name} will see generation {next}"))
    }

    /// Ends a rebuild: what is asked for is not any more, and what is being built is dropped.
    ///
    /// # Errors
    /// [`ControlError::NotFound`] also where there is nothing to end.
    pub async fn cancel(&self, name: &str) -> Result<String, ControlError> {
        let building = self.standing(name).await?.building;
        let mut tx = self.pool.begin().await?;
        let unasked = sqlx::query(
            "update projectord.projections set rebuild_wanted = null, rebuild_forced = false, rebuild_error = null
              where name = $1 and (rebuild_wanted is not null or rebuild_error is not null)",
        )
        .bind(name)
        .execute(&mut *tx)
        .await?
        .rows_affected();
        let dropped = match building {
            Some(building) => drop_generation(&mut tx, name, building).await?,
            None => false,
        };
        if !dropped && unasked == 0 {
            tx.rollback().await?;
            return Err(ControlError::NotFound(format!("{name} is not being rebuilt")));
        }
        self.done(tx, "cancel", name, json!({"generation": building})).await?;
        Ok(format!("the rebuild of {name} is cancelled; the live rows stay"))
    }

    /// Drops a generation that readers do not see, with everything that was made of it. A daemon that works on it
    /// finds it gone. Whether it was there.
    ///
    /// # Errors
    /// See [`daemons`](Self::daemons).
    pub async fn drop_generation(&self, name: &str, generation: i64) -> Result<bool, ControlError> {
        let mut tx = self.pool.begin().await?;
        if !drop_generation(&mut tx, name, generation).await? {
            tx.rollback().await?;
            return Ok(false);
        }
        self.done(tx, "cancel", name, json!({"generation": generation})).await?;
        Ok(true)
    }
}

async fn drop_generation(
    connection: &mut sqlx::PgConnection,
    name: &str,
    generation: i64,
) -> Result<bool, sqlx::Error> {
    // Files that are not wanted as they are: they are not built again at the next start.
    sqlx::query(
        "update projectord.projections p set declined = g.fingerprint
           from projectord.generations g, projectord.generations live
          where p.name = $1 and g.projection = $1 and g.generation = $2 and g.state = 'building'
            and live.projection = $1 and live.state = 'live' and live.fingerprint <> g.fingerprint",
    )
    .bind(name)
    .bind(generation)
    .execute(&mut *connection)
    .await?;
    let (dropped,): (bool,) = sqlx::query_as("select projectord.drop_generation($1, $2)")
        .bind(name)
        .bind(generation)
        .fetch_one(&mut *connection)
        .await?;
    Ok(dropped)
}
