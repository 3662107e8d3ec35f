//! The schema, as numbered files that never change once released.

use super::database;
use crate::open::OpenError;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{Row, SqlSafeStr, SqliteConnection};

/// Every migration: its number, its name and its text.
pub(crate) const MIGRATIONS: &[(u32, &str, &str)] =
    &[(1, "log", include_str!("../../../../migrations/sqlite/0001_log.sql"))];

/// Brings the schema up to what this program knows. A newer one is refused.
pub(super) async fn run(connection: &mut SqliteConnection) -> Result<(), OpenError> {
    let known = MIGRATIONS.last().map_or(0, |(version, ..)| *version);
    let found = version(connection).await.map_err(database("reading its schema's version"))?;
    if found > known {
        return Err(OpenError::TooNew { found, known });
    }
    let migrations = MIGRATIONS
        .iter()
        .map(|(version, name, sql)| {
            let kind = MigrationType::Simple;
            Migration::new(i64::from(*version), (*name).into(), kind, sql.into_sql_str(), false)
        })
        .collect();
    Migrator::with_migrations(migrations).run(connection).await.map_err(|source| {
        OpenError::Database { what: "migrating its schema".to_owned(), source: Box::new(source) }
    })
}

/// Returns the number of the newest migration that was applied; 0 for a new database.
async fn version(connection: &mut SqliteConnection) -> Result<u32, sqlx::Error> {
    let table = "SELECT count(*) FROM sqlite_schema WHERE name = '_sqlx_migrations'";
    let tables: i64 = sqlx::query(table).fetch_one(&mut *connection).await?.try_get(0)?;
    if tables == 0 {
        return Ok(0);
    }
    let newest = "SELECT coalesce(max(version), 0) FROM _sqlx_migrations";
    let version: i64 = sqlx::query(newest).fetch_one(connection).await?.try_get(0)?;
    Ok(u32::try_from(version).unwrap_or(u32::MAX))
}
