//! What is read, and why it may not be.

use futures_util::future::{self, BoxFuture};
use ledger_core::merkle::TileId;
use ledger_core::{DeploymentId, Position, Record, SealedAnnex, Timestamp};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::task::Poll;

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

/// Stored annexes, each by its event's position: whole, or why it is damaged.
pub type Annexes = BTreeMap<Position, Result<SealedAnnex, ReadError>>;

/// Why a read gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The log is damaged: a position is missing. Nothing after it may be read as history.
    #[error("the log has a gap: position {found} stands where {expected} should")]
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
    /// A tile of the tree is missing or damaged.
    #[error("the tile {index} of level {level} is damaged: {what}", index = .id.index, level = .id.level)]
    Tile {
        /// Which.
        id: TileId,
        /// What is wrong with it.
        what: String,
    },
    /// The log takes no questions now.
    #[error("the log is closed")]
    Closed,
    /// The database failed.
    #[error("the database failed while reading")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Returns how many bytes a record counts towards a page's.
pub(crate) fn weight(record: &Record) -> usize {
    record.payload.len() + record.annex.as_ref().map_or(0, |annex| annex.bytes.len())
}

/// Begins a read whose answer is needed later. Where reading has threads of its own,
/// as on SQLite, it goes on by itself meanwhile.
pub(crate) async fn begun<'a, T: Send + 'a>(mut read: BoxFuture<'a, T>) -> BoxFuture<'a, T> {
    match poll_fn(|context| Poll::Ready(read.as_mut().poll(context))).await {
        Poll::Ready(answer) => Box::pin(future::ready(answer)),
        Poll::Pending => read,
    }
}
