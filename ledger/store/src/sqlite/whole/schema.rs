//! The schema, against what the migrations make. Nothing else of a file is asked
//! before it was found to be the right one: a view or trigger could answer.

use super::super::migrations::MIGRATIONS;
use super::trouble;
use crate::open::OpenError;
use crate::verify::Stop;
use ledger_core::verify::Fault;
use rusqlite::{Connection, Error};
use std::collections::BTreeMap;

/// Where sqlx keeps which migrations were applied.
const MIGRATED: &str = "_sqlx_migrations";

/// Type and name, and the text that made it; an index of a UNIQUE has none.
type Objects = BTreeMap<(String, String), Option<String>>;

/// Compares the schema of the log.
pub(super) fn check(connection: &Connection) -> Result<(), Stop> {
    let found = objects(connection).map_err(trouble)?;
    let migrated = found.contains_key(&("table".to_owned(), MIGRATED.to_owned()));
    check_version(if migrated { version(connection)? } else { 0 })?;
    let expected = expected().map_err(trouble)?;
    for ((kind, name), sql) in &expected {
        match found.get(&(kind.clone(), name.clone())) {
            None => return Err(wrong(kind, name, "is missing")),
            Some(found) if found != sql => return Err(wrong(kind, name, "was changed")),
            Some(_) => {}
        }
    }
    let of_migrations = |(kind, name): &(String, String)| {
        name == MIGRATED && kind == "table"
            || kind == "index" && name.starts_with("sqlite_autoindex__sqlx_migrations_")
            || kind == "table" && name.starts_with("sqlite_stat")
    };
    match found.keys().find(|key| !expected.contains_key(*key) && !of_migrations(key)) {
        Some((kind, name)) => Err(wrong(kind, name, "is none that a migration makes")),
        None => Ok(()),
    }
}

fn wrong(kind: &str, name: &str, what: &str) -> Stop {
    Fault::container(format_args!("the database's {kind} {name} {what}")).into()
}

/// Returns the number of the newest migration that was applied.
fn version(connection: &Connection) -> Result<u32, Stop> {
    let sql = "SELECT coalesce(max(version), 0) FROM _sqlx_migrations";
    let version: i64 = connection.query_row(sql, [], |row| row.get(0)).map_err(trouble)?;
    Ok(u32::try_from(version).unwrap_or(0))
}

/// Makes sure that this program knows the schema, and that it is up to date.
fn check_version(found: u32) -> Result<(), Stop> {
    let known = MIGRATIONS.last().map_or(0, |(version, ..)| *version);
    if found == 0 {
        let what = "the database is no log of Ledger: no migration of it made it";
        return Err(Fault::container(what).into());
    }
    if found > known {
        return Err(Stop::Failed(OpenError::TooNew { found, known }));
    }
    if found < known {
        return Err(Stop::Failed(OpenError::TooOld { found, known }));
    }
    Ok(())
}

fn expected() -> Result<Objects, Error> {
    let empty = Connection::open_in_memory()?;
    for (.., sql) in MIGRATIONS {
        empty.execute_batch(sql)?;
    }
    objects(&empty)
}

fn objects(connection: &Connection) -> Result<Objects, Error> {
    let mut statement = connection.prepare("SELECT type, name, sql FROM sqlite_schema")?;
    let rows = statement.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))?;
    rows.collect()
}
