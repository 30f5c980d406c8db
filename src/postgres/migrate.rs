//! The daemon's own schema, `projectord`, from `migrations/`.

use sqlx::PgPool;
use sqlx::migrate::Migrator;
use thiserror::Error;

use super::describe;

static MIGRATIONS: Migrator = sqlx::migrate!();

/// Why the schema could not be brought up to date.
#[derive(Debug, Error)]
pub enum MigrateError {
    /// PostgreSQL refused or could not be reached.
    #[error("cannot prepare the schema `projectord`: {}", describe(.0))]
    Postgres(#[from] sqlx::Error),
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
    migrator.run(pool).await.map_err(|error| match error {
        sqlx::migrate::MigrateError::Execute(error)
        | sqlx::migrate::MigrateError::ExecuteMigration(error, _) => MigrateError::Postgres(error),
        sqlx::migrate::MigrateError::VersionMissing(version) => MigrateError::Newer(version),
        other => MigrateError::Unknown(other),
    })
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
