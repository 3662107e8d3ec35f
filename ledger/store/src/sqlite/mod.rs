//! The log in one SQLite file: a writer's connection, and a few that only read.

mod append;
mod insert;
mod intern;
mod migrations;
mod read;
mod row;

pub(crate) use append::SqliteAppender;
pub(crate) use read::SqliteReader;

use crate::open::{OpenError, Options};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Row, SqliteConnection};
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The database in the data folder.
const DATABASE_FILE: &str = "ledger.db";
/// Locked by the one process that may use the database.
const LOCK_FILE: &str = "ledger.lock";
/// Older ones can corrupt a database in WAL mode that has two connections.
const SQLITE_VERSION_MIN: (u32, u32, u32) = (3, 51, 3);
/// Connections that read. More would only wait for the same two or four cores.
const READERS: u32 = 4;

/// Opens the database in the folder, and migrates it.
pub(crate) async fn open(
    folder: &Path,
    options: Options,
) -> Result<(SqliteAppender, SqliteReader), OpenError> {
    let lock = lock(&folder.join(LOCK_FILE))?;
    let path = folder.join(DATABASE_FILE);
    private_file(&path)?;
    let writing = writing(&path, options);
    let mut connection = writing.connect().await.map_err(database("opening it"))?;
    check_version(&mut connection).await?;
    migrations::run(&mut connection).await?;
    // The names of new files are durable once their folder is.
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(file(folder))?;
    let readers = SqlitePoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(Duration::from_secs(30))
        .connect_with(reading(&path))
        .await
        .map_err(database("opening it for reading"))?;
    Ok((SqliteAppender::new(writing, connection, lock), SqliteReader::new(readers, path)))
}

/// The writer's connection.
///
/// No memory map: through it a failing disk would end the process by a signal
/// instead of an error.
fn writing(path: &Path, options: Options) -> SqliteConnectOptions {
    let synchronous =
        if options.durable { SqliteSynchronous::Full } else { SqliteSynchronous::Off };
    common(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous)
        // Two statements per size of a chunk and table; see `insert`.
        .statement_cache_capacity(256)
        .pragma("cache_size", "-65536")
        // On macOS a sync reaches the disk itself only so; elsewhere it means nothing.
        .pragma("fullfsync", "ON")
        .pragma("checkpoint_fullfsync", "ON")
        .pragma("wal_autocheckpoint", "4000")
        .pragma("journal_size_limit", "67108864")
        // INSERT OR REPLACE then fires the triggers on DELETE.
        .pragma("recursive_triggers", "ON")
        .optimize_on_close(true, None)
}

/// A connection that cannot write, whatever is asked of it.
fn reading(path: &Path) -> SqliteConnectOptions {
    common(path).read_only(true).pragma("cache_size", "-16384").pragma("query_only", "ON")
}

fn common(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(Duration::from_secs(5))
        .foreign_keys(true)
        .pragma("temp_store", "MEMORY")
        .pragma("trusted_schema", "OFF")
        .disable_statement_logging()
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

fn file(path: &Path) -> impl FnOnce(std::io::Error) -> OpenError {
    let path: PathBuf = path.to_owned();
    move |source| OpenError::File { path: path.display().to_string(), source }
}

fn database(what: &'static str) -> impl FnOnce(sqlx::Error) -> OpenError {
    move |source| OpenError::Database { what: what.to_owned(), source: Box::new(source) }
}
