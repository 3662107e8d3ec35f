//! What a database must be able to do, and nothing of how writes are judged.

use crate::read::{Annexes, ReadError, StoredOutput};
use futures_util::future::BoxFuture;
use ledger_core::merkle::{Tile, TileId};
use ledger_core::record::Given;
use ledger_core::{
    DeploymentId, EventId, NodeId, Position, Record, RequestId, StreamId, Timestamp, Version,
};
use std::collections::HashMap;
use std::future::Future;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// Where the log ends, as the database says once its lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) position: Position,
    pub(crate) output: u64,
    /// The size of the newest checkpoint; 0 for none.
    pub(crate) signed: u64,
}

/// What the lock came with.
pub(crate) struct Locked {
    pub(crate) head: Head,
    /// Those of the requests asked for that wrote something.
    pub(crate) requests: HashMap<RequestId, Request>,
}

/// A request that wrote something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) first: Position,
    pub(crate) given: Given,
}

impl Request {
    /// Returns the position of its last event.
    pub(crate) fn last(&self) -> Position {
        Position(self.first.0.saturating_add(u64::from(self.given.events).saturating_sub(1)))
    }
}

/// An annex that is to be erased, and the event that orders it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Erasure {
    pub(crate) position: Position,
    pub(crate) ordered: Position,
}

/// A server that shares the log, as the database heard of it last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sign {
    /// Which.
    pub node: NodeId,
    /// When it gave its last sign of life.
    pub seen_at: Timestamp,
    /// How long ago that is.
    pub silent: Duration,
}

/// A signed checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SignedNote {
    pub(crate) size: u64,
    pub(crate) note: String,
}

/// What one transaction appends.
#[derive(Default)]
pub(crate) struct Rows {
    /// The event that all of it goes behind, if that was read.
    pub(crate) behind: Option<EventId>,
    pub(crate) records: Vec<Record>,
    /// The tiles that the records made full, the lower levels first.
    pub(crate) tiles: Vec<Tile>,
    pub(crate) erasures: Vec<Erasure>,
    pub(crate) outputs: Vec<StoredOutput>,
    pub(crate) checkpoints: Vec<SignedNote>,
}

/// A statement or a commit that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Whether the surroundings are to blame (a full disk, a lost connection), so
    /// that other writes would fail as well.
    pub(crate) surroundings: bool,
    /// Whether the database said that nothing of it was committed.
    pub(crate) refused: bool,
    /// Whether the verdicts were taken from less than there was (somebody else appended, or
    /// a request had written something), so that the same batch is to be judged again.
    pub(crate) overtaken: bool,
    /// What to tell a person: what is wrong, and what to do.
    pub(crate) why: String,
    pub(crate) source: Box<dyn std::error::Error + Send + Sync>,
}

