//! What is written, and how it is refused.

use ledger_core::event::Digest;
use ledger_core::{
    Actor, Command, DeploymentId, NewEvent, Position, Rejection, RequestId, StreamId, Version,
};
use std::sync::Arc;

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
    Events(Arc<Vec<NewEvent>>),
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
    /// There is nothing to erase.
    #[error(
        "there is no annex at position {position} that could be erased: the event never had one, or it was erased before"
    )]
    NoAnnex {
        /// Whose annex was meant.
        position: Position,
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
