//! The one connection that writes.
//!
//! It is driven directly, without a thread of its own: the writer has one for
//! itself (see [`Append::THREAD`]), and a statement costs what SQLite costs. Only
//! the rows of a large request are inserted by a second thread, while the writer judges
//! the next ones.

use super::beside::{Away, Beside, Engine};
use super::insert;
use super::intern::{Interner, stream_name};
use super::presumed::Presumed;
use super::{BUSY_TIMEOUT, signed};
use crate::backend::{Append, Failure, Head, Locked, Request, Rows, Sign};
use ledger_core::record::Given;
use ledger_core::{
    DeploymentId, EventId, NodeId, Position, Record, RequestId, StreamId, Timestamp, Version,
};
use rusqlite::types::Type;
use rusqlite::{Connection, Error, ErrorCode, OptionalExtension, Row};
use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

/// Makes the connection that writes.
pub(super) type Connect = Box<dyn Fn() -> Result<Connection, Error> + Send>;

/// The writing side of the database.
pub(crate) struct SqliteAppender {
    connect: Connect,
    /// Missing after a failure, until the next attempt connects anew, and while it is away.
    engine: Option<Box<Engine>>,
    away: Option<Away>,
    /// Started when it is first needed.
    beside: Option<Beside>,
    presumed: Presumed,
    /// Whether the open transaction erases something.
    erases: bool,
    /// Whether the write-ahead log still has what was erased.
    erased: bool,
    /// Held for as long as the database is used.
    _lock: File,
}

impl SqliteAppender {
    pub(super) fn new(connect: Connect, connection: Connection, lock: File) -> Self {
        let engine = Some(Box::new(Engine { connection, names: Interner::default() }));
        Self {
            connect,
            engine,
            away: None,
            beside: None,
            presumed: Presumed::default(),
            erases: false,
            erased: false,
            _lock: lock,
        }
    }

    /// Returns the connection that `lock` made sure of, once it has inserted what it
    /// was given.
    fn engine(&mut self) -> Result<&mut Engine, Failure> {
        if let Some(away) = self.away.take() {
            let lost = || failure(Error::InvalidQuery);
            let (engine, inserted) = away.recall().ok_or_else(lost)?;
            self.engine = Some(engine);
            inserted.map_err(|error| self.refused(error))?;
        }
        self.engine.as_deref_mut().ok_or_else(|| failure(Error::InvalidQuery))
    }

    fn connection(&mut self) -> Result<&Connection, Failure> {
        self.engine().map(|engine| &engine.connection)
    }

    fn begin(&mut self) -> Result<Head, Failure> {
        const HEAD: &str = "SELECT (SELECT coalesce(max(position), 0) FROM events), \
                            (SELECT coalesce(max(cursor), 0) FROM outputs), \
                            (SELECT coalesce(max(size), 0) FROM checkpoints)";
        if self.engine.is_none() && self.away.is_none() {
            let connection = (self.connect)().map_err(failure)?;
            self.engine = Some(Box::new(Engine { connection, names: Interner::default() }));
        }
        let connection = self.connection()?;
        let head = || {
            connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
            connection.prepare_cached(HEAD)?.query_row([], |row| {
                let (position, output, signed) = (row.get(0)?, row.get(1)?, row.get(2)?);
                Ok(Head { position: Position(position), output, signed })
            })
        };
        head().map_err(failure)
    }

    /// Writes and commits one page that changes nothing, so that a full disk shows itself.
    fn write_nothing(&mut self) -> Result<Head, Failure> {
        let head = self.begin()?;
        let connection = self.connection()?;
        connection.execute_batch("PRAGMA user_version = 0; COMMIT").map_err(failure)?;
        Ok(head)
    }

    fn roll_back(&mut self) {
        self.erases = false;
        // What failed there is known, or of no matter any more.
        let _ = self.engine();
        let Some(engine) = &mut self.engine else { return };
        engine.names.abandoned();
        // A connection whose transaction is in an unknown state is given up.
        if !engine.connection.is_autocommit()
            && engine.connection.execute_batch("ROLLBACK").is_err()
        {
            self.engine = None;
        }
    }