/// The writing side. One task owns it.
///
/// After [`lock`](Append::lock) and until [`commit`](Append::commit) or
/// [`abandon`](Append::abandon), nobody else appends, and what is read here is
/// what the lock protects. Where a database can tell at the commit whether somebody
/// did, or by its indexes whether a request wrote something before, it need not lock or
/// ask before: what is called next then fails as [overtaken](Failure::overtaken), and the
/// next `lock` asks.
pub(crate) trait Append: Send + 'static {
    /// Whether several servers may share the database.
    const SHARED: bool;

    /// Whether its calls block, so that the writer needs a thread for itself.
    const THREAD: bool;

    /// Begins a transaction, takes the append lock in it, and tells where the log
    /// ends and which of the requests wrote something.
    fn lock(&mut self, ids: &[RequestId]) -> impl Future<Output = Result<Locked, Failure>> + Send;

    /// Returns a stream's version; 0 if it does not exist.
    fn stream_version(
        &mut self,
        stream: &StreamId,
    ) -> impl Future<Output = Result<Version, Failure>> + Send;

    /// Returns a stream's version, of a stream that is appended to. Where a database
    /// refuses what appends to another one, it may be presumed.
    fn version_behind(
        &mut self,
        stream: &StreamId,
    ) -> impl Future<Output = Result<Version, Failure>> + Send {
        self.stream_version(stream)
    }

    /// Returns whether an annex is stored for the event.
    fn has_annex(
        &mut self,
        position: Position,
    ) -> impl Future<Output = Result<bool, Failure>> + Send;

    /// Returns how many bytes of a deployment's output are stored.
    fn output_end(
        &mut self,
        deployment: DeploymentId,
    ) -> impl Future<Output = Result<u64, Failure>> + Send;

    /// Returns the piece of output that begins at the offset.
    fn output_at(
        &mut self,
        deployment: DeploymentId,
        offset: u64,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, Failure>> + Send;

    /// Makes sure that verdicts which append nothing were taken from the log as it is.
    /// Where a part of a request was handed over, that its insert did not fail, too.
    fn confirm(&mut self) -> impl Future<Output = Result<(), Failure>> + Send {
        std::future::ready(Ok(()))
    }

    /// From how many events of a request on it is worth to hand them over.
    const BESIDE: usize = usize::MAX;

    /// May take events, to insert them while more is judged, and returns what it took.
    /// What fails of it is told by the next call that can fail.
    fn hand_over(&mut self, _: &mut Vec<Record>) -> Option<Arc<Vec<Record>>> {
        None
    }

    /// Inserts everything that was not handed over.
    fn insert(&mut self, rows: &Rows) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Commits. Once it returned, the rows survive a power cut.
    fn commit(&mut self) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Gives the lock back and takes back what was inserted.
    fn abandon(&mut self) -> impl Future<Output = ()> + Send;

    /// Tries whether the database takes writes, without leaving a trace in the
    /// log, and tells where the log ends.
    fn probe(&mut self) -> impl Future<Output = Result<Head, Failure>> + Send;

    /// Gives a sign of life, and tells of the other servers.
    fn beat(&mut self, node: NodeId) -> impl Future<Output = Result<Vec<Sign>, Failure>> + Send;

    /// Returns when a server gave its last sign of life, if it ever did.
    fn last_seen(
        &mut self,
        node: NodeId,
    ) -> impl Future<Output = Result<Option<Timestamp>, Failure>> + Send;

    /// Closes the database and lets go of it.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// A writing side that takes a whole log as it is, into a database with none.
pub(crate) trait Bulk {
    /// Inserts everything behind what was inserted before.
    fn insert(&mut self, rows: &Rows) -> impl Future<Output = Result<(), Failure>>;

    /// Makes all of it seen and durable. Before, a database that others use shows
    /// nothing of it.
    fn commit(&mut self) -> impl Future<Output = Result<(), Failure>>;
}

/// The reading side. Every part of a server shares it.
///
/// No answer holds on to a snapshot of the database: each page is one statement.
pub(crate) trait Read: Send + Sync + 'static {
    /// Reads records from the position on, fewer than `limit` only at the end or
    /// where [`crate::limits::PAGE_BYTES_MAX`] is reached.
    fn records(
        &self,
        from: Position,
        limit: usize,
        annexes: bool,
    ) -> BoxFuture<'_, Result<Vec<Record>, ReadError>>;

    /// Reads records of a stream from the version on, bounded as [`Read::records`] is.
    fn stream<'a>(
        &'a self,
        stream: &'a StreamId,
        from: Version,
        limit: usize,
        annexes: bool,
    ) -> BoxFuture<'a, Result<Vec<Record>, ReadError>>;

    /// Reads the annexes that are stored for the positions. What is damaged is an
    /// error of its own, and none of the others.
    fn annexes<'a>(
        &'a self,
        positions: &'a [Position],
    ) -> BoxFuture<'a, Result<Annexes, ReadError>>;

    /// Finds an event.
    fn find(&self, id: EventId) -> BoxFuture<'_, Result<Option<Record>, ReadError>>;

    /// Reads the output of a few deployments within the cursors, in their order.
    ///
    /// Several statements may be run. What is committed between them stands
    /// beyond the last cursor, if the caller took that from a committed head.
    fn outputs_of<'a>(
        &'a self,
        deployments: &'a [DeploymentId],
        cursors: RangeInclusive<u64>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<StoredOutput>, ReadError>>;

    /// Tells whose output stands after the cursor: cursors and deployments, in order.
    fn output_owners(
        &self,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(u64, DeploymentId)>, ReadError>>;

    /// Reads one deployment's output from the byte on, in its order.
    fn output_from(
        &self,
        deployment: DeploymentId,
        offset: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<StoredOutput>, ReadError>>;

    /// Reads one piece of output.
    fn output(&self, cursor: u64) -> BoxFuture<'_, Result<Option<StoredOutput>, ReadError>>;

    /// Returns where the output ends.
    fn output_head(&self) -> BoxFuture<'_, Result<u64, ReadError>>;

    /// Returns the newest committed position.
    fn head(&self) -> BoxFuture<'_, Result<Position, ReadError>>;

    /// Reads a full tile of the tree.
    fn tile(&self, id: TileId) -> BoxFuture<'_, Result<Option<Tile>, ReadError>>;

    /// Reads the newest checkpoint.
    fn newest_checkpoint(&self) -> BoxFuture<'_, Result<Option<String>, ReadError>>;

    /// Returns how many bytes the database takes.
    fn size(&self) -> BoxFuture<'_, Result<u64, ReadError>>;

    /// Closes every connection.
    fn close(&self) -> BoxFuture<'_, ()>;
}
