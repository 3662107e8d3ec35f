//! SQLite as a raw engine, through `rusqlite`, which adds next to nothing to it.

use super::raw::{Engine, Rows, TableRows, Tap, Value};
use anyhow::{Context, Result, ensure};
use futures_util::future::LocalBoxFuture;
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, params_from_iter};
use std::fs;
use std::path::Path;

/// What the store asks of its writing connection, in `ledger/store/src/sqlite/mod.rs`.
const WRITING: &[(&str, &str)] = &[
    // Before the first table; it changes nothing later.
    ("page_size", "8192"),
    ("journal_mode", "WAL"),
    ("synchronous", "FULL"),
    ("foreign_keys", "ON"),
    ("cache_size", "-65536"),
    ("fullfsync", "ON"),
    ("checkpoint_fullfsync", "ON"),
    ("wal_autocheckpoint", "4000"),
    ("journal_size_limit", "67108864"),
    ("recursive_triggers", "ON"),
    ("secure_delete", "ON"),
    ("temp_store", "MEMORY"),
    ("trusted_schema", "OFF"),
];
/// Rows of one statement at most. Each statement has a price of its own, most of it
/// for being able to take back what its triggers refuse; beyond this it is gone.
const STATEMENT_ROWS: usize = 64;
/// Prepared statements that are kept: more than there are tables and sizes.
const STATEMENTS: usize = 128;

/// The schema as the project's files give it.
const MIGRATIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations/sqlite");

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(value) => ValueRef::Integer(*value),
            Self::Real(value) => ValueRef::Real(*value),
            Self::Text(value) => ValueRef::Text(value),
            Self::Blob(value) => ValueRef::Blob(value),
        }))
    }
}

impl From<ValueRef<'_>> for Value {
    fn from(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(value) => Self::Integer(value),
            ValueRef::Real(value) => Self::Real(value),
            ValueRef::Text(value) => Self::Text(value.to_vec()),
            ValueRef::Blob(value) => Self::Blob(value.to_vec()),
        }
    }
}

/// Returns the tables of the log in the order in which they were made, which is
/// the order in which rows that belong together go in.
pub(super) fn tables(connection: &Connection) -> Result<Vec<String>> {
    const TABLES: &str = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE \
         'sqlite\\_%' ESCAPE '\\' AND name <> '_sqlx_migrations' ORDER BY rowid";
    let mut statement = connection.prepare(TABLES)?;
    let names = statement.query_map([], |row| row.get(0))?;
    Ok(names.collect::<rusqlite::Result<_>>()?)
}

/// Returns a table's columns with their declared types.
pub(super) fn columns(connection: &Connection, table: &str) -> Result<Vec<(String, String)>> {
    let mut statement = connection.prepare(&format!("PRAGMA table_info({table})"))?;
    let columns = statement.query_map([], |row| Ok((row.get(1)?, row.get(2)?)))?;
    let columns: Vec<_> = columns.collect::<rusqlite::Result<_>>()?;
    ensure!(!columns.is_empty(), "there is no table {table}");
    Ok(columns)
}

/// Returns a table's columns, and those of its primary key, as lists.
fn lists(connection: &Connection, table: &str) -> Result<(Vec<String>, Vec<String>)> {
    let all = columns(connection, table)?.into_iter().map(|(name, _)| name).collect();
    let sql = "SELECT name FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk";
    let mut statement = connection.prepare(sql)?;
    let key = statement.query_map([table], |row| row.get(0))?;
    Ok((all, key.collect::<rusqlite::Result<_>>()?))
}

/// The writing connection.
pub(super) struct SqliteEngine {
    connection: Connection,
    /// For each table, by the power of two that tells how many rows go in.
    inserts: Vec<Vec<String>>,
}

impl SqliteEngine {
    pub(super) fn open(file: &Path) -> Result<Self> {
        let connection = Connection::open(file)?;
        for (name, value) in WRITING {
            connection.pragma_update(None, name, value)?;
        }
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        if tables(&connection)?.is_empty() {
            migrate(&connection)?;
        }
        let insert = |table: String| {
            let (columns, _) = lists(&connection, &table)?;
            let row = format!("({})", vec!["?"; columns.len()].join(","));
            let columns = columns.join(", ");
            let of = |exponent: u32| {
                let rows = vec![row.as_str(); 1 << exponent].join(",");
                format!("INSERT INTO {table} ({columns}) VALUES {rows}")
            };
            Ok((0..=STATEMENT_ROWS.ilog2()).map(of).collect())
        };
        let inserts = tables(&connection)?.into_iter().map(insert).collect::<Result<_>>()?;
        Ok(Self { connection, inserts })
    }
}

fn migrate(connection: &Connection) -> Result<()> {
    let folder = fs::read_dir(MIGRATIONS).with_context(|| format!("reading {MIGRATIONS}"))?;
    let mut files = folder.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    // Their numbers come first in their names.
    files.sort();
    for file in files {
        let sql = fs::read_to_string(&file)?;
        connection.execute_batch(&sql).with_context(|| format!("applying {}", file.display()))?;
    }
    Ok(())
}

