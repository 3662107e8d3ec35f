//! The log in one SQLite file: a writer's connection, and a few that only read.

mod append;
mod backup;
mod beside;
mod bulk;
mod cells;
mod insert;
mod intern;
pub(crate) mod migrations;
mod names;
mod pool;
mod presumed;
mod read;
mod reader;
mod row;
pub(crate) mod whole;

pub(crate) use append::SqliteAppender;
pub use backup::{Backup, Interrupt};
pub(crate) use bulk::{head_of, hold, open_bulk, put};
pub(crate) use read::SqliteReader;

use crate::open::{OpenError, Options};
use pool::Pool;
use rusqlite::{Connection, Error, OpenFlags};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{ConnectOptions, Connection as _, Row, SqliteConnection};
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The database in the data folder.
const DATABASE_FILE: &str = "ledger.db";
/// Locked by the one process that may use the database.
const LOCK_FILE: &str = "ledger.lock";
/// Older ones can corrupt a database in WAL mode that has two connections.
const SQLITE_VERSION_MIN: (u32, u32, u32) = (3, 51, 3);
/// How long a statement waits for another program that has the database locked.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of a page of a new database.
const PAGE_BYTES: u32 = 8192;

/// Opens the database in the folder, and migrates it.
pub(crate) async fn open(
    folder: &Path,
    options: Options,
) -> Result<(SqliteAppender, SqliteReader), OpenError> {
    let lock = lock(&folder.join(LOCK_FILE))?;
    let path = folder.join(DATABASE_FILE);
    private_file(&path)?;
    migrate(&path).await?;
    // The names of new files are durable once their folder is.
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(file(folder))?;
    let connect: append::Connect = {
        let path = path.clone();
        Box::new(move || connect_to_write(&path, options))
    };
    let failed = |what: &str| {
        let what = what.to_owned();
        move |source| OpenError::Database { what, source: Box::new(source) }
    };
    let connection = connect().map_err(failed("opening it for writing"))?;
    let readers = Pool::open(path.clone(), connect_to_read);
    let readers = readers.map_err(failed("opening it for reading"))?;
    Ok((SqliteAppender::new(connect, connection, lock), SqliteReader::new(readers, path)))
}

/// Creates or migrates the database in the folder, if nobody uses it.
pub(crate) async fn migrate_alone(folder: &Path) -> Result<(), OpenError> {
    let _lock = lock(&folder.join(LOCK_FILE))?;
    let path = folder.join(DATABASE_FILE);
    private_file(&path)?;
    migrate(&path).await
}

/// Brings a database that may be empty up to this program's schema.
async fn migrate(path: &Path) -> Result<(), OpenError> {
    // Before the first table, for a page holds some thirty events then.
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(true)
        .pragma("temp_store", "MEMORY")
        .pragma("trusted_schema", "OFF")
        .disable_statement_logging()
        .page_size(PAGE_BYTES)
        .journal_mode(SqliteJournalMode::Wal);
    let mut connection = options.connect().await.map_err(database("opening it"))?;
    check_version(&mut connection).await?;
    migrations::run(&mut connection).await?;
    connection.close().await.map_err(database("closing it after migrating it"))
}

/// The writer's connection.
///
/// No memory map: through it a failing disk would end the process by a signal
/// instead of an error.
fn connect_to_write(path: &Path, options: Options) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.execute_batch(
        // On macOS a sync reaches the disk itself only by fullfsync; elsewhere it means nothing.
        // INSERT OR REPLACE fires the triggers on DELETE with recursive_triggers.
        // What is erased is overwritten with secure_delete.
        "PRAGMA journal_mode = WAL; PRAGMA cache_size = -65536; PRAGMA fullfsync = ON; \
         PRAGMA checkpoint_fullfsync = ON; PRAGMA wal_autocheckpoint = 4000; \
         PRAGMA journal_size_limit = 67108864; PRAGMA recursive_triggers = ON; \
         PRAGMA secure_delete = ON; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; \
         PRAGMA trusted_schema = OFF;",
    )?;
    let synchronous = if options.durable { "FULL" } else { "OFF" };
    connection.pragma_update(None, "synchronous", synchronous)?;
    Ok(connection)
}

/// A connection that cannot write, whatever is asked of it. No memory map, as above.
fn connect_to_read(path: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.set_prepared_statement_cache_capacity(32);
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.execute_batch(
        "PRAGMA cache_size = -16384; PRAGMA query_only = ON; PRAGMA temp_store = MEMORY; \
         PRAGMA trusted_schema = OFF;",
    )?;
    Ok(connection)
}

/// Takes the lock against a second process. It is held as long as the file is open.
fn lock(path: &Path) -> Result<File, OpenError> {
    let lock = private_file(path)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.display().to_string() }),
        Err(TryLockError::Error(error)) => Err(file(path)(error)),
    }
}

/// Opens a file, made if missing, that only its owner may read and write.
/// SQLite gives its own files beside a database the database's mode.
fn private_file(path: &Path) -> Result<File, OpenError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let opened = options.open(path).map_err(file(path))?;
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        opened.set_permissions(mode).map_err(file(path))?;
    }
    Ok(opened)
}

async fn check_version(connection: &mut SqliteConnection) -> Result<(), OpenError> {
    let what = "asking for its version";
    let row = sqlx::query("SELECT sqlite_version()").fetch_one(connection).await;
    let version: String = row.and_then(|row| row.try_get(0)).map_err(database(what))?;
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    let mut part = || parts.next().unwrap_or(0);
    let found = (part(), part(), part());
    if found >= SQLITE_VERSION_MIN {
        return Ok(());
    }
    let (major, minor, patch) = SQLITE_VERSION_MIN;
    let source = format!(
        "this program was built with SQLite {version}, which can corrupt the log; \
         build it with {major}.{minor}.{patch} or newer"
    );
    Err(OpenError::Database { what: what.to_owned(), source: source.into() })
}

/// SQLite's integers are signed. Nothing here comes near 2^63.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn file(path: &Path) -> impl FnOnce(std::io::Error) -> OpenError {
    let path: PathBuf = path.to_owned();
    move |source| OpenError::File { path: path.display().to_string(), source }
}

fn database(what: &'static str) -> impl FnOnce(sqlx::Error) -> OpenError {
    move |source| OpenError::Database { what: what.to_owned(), source: Box::new(source) }
}
