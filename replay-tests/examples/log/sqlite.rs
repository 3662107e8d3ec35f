//! A log in SQLite: its folder, its sizes, and its rows selected without the store.

use super::raw::Contents;
use super::sqlite_raw::{SqliteEngine, SqliteTap, columns, tables};
use anyhow::{Context, Result, ensure};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The database in a log's folder.
const FILE: &str = "ledger.db";
/// What the store asks of a connection that reads.
const READING: &[(&str, &str)] = &[("cache_size", "-16384"), ("temp_store", "MEMORY")];

/// A log's data folder.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(super) fn new(under: &Path) -> Result<Self> {
        Ok(Self(TempDir::with_prefix_in("ledger-bench-", under)?))
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    fn file(&self) -> PathBuf {
        self.path().join(FILE)
    }

    pub(super) fn copy(&self) -> Result<Self> {
        let under = self.path().parent().context("a folder lies in another")?;
        let copy = Self::new(under)?;
        ensure!(self.closed(), "the log to be copied is open");
        fs::copy(self.file(), copy.file())?;
        Ok(copy)
    }

    /// Whether everything is in the one file.
    fn closed(&self) -> bool {
        let log = self.path().join(format!("{FILE}-wal"));
        fs::metadata(log).map_or(true, |log| log.len() == 0)
    }

    pub(super) fn engine(&self) -> Result<SqliteEngine> {
        SqliteEngine::open(&self.file())
    }

    pub(super) fn tap(&self, all: bool) -> Result<SqliteTap> {
        SqliteTap::open(self.look()?, all)
    }

    /// A connection that only reads.
    fn look(&self) -> Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(self.file(), flags)?;
        for (name, value) in READING {
            connection.pragma_update(None, name, value)?;
        }
        Ok(connection)
    }

    pub(super) fn contents(&self) -> Result<Contents> {
        const SCHEMA: &str = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND tbl_name \
             NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND tbl_name <> '_sqlx_migrations' ORDER BY sql";
        let connection = self.look()?;
        let mut schema = connection
            .prepare(SCHEMA)?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<Vec<String>>>()?;
        let page: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
        schema.push(format!("pages of {page} bytes"));
        let rows = tables(&connection)?
            .into_iter()
            .map(|name| {
                let sql = format!("SELECT count(*) FROM {name}");
                let rows: i64 = connection.query_row(&sql, [], |row| row.get(0))?;
                Ok((name, u64::try_from(rows)?))
            })
            .collect::<Result<_>>()?;
        Ok(Contents { schema, rows })
    }

    pub(super) fn bytes(&self) -> Result<u64> {
        ensure!(self.closed(), "the log to be measured is open");
        Ok(fs::metadata(self.file())?.len())
    }

    pub(super) fn parts(&self) -> Result<Option<Vec<(String, u64)>>> {
        const KNOWN: &str = "SELECT count(*) FROM pragma_module_list WHERE name = 'dbstat'";
        const PARTS: &str =
            "SELECT name, pgsize FROM dbstat WHERE aggregate = TRUE ORDER BY pgsize DESC";
        let connection = self.look()?;
        if connection.query_row(KNOWN, [], |row| row.get::<_, i64>(0))? == 0 {
            return Ok(None);
        }
        let mut statement = connection.prepare(PARTS)?;
        let parts = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)))?;
        let part = |part: rusqlite::Result<(String, i64)>| {
            let (name, bytes) = part?;
            Ok((name, u64::try_from(bytes)?))
        };
        Ok(Some(parts.map(part).collect::<Result<_>>()?))
    }

    /// Selects every event's columns, by the driver that the store uses, which is the
    /// thinnest there is.
    pub(super) fn select_bare(&self, page: usize, last: u64) -> Result<u64> {
        let connection = self.look()?;
        let (sql, n_columns) = select(&connection)?;
        let mut statement = connection.prepare(&sql)?;
        let (mut position, mut bytes) = (0_i64, 0);
        loop {
            let mut rows = statement.query((position, i64::try_from(page)?))?;
            let mut n_rows = 0;
            while let Some(row) = rows.next()? {
                for place in 0..n_columns {
                    bytes += match row.get_ref(place)? {
                        ValueRef::Null | ValueRef::Real(_) => 0,
                        ValueRef::Integer(value) => usize::from(value != 0),
                        ValueRef::Text(value) => std::str::from_utf8(value)?.len(),
                        ValueRef::Blob(value) => value.len(),
                    };
                }
                position = row.get(0)?;
                n_rows += 1;
            }
            if n_rows == 0 || u64::try_from(position)? >= last {
                ensure!(std::hint::black_box(bytes) > 0, "nothing was read");
                return Ok(u64::try_from(position)?);
            }
        }
    }
}

/// The columns that stand as a number for a name.
const NAMES: [&str; 4] = ["stream", "type", "actor", "correlation"];

/// The query for a page of whole events, whatever columns they have by now, with
/// the position first, and how many columns that are. The annexes are left out: who
/// folds does not read them.
fn select(connection: &Connection) -> Result<(String, usize)> {
    let (mut selected, mut joins) = (Vec::new(), String::new());
    for (name, _) in columns(connection, "events")? {
        if NAMES.contains(&name.as_str()) {
            selected.push(format!("n_{name}.name"));
            joins.push_str(&format!(" LEFT JOIN names n_{name} ON n_{name}.id = e.{name}"));
        } else {
            selected.push(format!("e.{name}"));
        }
    }
    ensure!(selected.first().is_some_and(|first| first == "e.position"), "events begin otherwise");
    let n_columns = selected.len();
    let selected = selected.join(", ");
    let sql = format!(
        "SELECT {selected} FROM events e{joins} WHERE e.position > ? ORDER BY e.position LIMIT ?"
    );
    Ok((sql, n_columns))
}