impl SqliteEngine {
    fn insert(&self, rows: &Rows) -> Result<()> {
        let connection = &self.connection;
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        for TableRows { table, rows } in rows {
            let inserts = self.inserts.get(*table).context("the engine has fewer tables")?;
            let mut rows = rows.as_slice();
            while let Some(exponent) = rows.len().min(STATEMENT_ROWS).checked_ilog2() {
                let (chunk, rest) = rows.split_at(1 << exponent);
                let sql = inserts.get(exponent as usize).context("a chunk has a statement")?;
                let mut insert = connection.prepare_cached(sql)?;
                insert.execute(params_from_iter(chunk.iter().flatten()))?;
                rows = rest;
            }
        }
        connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }
}

impl Engine for SqliteEngine {
    fn commit(&mut self, rows: &Rows) -> Result<()> {
        self.insert(rows)
    }
}

/// A reading connection that knows what it has read.
pub(super) struct SqliteTap {
    connection: Connection,
    tables: Vec<Tapped>,
}

/// One table, and how its new rows are found.
struct Tapped {
    select: String,
    n_columns: usize,
    new: New,
}

enum New {
    /// By their number: they are added behind those that are there.
    Beyond(i64),
    /// By their key, which a table of our own remembers.
    Unseen { remember: String },
}

impl SqliteTap {
    pub(super) fn open(connection: Connection, all: bool) -> Result<Self> {
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        let tables = tables(&connection)?
            .iter()
            .map(|table| Tapped::new(&connection, table, all))
            .collect::<Result<_>>()?;
        Ok(Self { connection, tables })
    }
}

impl Tapped {
    fn new(connection: &Connection, table: &str, all: bool) -> Result<Self> {
        let (columns, key) = lists(connection, table)?;
        let n_columns = columns.len();
        let columns = columns.join(", ");
        let sql = "SELECT wr FROM pragma_table_list WHERE schema = 'main' AND name = ?";
        let without_rowid: bool = connection.query_row(sql, [table], |row| row.get(0))?;
        if !without_rowid {
            let sql = format!("SELECT coalesce(max(rowid), 0) FROM {table}");
            let newest = connection.query_row(&sql, [], |row| row.get(0))?;
            let sql = "WHERE rowid > ? ORDER BY rowid";
            let select = format!("SELECT rowid, {columns} FROM {table} {sql}");
            return Ok(Self { select, n_columns, new: New::Beyond(if all { 0 } else { newest }) });
        }
        let seen = format!("temp.seen_{table}");
        let keys = key.join(", ");
        connection.execute_batch(&format!(
            "CREATE TEMP TABLE seen_{table} ({keys}, PRIMARY KEY ({keys})) WITHOUT ROWID"
        ))?;
        let same: Vec<_> = key.iter().map(|key| format!("s.{key} = t.{key}")).collect();
        let unseen = format!("NOT EXISTS (SELECT 1 FROM {seen} s WHERE {})", same.join(" AND "));
        let remember =
            format!("INSERT INTO {seen} SELECT {keys} FROM main.{table} t WHERE {unseen}");
        if !all {
            connection.execute(&remember, [])?;
        }
        let select = format!("SELECT 0, {columns} FROM main.{table} t WHERE {unseen}");
        Ok(Self { select, n_columns, new: New::Unseen { remember } })
    }

    fn take(&mut self, connection: &Connection) -> Result<Vec<Vec<Value>>> {
        let mut statement = connection.prepare_cached(&self.select)?;
        let mut found = match self.new {
            New::Beyond(last) => statement.query([last])?,
            New::Unseen { .. } => statement.query([])?,
        };
        let mut rows = Vec::new();
        while let Some(row) = found.next()? {
            let value = |place| Ok(Value::from(row.get_ref(place)?));
            rows.push((1..=self.n_columns).map(value).collect::<Result<_>>()?);
            if let New::Beyond(last) = &mut self.new {
                *last = row.get(0)?;
            }
        }
        if let New::Unseen { remember } = &self.new
            && !rows.is_empty()
        {
            connection.prepare_cached(remember)?.execute([])?;
        }
        Ok(rows)
    }
}

impl SqliteTap {
    fn read(&mut self) -> Result<Rows> {
        // One snapshot for all tables.
        self.connection.execute_batch("BEGIN")?;
        let mut taken = Vec::new();
        for (table, tapped) in self.tables.iter_mut().enumerate() {
            let rows = tapped.take(&self.connection)?;
            if !rows.is_empty() {
                taken.push(TableRows { table, rows });
            }
        }
        self.connection.execute_batch("COMMIT")?;
        Ok(taken)
    }
}

impl Tap for SqliteTap {
    fn take(&mut self) -> LocalBoxFuture<'_, Result<Rows>> {
        Box::pin(async { self.read() })
    }
}
