//! A whole log at once, into a file of its own that takes its place when it is done.

use super::{DATABASE_FILE, LOCK_FILE, SqliteAppender, SqliteReader, file, lock, open, whole};
use crate::backend::{Append, Bulk, Failure, Rows};
use crate::open::{OpenError, Options};
use std::fs::{self, File};
use std::path::Path;

/// Writes a log that nobody else sees.
pub(crate) struct SqliteBulk(SqliteAppender);

/// Makes an empty log in a folder, to be filled and then put in its place.
pub(crate) async fn open_bulk(folder: &Path) -> Result<(SqliteBulk, SqliteReader), OpenError> {
    // What a power cut leaves of it is thrown away.
    let options = Options { durable: false, thread: false };
    let (appender, reader) = open(folder, options).await?;
    Ok((SqliteBulk(appender), reader))
}

/// Takes the lock of a data folder. It is held as long as the file is open.
pub(crate) fn hold(folder: &Path) -> Result<File, OpenError> {
    lock(&folder.join(LOCK_FILE))
}

/// Returns where the log in a data folder ends; `None` if there is none, or nothing
/// in it.
pub(crate) fn head_of(folder: &Path) -> Result<Option<u64>, OpenError> {
    let path = folder.join(DATABASE_FILE);
    // A server that was stopped before its first event leaves a file of no bytes.
    if fs::metadata(&path).map_or(true, |found| found.len() == 0) {
        return Ok(None);
    }
    whole::head(&path)
}

/// Puts a log that is closed in the place of one with nothing in it.
pub(crate) fn put(from: &Path, folder: &Path) -> Result<(), OpenError> {
    let (made, place) = (from.join(DATABASE_FILE), folder.join(DATABASE_FILE));
    let failed = file(&place);
    let put = || {
        File::open(&made)?.sync_all()?;
        for beside in ["-wal", "-shm"] {
            // What belonged to the empty one must not be taken for this one's.
            match fs::remove_file(folder.join(format!("{DATABASE_FILE}{beside}"))) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&made, &place)?;
        File::open(folder)?.sync_all()
    };
    put().map_err(failed)
}

impl SqliteBulk {
    /// Closes the file.
    pub(crate) async fn close(self) {
        self.0.close().await;
    }
}

impl Bulk for SqliteBulk {
    async fn insert(&mut self, rows: &Rows) -> Result<(), Failure> {
        self.0.lock(&[]).await?;
        self.0.insert(rows).await?;
        self.0.commit().await
    }

    async fn commit(&mut self) -> Result<(), Failure> {
        // Every insert was committed, and nobody sees the file.
        Ok(())
    }
}
