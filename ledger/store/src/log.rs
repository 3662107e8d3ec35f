//! The handle on the log.

mod output;

use crate::backend::{Append, Read, Sign, SignedNote};
use crate::clock::Clock;
use crate::limits;
use crate::open::{OpenError, Options, Readiness};
use crate::postgres;
use crate::read::{Annexes, ReadError, begun, weight};
use crate::sqlite;
use crate::tree;
use crate::write::{OutputError, Write, WriteError, Written};
use crate::writer::{Signals, Task, Writer};
use futures_util::future::BoxFuture;
use ledger_core::checkpoint::Note;
use ledger_core::merkle::{TileId, TileSource, Tree};
use ledger_core::{EventId, NodeId, Position, Record, State, StreamId, Timestamp, Version};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};

/// A handle on the log. Cloning it is cheap.
#[derive(Clone)]
pub struct Log {
    inbox: mpsc::Sender<Task>,
    reader: Arc<dyn Read>,
    head: watch::Receiver<Position>,
    output_head: watch::Receiver<u64>,
    readiness: watch::Receiver<Readiness>,
    done: watch::Receiver<()>,
    shared: bool,
}

impl Log {
    /// Opens the log in a data folder, which must exist, and folds it.
    ///
    /// Creates and migrates the database as needed, takes the lock against a
    /// second process, and starts the writer.
    pub async fn open_sqlite(folder: &Path, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        Self::open_sqlite_with(folder, clock, Options::default()).await
    }

    /// Opens a log as [`Log::open_sqlite`] does, in another way.
    #[doc(hidden)]
    pub async fn open_sqlite_with(
        folder: &Path,
        clock: Arc<dyn Clock>,
        options: Options,
    ) -> Result<Self, OpenError> {
        let (appender, reader) = sqlite::open(folder, options).await?;
        let (log, ..) = Self::start(appender, Arc::new(reader), clock, options).await?;
        Ok(log)
    }

    /// Opens the log in a PostgreSQL database and folds it. Other servers may have
    /// it open, too. Its clock is the database's.
    ///
    /// The schema must be there already: see [`Log::migrate_postgres`].
    pub async fn open_postgres(url: &str) -> Result<Self, OpenError> {
        Self::open_postgres_with(url, None, Options::default()).await
    }

    /// Opens a log as [`Log::open_postgres`] does, in another way.
    #[doc(hidden)]
    pub async fn open_postgres_with(
        url: &str,
        clock: Option<Arc<dyn Clock>>,
        options: Options,
    ) -> Result<Self, OpenError> {
        let opened = postgres::open(url, options).await?;
        let reader = Arc::clone(&opened.reader);
        let clock = clock.unwrap_or(opened.clock);
        let (log, head, output_head) =
            Self::start(opened.appender, opened.reader, clock, options).await?;
        let done = log.done.clone();
        tokio::spawn(postgres::follow(opened.listener, reader, head, output_head, done));
        Ok(log)
    }

    /// Creates or migrates the log in a data folder that no server uses.
    pub async fn migrate_sqlite(folder: &Path) -> Result<(), OpenError> {
        sqlite::migrate_alone(folder).await
    }

    /// Creates or migrates the schema in a PostgreSQL database, by a login that
    /// may: a superuser, or the database's owner if it has CREATEROLE.
    ///
    /// Servers then need a login that is granted the role `ledger_service`.
    pub async fn migrate_postgres(url: &str) -> Result<(), OpenError> {
        postgres::migrate(url).await
    }

    /// Folds the log and starts its writer. Returns also where to tell of a newer
    /// head and of newer output.
    async fn start<A: Append>(
        appender: A,
        reader: Arc<dyn Read>,
        clock: Arc<dyn Clock>,
        options: Options,
    ) -> Result<(Self, Arc<watch::Sender<Position>>, Arc<watch::Sender<u64>>), OpenError> {
        let (inbox, tasks) = mpsc::channel(limits::WAITING_WRITES_MAX);
        let (head_tx, head) = watch::channel(Position::ZERO);
        let (output_head_tx, output_head) = watch::channel(0);
        let (readiness_tx, readiness) = watch::channel(Readiness::Ready);
        let (done_tx, done) = watch::channel(());
        let (head_tx, output_head_tx) = (Arc::new(head_tx), Arc::new(output_head_tx));
        let signals = Signals {
            head: Arc::clone(&head_tx),
            output_head: Arc::clone(&output_head_tx),
            readiness: readiness_tx,
            done: done_tx,
        };
        let writer = Writer::open(appender, Arc::clone(&reader), clock, tasks, signals).await?;
        if A::THREAD && options.thread {
            on_a_thread(writer.run())?;
        } else {
            tokio::spawn(writer.run());
        }
        let shared = A::SHARED;
        let log = Self { inbox, reader, head, output_head, readiness, done, shared };
        Ok((log, head_tx, output_head_tx))
    }

