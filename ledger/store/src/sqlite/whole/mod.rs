//! The whole log in one snapshot, read once from the front to the end by a
//! connection that cannot write. It trusts nothing of the file.

mod indexes;
mod merge;
mod names;
mod schema;
mod source;

pub(crate) use source::WholeSource;

use super::{BUSY_TIMEOUT, DATABASE_FILE};
use crate::open::OpenError;
use crate::verify::{Stop, VerifyError};
use ledger_core::verify::Fault;
use rusqlite::{Connection, Error, ErrorCode, OpenFlags};
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// How the file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// As beside a server: through the write-ahead log.
    Shared,
    /// As a file that nobody changes. SQLite makes no file beside it then.
    Alone,
}

/// Reads the log in the folder. If nobody seems to use it, it is read as a file
/// that nobody changes; if somebody did use it meanwhile, all is read again.
pub(crate) fn read_stable<T>(
    folder: &Path,
    mut read: impl FnMut(WholeSource) -> Result<T, VerifyError>,
) -> Result<T, VerifyError> {
    let path = folder.join(DATABASE_FILE);
    let state = || -> Result<(bool, u64, Option<SystemTime>), VerifyError> {
        let found: Metadata = fs::metadata(&path).map_err(|e| failed(super::file(&path)(e)))?;
        Ok((write_ahead(&path).exists(), found.len(), found.modified().ok()))
    };
    let before = state()?;
    if !before.0 {
        let done = open(&path, Way::Alone).and_then(&mut read);
        if state()? == before {
            return done;
        }
    }
    read(open(&path, Way::Shared)?)
}

/// Opens a connection that only reads, beside a server or alone.
pub(super) fn connect_to_read(path: &Path) -> Result<Connection, Stop> {
    let way = if write_ahead(path).exists() { Way::Shared } else { Way::Alone };
    connect(path, way)
}

/// Returns where a log ends; `None` if there is nothing in it.
pub(super) fn head(path: &Path) -> Result<Option<u64>, OpenError> {
    let asked = |connection: &Connection| -> Result<Option<u64>, Error> {
        let tables = "SELECT count(*) FROM sqlite_schema WHERE name IN ('events', 'outputs')";
        if connection.query_row(tables, [], |row| row.get::<_, i64>(0))? < 2 {
            return Ok(None);
        }
        let head = "SELECT (SELECT count(*) FROM events) + (SELECT count(*) FROM outputs), \
                    (SELECT coalesce(max(position), 0) FROM events)";
        let (rows, head): (i64, u64) =
            connection.query_row(head, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok((rows > 0).then_some(head))
    };
    let found = connect_to_read(path).and_then(|connection| asked(&connection).map_err(trouble));
    found.map_err(|stop| match stop {
        Stop::Failed(error) => error,
        Stop::Fault(fault) => {
            let what = format!("looking into {}", path.display());
            OpenError::Database { what, source: Box::new(fault) }
        }
        Stop::Unheard => OpenError::Read(crate::read::ReadError::Closed),
    })
}

/// The file beside the database in which SQLite writes first.
fn write_ahead(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push("-wal");
    name.into()
}

fn open(path: &Path, way: Way) -> Result<WholeSource, VerifyError> {
    let opened = connect(path, way).and_then(|connection| {
        let again = connect(path, way)?;
        WholeSource::begin(connection, again)
    });
    Ok(opened?)
}

fn failed(error: OpenError) -> VerifyError {
    VerifyError::Open(error)
}

fn connect(path: &Path, way: Way) -> Result<Connection, Stop> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    let uri = uri(path, way);
    let connect = || {
        let connection = Connection::open_with_flags(uri, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.execute_batch(
            "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; \
             PRAGMA query_only = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -8192;",
        )?;
        Ok(connection)
    };
    connect().map_err(trouble)
}

fn uri(path: &Path, way: Way) -> String {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' => uri.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => uri.push(char::from(*byte)),
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri.push_str("?mode=ro");
    if way == Way::Alone {
        uri.push_str("&immutable=1");
    }
    uri
}

/// Tells damage from surroundings that hinder.
pub(crate) fn trouble(error: Error) -> Stop {
    let short = rusqlite::ffi::SQLITE_IOERR_SHORT_READ;
    let extended = error.sqlite_error().map(|error| error.extended_code);
    let surroundings = matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::ReadOnly
                | ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::PermissionDenied
                | ErrorCode::OperationInterrupted
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::DiskFull
        )
    );
    if surroundings && extended != Some(short) {
        let what = "reading it".to_owned();
        return Stop::Failed(OpenError::Database { what, source: Box::new(error) });
    }
    let why = match error.sqlite_error_code() {
        // A page of it is all that is ever held; so the size is what is wrong.
        Some(ErrorCode::OutOfMemory) => "a value claims a size that no memory holds".to_owned(),
        _ => error.to_string(),
    };
    Stop::Fault(Fault::container(format_args!("the database file is damaged: {why}")))
}
