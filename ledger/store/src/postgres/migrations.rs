//! The schema, as numbered files that never change once released.

use super::database;
use crate::open::OpenError;
use sqlx::postgres::PgRow;
use sqlx::{Connection, PgConnection, Row};

/// Makes the roles and the schema, if they are not there.
const ROLES: &str = include_str!("../../../../migrations/postgres/roles.sql");
/// Every migration: its number, its name and its text.
pub(crate) const MIGRATIONS: &[(u32, &str, &str)] = &[
    (1, "log", include_str!("../../../../migrations/postgres/0001_log.sql")),
    (2, "guards", include_str!("../../../../migrations/postgres/0002_guards.sql")),
    (3, "functions", include_str!("../../../../migrations/postgres/0003_functions.sql")),
    (4, "nodes", include_str!("../../../../migrations/postgres/0004_nodes.sql")),
];
/// Held by whoever migrates, until all of it is committed: "ledger" in ASCII.
const LOCK: &str = "SELECT pg_advisory_xact_lock(119182900356466)";
/// Ends the membership that `roles.sql` gave.
const NO_LONGER_OWNER: &str = "RESET ROLE; DO $$ BEGIN \
     IF current_setting('ledger.granted', true) = 'yes' THEN \
     EXECUTE format('REVOKE ledger_owner FROM %I', current_user); END IF; END $$";

/// The schema that this program knows.
fn known() -> u32 {
    MIGRATIONS.last().map_or(0, |(version, ..)| *version)
}

/// Refuses a database whose schema is not this program's.
pub(super) async fn check(connection: &mut PgConnection) -> Result<(), OpenError> {
    let found = version(connection).await.map_err(database("reading its schema's version"))?;
    let known = known();
    match found.cmp(&known) {
        std::cmp::Ordering::Less => Err(OpenError::TooOld { found, known }),
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(OpenError::TooNew { found, known }),
    }
}

/// Brings the schema up to what this program knows, all of it or nothing. A newer
/// one is refused.
pub(super) async fn run(connection: &mut PgConnection) -> Result<(), OpenError> {
    let failed = || database("migrating its schema");
    let mut transaction = connection.begin().await.map_err(failed())?;
    sqlx::raw_sql(LOCK).execute(&mut *transaction).await.map_err(failed())?;
    let found =
        version(&mut transaction).await.map_err(database("reading its schema's version"))?;
    let known = known();
    if found > known {
        return Err(OpenError::TooNew { found, known });
    }
    if found == known {
        return Ok(());
    }
    sqlx::raw_sql(ROLES).execute(&mut *transaction).await.map_err(failed())?;
    let owner = sqlx::raw_sql("SET LOCAL ROLE ledger_owner");
    owner.execute(&mut *transaction).await.map_err(failed())?;
    for (version, name, sql) in MIGRATIONS.iter().filter(|(version, ..)| *version > found) {
        sqlx::raw_sql(*sql).execute(&mut *transaction).await.map_err(failed())?;
        let applied = "INSERT INTO ledger.migrations (version, name) VALUES ($1, $2)";
        let applied = sqlx::query(applied).bind(i32::try_from(*version).unwrap_or(i32::MAX));
        applied.bind(*name).execute(&mut *transaction).await.map_err(failed())?;
    }
    sqlx::raw_sql(NO_LONGER_OWNER).execute(&mut *transaction).await.map_err(failed())?;
    transaction.commit().await.map_err(failed())
}

/// Returns the number of the newest migration that was applied; 0 for a new database.
async fn version(connection: &mut PgConnection) -> Result<u32, sqlx::Error> {
    Ok(applied(connection).await?.into_iter().max().unwrap_or(0))
}

/// Returns the numbers of the migrations that were applied.
pub(super) async fn applied(connection: &mut PgConnection) -> Result<Vec<u32>, sqlx::Error> {
    let table = "SELECT to_regclass('ledger.migrations') IS NOT NULL";
    if !sqlx::query(table).fetch_one(&mut *connection).await?.try_get(0)? {
        return Ok(Vec::new());
    }
    let all = "SELECT version FROM ledger.migrations";
    let rows = sqlx::query(all).fetch_all(connection).await?;
    let number = |row: &PgRow| {
        let version: i32 = row.try_get(0)?;
        Ok(u32::try_from(version).unwrap_or(u32::MAX))
    };
    rows.iter().map(number).collect()
}