    /// Appends, or says why not. Answers only after the commit returned.
    ///
    /// Dropping the future does not take the write back: it is written or not, and
    /// the same request sent again tells.
    pub async fn write(&self, write: Write) -> Result<Written, WriteError> {
        let (reply, answer) = oneshot::channel();
        self.ask_to_write(Task::Write { write, reply }, answer).await
    }

    /// Reads at most `limit` records from the position on, with their annexes.
    ///
    /// A page may be shorter, where its bytes are many. Only an empty one says
    /// that the head was reached.
    pub async fn read(&self, from: Position, limit: usize) -> Result<Vec<Record>, ReadError> {
        self.page(from, limit, true).await
    }

    /// Reads as [`Log::read`] does, but no annex: for who folds. A damaged annex
    /// does not keep the history from being read.
    pub async fn read_bare(&self, from: Position, limit: usize) -> Result<Vec<Record>, ReadError> {
        self.page(from, limit, false).await
    }

    /// Begins to read as [`Log::read_bare`] does, for who has something to do until
    /// the answer is needed, and returns what gives it.
    pub async fn begin_read_bare(
        &self,
        from: Position,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Record>, ReadError>> {
        begun(Box::pin(self.read_bare(from, limit))).await
    }

    async fn page(
        &self,
        from: Position,
        limit: usize,
        annexes: bool,
    ) -> Result<Vec<Record>, ReadError> {
        // Before the query: what is committed meanwhile may be in the answer or not.
        let head = *self.head.borrow();
        let from = from.max(Position::ZERO.next());
        let records = self.reader.records(from, limit, annexes).await?;
        let next = records.last().map_or(from, |record| record.position.next());
        let bytes: usize = records.iter().map(weight).sum();
        if records.len() < limit && bytes < limits::PAGE_BYTES_MAX && next <= head {
            // The end of the log is gone, while this process knows of it.
            return Err(ReadError::Gap { expected: next, found: head.next() });
        }
        Ok(records)
    }

    /// Reads at most `limit` records of a stream from the version on, with their
    /// annexes. As with [`Log::read`], only an empty page is the end.
    pub async fn read_stream(
        &self,
        stream: &StreamId,
        from: Version,
        limit: usize,
    ) -> Result<Vec<Record>, ReadError> {
        self.reader.stream(stream, from.max(Version::ZERO.next()), limit, true).await
    }

    /// Reads as [`Log::read_stream`] does, but no annex.
    pub async fn read_stream_bare(
        &self,
        stream: &StreamId,
        from: Version,
        limit: usize,
    ) -> Result<Vec<Record>, ReadError> {
        self.reader.stream(stream, from.max(Version::ZERO.next()), limit, false).await
    }

    /// Reads the annexes of events that were read bare. Those that never were or
    /// were erased are not in the answer; a damaged one is an error by itself.
    pub async fn annexes(&self, positions: &[Position]) -> Result<Annexes, ReadError> {
        self.reader.annexes(positions).await
    }

    /// Finds an event by its id.
    pub async fn find(&self, id: EventId) -> Result<Option<Record>, ReadError> {
        self.reader.find(id).await
    }

    /// Returns the newest committed position, and wakes whoever waits for a newer one.
    pub fn head(&self) -> watch::Receiver<Position> {
        self.head.clone()
    }

    /// Returns whether the log takes writes.
    pub fn readiness(&self) -> Readiness {
        if self.inbox.is_closed() {
            return Readiness::NotReady(CLOSED.to_owned());
        }
        self.readiness.borrow().clone()
    }

    /// Returns when the log takes no writes any more, for good: it was closed, or
    /// its writer ended by a defect.
    pub async fn closed(&self) {
        let mut done = self.done.clone();
        while done.changed().await.is_ok() {}
    }

    /// Returns how many writes wait for their turn, beside those being committed.
    pub fn waiting(&self) -> usize {
        self.inbox.max_capacity() - self.inbox.capacity()
    }

    /// Returns the tree over everything that is committed.
    pub async fn tree(&self) -> Result<Tree, ReadError> {
        let (reply, answer) = oneshot::channel();
        self.inbox.send(Task::Tree { reply }).await.map_err(|_| ReadError::Closed)?;
        answer.await.unwrap_or(Err(ReadError::Closed))
    }

    /// Reads the tiles that a question about a tree needs, which the log gave.
    pub async fn tiles(
        &self,
        tree: &Tree,
        ids: &BTreeSet<TileId>,
    ) -> Result<TileSource, ReadError> {
        tree::tiles(&*self.reader, tree, ids).await
    }

    /// Reads the newest signed checkpoint, as it was stored.
    pub async fn newest_checkpoint(&self) -> Result<Option<String>, ReadError> {
        self.reader.newest_checkpoint().await
    }

    /// Stores a signed checkpoint, unless there is a newer one.
    pub async fn write_checkpoint(&self, note: &Note) -> Result<(), OutputError> {
        let (reply, answer) = oneshot::channel();
        let signed = SignedNote { size: note.checkpoint().size, note: note.to_string() };
        self.ask(Task::Checkpoint { signed, reply }, answer).await
    }

    /// Returns whether other servers may have the log open, too.
    pub fn is_shared(&self) -> bool {
        self.shared
    }

    /// Gives a sign of life of this server, and tells of the others.
    pub async fn beat(&self, node: NodeId) -> Result<Vec<Sign>, OutputError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Task::Beat { node, reply }, answer).await
    }

    /// Returns when a server gave its last sign of life, if it ever did.
    pub async fn last_seen(&self, node: NodeId) -> Result<Option<Timestamp>, OutputError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Task::LastSeen { node, reply }, answer).await
    }

    async fn ask<T>(
        &self,
        task: Task,
        answer: oneshot::Receiver<Result<T, OutputError>>,
    ) -> Result<T, OutputError> {
        let unavailable = || OutputError::Unavailable { why: CLOSED.to_owned() };
        self.inbox.send(task).await.map_err(|_| unavailable())?;
        answer.await.unwrap_or_else(|ended| Err(OutputError::Database(Box::new(ended))))
    }

    /// Returns how many bytes the database takes, with what is not yet merged into it.
    pub async fn database_bytes(&self) -> Result<u64, ReadError> {
        self.reader.size().await
    }

    /// Lets the log take writes again after its clock jumped, and records who vouched for it.
    pub async fn confirm_clock(&self, write: Write) -> Result<Written, WriteError> {
        let (reply, answer) = oneshot::channel();
        self.ask_to_write(Task::ConfirmClock { write, reply }, answer).await
    }

    /// Commits what waits, stops the writer and closes the database.
    pub async fn close(&self) {
        // If the writer is gone, so is everything that it held.
        let _ = self.inbox.send(Task::Close).await;
        self.closed().await;
    }

    /// Returns the state that the next decision would be taken from; `None` if the
    /// log is closed.
    pub async fn state(&self) -> Option<State> {
        let (reply, answer) = oneshot::channel();
        self.inbox.send(Task::State { reply }).await.ok()?;
        answer.await.ok()
    }

    async fn ask_to_write(
        &self,
        task: Task,
        answer: oneshot::Receiver<Result<Written, WriteError>>,
    ) -> Result<Written, WriteError> {
        let unavailable = || WriteError::Unavailable { why: CLOSED.to_owned() };
        self.inbox.send(task).await.map_err(|_| unavailable())?;
        // Without an answer the writer ended in the middle: nobody knows whether it committed.
        answer.await.unwrap_or_else(|_| Err(WriteError::Database(ENDED.into())))
    }
}

/// Why a write that was taken has no answer.
const ENDED: &str = "the log's writer ended in the middle";

/// Runs the writer of a database whose calls block, on a thread for itself.
fn on_a_thread(writer: impl Future<Output = ()> + Send + 'static) -> Result<(), OpenError> {
    let failed = |source: std::io::Error| OpenError::Database {
        what: "starting the writer".to_owned(),
        source: Box::new(source),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.map_err(failed)?;
    let thread = std::thread::Builder::new().name("ledger-writer".to_owned());
    thread.spawn(move || runtime.block_on(writer)).map_err(failed)?;
    Ok(())
}

/// Why a closed log takes no writes.
const CLOSED: &str = "this server is stopping; send the same request again once it is back";
