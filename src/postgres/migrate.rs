//! The daemon's own schema, `projectord`, from `migrations/`.

use sqlx::PgPool;
use sqlx::migrate::Migrator;
use thiserror::Error;

use super::{describe, sqlstate};

static MIGRATIONS: Migrator = sqlx::migrate!();

/// Why the schema could not be brought up to date.
#[derive(Debug, Error)]
pub enum MigrateError {
    /// PostgreSQL refused or could not be reached.
    #[error("cannot prepare the schema `projectord`: {}", describe(.0))]
    Postgres(#[from] sqlx::Error),
    /// The role may not make or change the schema, and something is to be made or changed.
    #[error("cannot prepare the schema `projectord`: {0}; run `projectord setup` as the role that owns it")]
    Denied(String),
    /// A newer version has been here.
    #[error(
        "the schema `projectord` was made by a newer version, with a migration {0} that this one does not know"
    )]
    Newer(i64),
    /// The schema is not one that this version knows.
    #[error("cannot prepare the schema `projectord`: {0}")]
    Unknown(sqlx::migrate::MigrateError),
}

/// Creates or updates the schema. Safe to repeat, and to run from several processes at once.
///
/// # Errors
/// When PostgreSQL cannot be reached or refuses, or when a newer version has been here before.
pub async fn migrate(pool: &PgPool) -> Result<(), MigrateError> {
    let mut migrator = Migrator { ..Migrator::with_migrations(MIGRATIONS.migrations.to_vec()) };
    migrator.create_schema("projectord");
    migrator.dangerous_set_table_name("projectord.migrations");
    match migrator.run(pool).await.map_err(sorted) {
        // A role that may not change the schema need not, where nothing is to be changed.
        Err(MigrateError::Postgres(error)) if is_denied(&error) => match is_up_to_date(pool).await {
            Ok(true) => Ok(()),
            _ => Err(MigrateError::Denied(describe(&error))),
        },
        done => done,
    }
}

fn is_denied(error: &sqlx::Error) -> bool {
    sqlstate(error).as_deref() == Some("42501")
}

/// Whether every migration that this version knows was applied, as it knows it.
async fn is_up_to_date(pool: &PgPool) -> Result<bool, sqlx::Error> {
    let applied: Vec<(i64, Vec<u8>)> =
        sqlx::query_as("select version, checksum from projectord.migrations where success")
            .fetch_all(pool)
            .await?;
    let applied: std::collections::HashMap<_, _> = applied.into_iter().collect();
    Ok(applied.len() == MIGRATIONS.migrations.len()
        && MIGRATIONS.iter().all(|it| applied.get(&it.version).is_some_and(|sum| **sum == *it.checksum)))
}

fn sorted(error: sqlx::migrate::MigrateError) -> MigrateError {
    match error {
        sqlx::migrate::MigrateError::Execute(error)
        | sqlx::migrate::MigrateError::ExecuteMigration(error, _) => MigrateError::Postgres(error),
        sqlx::migrate::MigrateError::VersionMissing(version) => MigrateError::Newer(version),
        other => MigrateError::Unknown(other),
    }
}

/// Whether the schema is there, whatever its version.
///
/// # Errors
/// When PostgreSQL cannot be reached or refuses.
pub async fn migrate_status(connection: &mut sqlx::PgConnection) -> Result<bool, sqlx::Error> {
    let (there,): (bool,) =
        sqlx::query_as("select to_regclass('projectord.events') is not null").fetch_one(connection).await?;
    Ok(there)
}
