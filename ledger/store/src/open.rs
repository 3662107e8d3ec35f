//! Opening a log, and whether it takes writes.

use crate::read::ReadError;

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("{path} is in use by another process; stop that one first")]
    InUse {
        /// The lock file.
        path: String,
    },
    /// A newer program migrated it.
    #[error(
        "the log has schema {found}, this program knows up to {known}; use a newer version of Ledger"
    )]
    TooNew {
        /// Its schema.
        found: u32,
        /// The newest that this program knows.
        known: u32,
    },
    /// This program is newer than it. On SQLite it is migrated when it is opened to
    /// write.
    #[error(
        "the log has schema {found}, this program needs {known}; run `ledger migrate` (on PostgreSQL with a login that may), then try again"
    )]
    TooOld {
        /// Its schema; 0 for none at all.
        found: u32,
        /// The one that this program needs.
        known: u32,
    },
    /// Something in it cannot be read.
    #[error("the log cannot be read")]
    Read(#[source] ReadError),
    /// A file cannot be used.
    #[error("{path} cannot be used")]
    File {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The database failed.
    #[error("the database failed: {what}")]
    Database {
        /// What was being done.
        what: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Whether the log takes writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It does.
    Ready,
    /// It does not: why, and what to do.
    NotReady(String),
}

/// How a log is opened, beside where it lies. For tests of the store itself:
/// no flag and no variable of the product reaches it.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether a commit waits until the disk has it. Without it, a power cut loses
    /// acknowledged events.
    pub durable: bool,
    /// Whether a writer whose calls block gets a thread. Without it, the writer runs
    /// where the log was opened: what is sent together then becomes one batch.
    pub thread: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { durable: true, thread: true }
    }
}
