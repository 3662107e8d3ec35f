//! The append-only log: what was, in one order, on one clock, for ever.
//!
//! [`Log`] is a handle that every part of a server shares. One writer task behind
//! it gathers waiting writes, judges each under the append lock, commits them
//! together and answers after the commit. Readers never wait for it.

use ledger_core::event::Digest;
use ledger_core::{
    Actor, Command, DeploymentId, EventId, NewEvent, Position, Record, Rejection, RequestId,
    StreamId, Timestamp, Version,
};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// What the store reads time from, so that tests can set it.
pub trait Clock: Send + Sync + 'static {
    /// Returns the moment in UTC.
    fn now(&self) -> Timestamp;
    /// Returns a time that never jumps, from any beginning; it goes on while the machine sleeps.
    fn uptime(&self) -> Duration;
}

/// A handle on the log. Cloning it is cheap.
#[derive(Clone)]
pub struct Log {}

/// Something to be appended.
pub struct Write {
    /// Made by the client and kept through every retry.
    pub request_id: RequestId,
    /// A digest over everything that the client gave, and over nothing that was
    /// assigned: it tells the same request from another one under the same id.
    pub given: Digest,
    /// Who writes.
    pub actor: Actor,
    /// What must hold of streams, written or only read.
    pub expect: Vec<Expectation>,
    /// What to append.
    pub change: Change,
}

/// What a write appends.
pub enum Change {
    /// What the command makes happen, decided under the append lock.
    Command(Box<Command>),
    /// These events, as they are.
    Events(Vec<NewEvent>),
}

/// What must hold of a stream under the append lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// Which stream.
    pub stream: StreamId,
    /// Its version: [`Version::ZERO`] if it must not exist yet.
    pub version: Version,
}

/// A write that is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The first and the last position of its events. None when there was
    /// nothing to append.
    pub positions: Option<(Position, Position)>,
    /// Whether an earlier delivery of the same request wrote it.
    pub repeated: bool,
}

/// Why a write is not in the log.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The domain refuses it.
    #[error("refused")]
    Rejected(#[source] Rejection),
    /// A stream is at another version. Read, decide again, retry.
    #[error("stream {stream} is at version {actual}, not {expected}")]
    Conflict {
        /// Which stream.
        stream: StreamId,
        /// What the write expected.
        expected: Version,
        /// What it is.
        actual: Version,
    },
    /// The request id was used for another request.
    #[error("request {request_id} was used before, for another request")]
    IdempotencyMismatch {
        /// The id.
        request_id: RequestId,
    },
    /// An event breaks a bound of [`ledger_core::limits`].
    #[error("the write is too large: {what}")]
    TooLarge {
        /// Which bound.
        what: String,
    },
    /// The log takes no writes now. Whether this one came through is known: it did not.
    #[error("the log takes no writes: {why}")]
    Unavailable {
        /// Why, and what to do.
        why: String,
    },
    /// The commit failed in a way that leaves open whether it happened. The same
    /// request may be sent again.
    #[error("the database failed while committing")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why a read gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The log is damaged: a position is missing. Nothing after it may be read as history.
    #[error("the log has a gap: position {expected} is followed by {found}")]
    Gap {
        /// The position that should stand there.
        expected: Position,
        /// The one that does.
        found: Position,
    },
    /// A stored value cannot be what the store wrote.
    #[error("position {position}, column {column}: {what}")]
    Corrupt {
        /// Where.
        position: Position,
        /// Which column.
        column: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// The database failed.
    #[error("the database failed while reading")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),
}

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

/// A piece of a deployment's output, to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputWrite {
    /// Whose.
    pub deployment: DeploymentId,
    /// How many bytes came before.
    pub offset: u64,
    /// The bytes: 1 to [`ledger_core::limits::OUTPUT_CHUNK_BYTES_MAX`].
    pub bytes: Vec<u8>,
}

/// Why output is not stored.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// It does not continue what is stored: a gap, an overlap, or other bytes at the same place.
    #[error("the output of {deployment} goes on at byte {stored}, not {offset}")]
    OutOfOrder {
        /// Whose.
        deployment: DeploymentId,
        /// Where the stored output ends.
        stored: u64,
        /// Where the piece would begin.
        offset: u64,
    },
    /// It is longer than [`ledger_core::limits`] allow.
    #[error("the output is too large")]
    TooLarge,
    /// The log takes no writes now.
    #[error("the log takes no writes: {why}")]
    Unavailable {
        /// Why.
        why: String,
    },
    /// The database failed.
    #[error("the database failed")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A piece of output as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredOutput {
    /// Its place in the table, from 1, in commit order: a reader's cursor.
    pub cursor: u64,
    /// Whose.
    pub deployment: DeploymentId,
    /// How many bytes came before.
    pub offset: u64,
    /// When it was stored.
    pub stored_at: Timestamp,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Log {
    /// Opens the log in a data folder, which must exist, and folds it.
    ///
    /// Creates and migrates the database as needed, takes the lock against a
    /// second process, and starts the writer.
    pub async fn open_sqlite(_folder: &Path, _clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        todo!()
    }

    /// Appends, or says why not. Answers only after the commit returned.
    ///
    /// Dropping the future does not take the write back.
    pub async fn write(&self, _write: Write) -> Result<Written, WriteError> {
        todo!()
    }

    /// Reads at most `limit` records from the position on, with their annexes.
    /// Fewer mean that the head was reached.
    pub async fn read(&self, _from: Position, _limit: usize) -> Result<Vec<Record>, ReadError> {
        todo!()
    }

    /// Reads at most `limit` records of a stream from the version on, with their annexes.
    pub async fn read_stream(
        &self,
        _stream: &StreamId,
        _from: Version,
        _limit: usize,
    ) -> Result<Vec<Record>, ReadError> {
        todo!()
    }

    /// Finds an event by its id.
    pub async fn find(&self, _id: EventId) -> Result<Option<Record>, ReadError> {
        todo!()
    }

    /// Returns the newest committed position, and wakes whoever waits for a newer one.
    pub fn head(&self) -> watch::Receiver<Position> {
        todo!()
    }

    /// Stores a piece of output. The same piece again is stored already.
    pub async fn write_output(&self, _output: OutputWrite) -> Result<(), OutputError> {
        todo!()
    }

    /// Reads stored output after the cursor, of the given deployments, at most `limit` pieces.
    ///
    /// Returns the pieces and the cursor to go on from, which also moves past
    /// the output of others.
    pub async fn read_output(
        &self,
        _deployments: &[DeploymentId],
        _after: u64,
        _limit: usize,
    ) -> Result<(Vec<StoredOutput>, u64), ReadError> {
        todo!()
    }

    /// Returns the newest committed output cursor, and wakes whoever waits for a newer one.
    pub fn output_head(&self) -> watch::Receiver<u64> {
        todo!()
    }

    /// Returns whether the log takes writes.
    pub fn readiness(&self) -> Readiness {
        todo!()
    }

    /// Lets the log take writes again after its clock jumped, and records who vouched for it.
    pub async fn confirm_clock(&self, _write: Write) -> Result<Written, WriteError> {
        todo!()
    }

    /// Commits what waits, stops the writer and closes the database.
    pub async fn close(&self) {
        todo!()
    }
}
