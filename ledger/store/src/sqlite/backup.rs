//! A consistent copy of a log, also while a server uses it.

use super::{DATABASE_FILE, whole};
use crate::archive::{ArchiveError, NewFile};
use crate::verify::VerifyError;
use rusqlite::{Connection, InterruptHandle};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A backup that is to be made.
pub struct Backup {
    connection: Connection,
    file: NewFile,
    interrupted: Arc<AtomicBool>,
}

/// Ends a backup that is under way.
pub struct Interrupt {
    handle: InterruptHandle,
    interrupted: Arc<AtomicBool>,
}

impl Interrupt {
    /// Ends it. What was written of it is removed.
    pub fn interrupt(&self) {
        // The database's own interrupt ends what runs, and is forgotten if nothing does.
        self.interrupted.store(true, Ordering::Relaxed);
        self.handle.interrupt();
    }
}

impl Backup {
    /// Makes ready to copy the log in a data folder into a new file, which only its
    /// owner may read.
    pub fn begin(folder: &Path, to: &Path) -> Result<Self, ArchiveError> {
        let path = folder.join(DATABASE_FILE);
        if let Err(error) = path.metadata() {
            return Err(super::file(&path)(error).into());
        }
        let connection = whole::connect_to_read(&path).map_err(VerifyError::from)?;
        let file = NewFile::begin(to)?;
        Ok(Self { connection, file, interrupted: Arc::default() })
    }

    /// Returns what ends it from another thread.
    pub fn interrupter(&self) -> Interrupt {
        let handle = self.connection.get_interrupt_handle();
        Interrupt { handle, interrupted: Arc::clone(&self.interrupted) }
    }

    /// Copies. When this returned well, the file is there whole and durable.
    ///
    /// Blocks.
    pub fn run(self) -> Result<(), ArchiveError> {
        let Self { connection, file, interrupted } = self;
        let to = file.partial().display().to_string();
        let stopped = || interrupted.load(Ordering::Relaxed);
        // Nothing is written to the log; but the copy would be refused, too.
        let copied = connection.pragma_update(None, "query_only", "OFF").and_then(|()| {
            if stopped() { Ok(0) } else { connection.execute("VACUUM INTO ?1", [to]) }
        });
        if stopped() {
            return Err(VerifyError::Stopped.into());
        }
        copied.map_err(|error| VerifyError::from(whole::trouble(error)))?;
        file.keep()
    }
}
