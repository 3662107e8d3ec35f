//! The connections that read: a few, each used by one question at a time, on the
//! threads that may block.

use super::names::Names;
use super::reader::Reader;
use crate::limits::{READ_WAIT_MAX, SQLITE_READERS};
use crate::read::ReadError;
use rusqlite::Error;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// Makes a connection that cannot write.
pub(super) type Connect = fn(&std::path::Path) -> Result<rusqlite::Connection, Error>;

/// What the questions share.
struct Shared {
    path: PathBuf,
    connect: Connect,
    names: Arc<Names>,
    /// The newest last, which is used first: its pages are the warmest.
    idle: Mutex<Vec<Reader>>,
}

pub(super) struct Pool {
    shared: Arc<Shared>,
    /// As many as there may be connections. Who asks first gets one first.
    turns: Arc<Semaphore>,
    closed: AtomicBool,
}

impl Pool {
    /// Makes the first connection, to see that the database can be read.
    pub(super) fn open(path: PathBuf, connect: Connect) -> Result<Self, Error> {
        let (names, idle) = (Arc::default(), Mutex::default());
        let shared = Arc::new(Shared { path, connect, names, idle });
        shared.give_back(shared.reader()?);
        let turns = Arc::new(Semaphore::new(SQLITE_READERS));
        Ok(Self { shared, turns, closed: AtomicBool::new(false) })
    }

    /// Asks the database, once a connection is free.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Reader) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let turn = Arc::clone(&self.turns).acquire_owned();
        let turn = match tokio::time::timeout(READ_WAIT_MAX, turn).await {
            Ok(turn) => turn.map_err(|_closed| ReadError::Closed)?,
            Err(_) => return Err(ReadError::Database(BUSY.into())),
        };
        if self.closed.load(Ordering::Acquire) {
            return Err(ReadError::Closed);
        }
        let shared = Arc::clone(&self.shared);
        // The turn goes along: who asked may be gone before the answer is there.
        let asked = tokio::task::spawn_blocking(move || {
            let answer = shared.ask(question);
            drop(turn);
            answer
        });
        asked.await.unwrap_or_else(|ended| Err(ReadError::Database(Box::new(ended))))
    }

    /// Waits for the questions that were begun, refuses all others, and closes every
    /// connection.
    pub(super) async fn close(&self) {
        self.closed.store(true, Ordering::Release);
        // Every turn is out only when nobody asks any more. If it fails, the pool was
        // closed before.
        let turns = u32::try_from(SQLITE_READERS).unwrap_or(u32::MAX);
        let all = self.turns.acquire_many(turns).await;
        self.shared.idle().clear();
        self.turns.close();
        drop(all);
    }
}

/// Why a question was not asked.
const BUSY: &str = "every connection that reads was busy for half a minute; ask for less at once";

impl Shared {
    fn ask<T>(
        &self,
        question: impl FnOnce(&Reader) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let idle = self.idle().pop();
        let reader = match idle {
            Some(reader) => reader,
            None => self.reader().map_err(|error| ReadError::Database(Box::new(error)))?,
        };
        let answer = question(&reader);
        // One on which the database failed is given up.
        if !matches!(answer, Err(ReadError::Database(_))) {
            self.give_back(reader);
        }
        answer
    }

    fn reader(&self) -> Result<Reader, Error> {
        Ok(Reader::new((self.connect)(&self.path)?, Arc::clone(&self.names)))
    }

    fn give_back(&self, reader: Reader) {
        self.idle().push(reader);
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Reader>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