    /// Moves the write-ahead log into the database, as far as nobody reads what was
    /// before, and returns whether nothing is left in it. It waits for nobody: every
    /// write would.
    fn empty_the_write_ahead_log(&mut self) -> bool {
        let Ok(connection) = self.connection() else { return false };
        let emptied = connection.busy_timeout(Duration::ZERO).and_then(|()| {
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0))
        });
        // Without its patience, other programs would make writes fail.
        let patient = connection.busy_timeout(BUSY_TIMEOUT);
        matches!((emptied, patient), (Ok(0), Ok(())))
    }

    /// Returns what a batch fails with that the database refused.
    fn refused(&mut self, error: Error) -> Failure {
        let failure = failure(error);
        let overtaken = !failure.surroundings && self.presumed.refused();
        Failure { overtaken, ..failure }
    }

    /// Makes sure that the presumed requests that insert nothing wrote nothing before.
    fn check_absent(&mut self) -> Result<(), Failure> {
        for first in self.presumed.absent() {
            if self.request(first)?.is_some() {
                self.presumed.refused();
                return Err(overtaken());
            }
        }
        Ok(())
    }

    /// Finds the request that an event is the first of.
    fn request(&mut self, first: EventId) -> Result<Option<Request>, Failure> {
        const SQL: &str = "SELECT position, given, events FROM events WHERE event_id = ?";
        self.one(SQL, [first.bytes()], request)
    }

    fn one<T>(
        &mut self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnOnce(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Option<T>, Failure> {
        let connection = self.connection()?;
        let statement = connection.prepare_cached(sql);
        statement
            .and_then(|mut statement| statement.query_row(params, read).optional())
            .map_err(failure)
    }
}

impl Append for SqliteAppender {
    const SHARED: bool = false;
    const THREAD: bool = true;
    const BESIDE: usize = 256;

    async fn lock(&mut self, ids: &[RequestId]) -> Result<Locked, Failure> {
        let head = self.begin()?;
        let mut requests = HashMap::new();
        if self.presumed.begin(ids) {
            return Ok(Locked { head, requests });
        }
        for id in ids {
            // A request is known by its first event, whose id is derived from it.
            let found = self.request(EventId::derive(*id, 0))?;
            requests.extend(found.map(|request| (*id, request)));
        }
        Ok(Locked { head, requests })
    }

    async fn confirm(&mut self) -> Result<(), Failure> {
        self.engine()?;
        self.check_absent()
    }

    async fn stream_version(&mut self, stream: &StreamId) -> Result<Version, Failure> {
        const SQL: &str = "SELECT coalesce(max(version), 0) FROM events \
                           WHERE stream = (SELECT id FROM names WHERE name = ?)";
        let mut scratch = String::new();
        let name = stream_name(stream, &mut scratch);
        let version = self.one(SQL, [name], |row| row.get(0))?;
        Ok(Version(version.unwrap_or_default()))
    }

    async fn version_behind(&mut self, stream: &StreamId) -> Result<Version, Failure> {
        // What the writer does not remember is the streams of activations, which are
        // written once: this one is new, or a guard refuses the batch.
        if self.presumed.holds() { Ok(Version::ZERO) } else { self.stream_version(stream).await }
    }

    async fn has_annex(&mut self, position: Position) -> Result<bool, Failure> {
        const SQL: &str = "SELECT 1 FROM annexes WHERE position = ?";
        Ok(self.one(SQL, [signed(position.0)], |_| Ok(()))?.is_some())
    }

    async fn output_end(&mut self, deployment: DeploymentId) -> Result<u64, Failure> {
        const SQL: &str = "SELECT start + length FROM outputs WHERE deployment = ? \
                           ORDER BY start DESC LIMIT 1";
        Ok(self.one(SQL, [deployment.bytes()], |row| row.get(0))?.unwrap_or_default())
    }

    async fn output_at(
        &mut self,
        deployment: DeploymentId,
        offset: u64,
    ) -> Result<Option<Vec<u8>>, Failure> {
        const SQL: &str = "SELECT bytes FROM outputs WHERE deployment = ? AND start = ?";
        self.one(SQL, (deployment.bytes(), signed(offset)), |row| row.get(0))
    }

    fn hand_over(&mut self, records: &mut Vec<Record>) -> Option<Arc<Vec<Record>>> {
        if self.away.is_none() {
            // Without a second thread, everything is inserted by this one.
            let beside = self.beside.take().or_else(|| Beside::start().ok())?;
            match beside.begin(self.engine.take()?) {
                Ok(away) => (self.away, self.beside) = (Some(away), Some(beside)),
                Err(engine) => self.engine = Some(engine),
            }
        }
        let away = self.away.as_ref()?;
        self.presumed.inserted(records);
        let next = Vec::with_capacity(records.len());
        let records = Arc::new(std::mem::replace(records, next));
        away.insert(Arc::clone(&records));
        Some(records)
    }

    async fn insert(&mut self, rows: &Rows) -> Result<(), Failure> {
        self.erases = !rows.erasures.is_empty();
        let engine = self.engine()?;
        let inserted = insert::rows(&engine.connection, &mut engine.names, rows);
        inserted.map_err(|error| self.refused(error))?;
        self.presumed.inserted(&rows.records);
        self.check_absent()
    }

    async fn commit(&mut self) -> Result<(), Failure> {
        let engine = self.engine()?;
        engine
            .connection
            .prepare_cached("COMMIT")
            .and_then(|mut commit| commit.execute([]))
            .map_err(failure)?;
        engine.names.committed();
        let erased_before = self.erased;
        self.erased |= std::mem::take(&mut self.erases);
        if self.erased {
            self.erased = !self.empty_the_write_ahead_log();
            if self.erased && !erased_before {
                tracing::warn!(
                    "an erased annex is still in the write-ahead log, for somebody reads the \
                     database; it goes with the first write after that"
                );
            }
        }
        Ok(())
    }

    async fn abandon(&mut self) {
        self.roll_back();
    }

    async fn probe(&mut self) -> Result<Head, Failure> {
        let result = self.write_nothing();
        if result.is_err() {
            self.roll_back();
        }
        result
    }

    async fn beat(&mut self, _: NodeId) -> Result<Vec<Sign>, Failure> {
        // There is only one.
        Ok(Vec::new())
    }

    async fn last_seen(&mut self, _: NodeId) -> Result<Option<Timestamp>, Failure> {
        Ok(None)
    }

    async fn close(mut self) {
        let _ = self.engine();
        if let Some(engine) = self.engine.take() {
            let connection = engine.connection;
            let _ = connection.execute_batch("PRAGMA optimize");
            if let Err((_, error)) = connection.close() {
                tracing::warn!(%error, "the database did not close cleanly; it will recover when opened");
            }
        }
    }
}

fn request(row: &Row<'_>) -> Result<Request, Error> {
    let (first, digest, events): (u64, Option<[u8; 8]>, Option<u32>) =
        (row.get(0)?, row.get(1)?, row.get(2)?);
    let no_first = || Error::InvalidColumnType(1, "given".to_owned(), Type::Null);
    let given = digest.zip(events).map(|(digest, events)| Given { digest, events });
    Ok(Request { first: Position(first), given: given.ok_or_else(no_first)? })
}

/// Returns what a batch fails with whose verdicts were taken without knowing that one of
/// its requests wrote something before.
fn overtaken() -> Failure {
    Failure {
        surroundings: false,
        refused: true,
        overtaken: true,
        why: "the database refuses this write".to_owned(),
        source: "a request that was presumed to be new wrote something before".into(),
    }
}

/// Says what a failure means, and what to do about it.
fn failure(error: Error) -> Failure {
    let (surroundings, why) = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            (true, "another program has locked the database; close it")
        }
        Some(ErrorCode::OutOfMemory) => (true, "the server has no memory left"),
        Some(ErrorCode::ReadOnly) => {
            (true, "the database cannot be written; check the rights of the data folder")
        }
        Some(ErrorCode::SystemIoFailure) => {
            (true, "the disk of the data folder fails; look into the system's log")
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            (true, "the database file is damaged; stop the server, restore a backup")
        }
        Some(ErrorCode::DiskFull) => (true, "the disk of the data folder is full; make room"),
        Some(ErrorCode::CannotOpen) => {
            (true, "the database cannot be opened; check the data folder")
        }
        // Something about this one write: a trigger, a constraint, a bound.
        Some(_) => (false, "the database refuses this write"),
        None => match &error {
            // Something that is stored cannot be what this program wrote.
            Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::InvalidColumnType(..) => {
                (true, "the database file is damaged; stop the server, restore a backup")
            }
            _ => (true, "the connection to the database is lost"),
        },
    };
    let why = why.to_owned();
    Failure { surroundings, refused: false, overtaken: false, why, source: Box::new(error) }
}
