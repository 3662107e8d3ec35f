//! A thread that inserts what was judged, while the writer judges more.
//!
//! The connection goes there with the first rows of a large request, and comes back
//! before anything else is asked of it.

use super::insert;
use super::intern::Interner;
use ledger_core::Record;
use rusqlite::{Connection, Error};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

/// A connection with what is known of its table `names`.
pub(super) struct Engine {
    pub(super) connection: Connection,
    pub(super) names: Interner,
}

/// One batch's use of the thread.
struct Turn {
    engine: Box<Engine>,
    records: Receiver<Arc<Vec<Record>>>,
    back: Sender<(Box<Engine>, Result<(), Error>)>,
}

/// The thread. It ends when this is dropped.
pub(super) struct Beside {
    turns: Sender<Turn>,
}

/// A connection that is away.
pub(super) struct Away {
    records: Sender<Arc<Vec<Record>>>,
    back: Receiver<(Box<Engine>, Result<(), Error>)>,
}

impl Beside {
    /// Starts the thread.
    pub(super) fn start() -> std::io::Result<Self> {
        let (turns, given) = mpsc::channel::<Turn>();
        let thread = thread::Builder::new().name("ledger-inserter".to_owned());
        thread.spawn(move || given.into_iter().for_each(Turn::take))?;
        Ok(Self { turns })
    }

    /// Gives the connection away. If the thread is gone, it comes back at once.
    pub(super) fn begin(&self, engine: Box<Engine>) -> Result<Away, Box<Engine>> {
        let ((records, given), (back, returned)) = (mpsc::channel(), mpsc::channel());
        match self.turns.send(Turn { engine, records: given, back }) {
            Ok(()) => Ok(Away { records, back: returned }),
            Err(mpsc::SendError(turn)) => Err(turn.engine),
        }
    }
}

impl Away {
    /// Has events inserted behind those given before.
    pub(super) fn insert(&self, records: Arc<Vec<Record>>) {
        // A thread that is gone has taken the connection along, which shows at its return.
        let _ = self.records.send(records);
    }

    /// Waits until everything was inserted, or something failed.
    ///
    /// `None` if the thread is gone, and the transaction with it.
    pub(super) fn recall(self) -> Option<(Box<Engine>, Result<(), Error>)> {
        drop(self.records);
        self.back.recv().ok()
    }
}

impl Turn {
    fn take(self) {
        let Self { mut engine, records, back } = self;
        let mut inserted = Ok(());
        // Also what comes after a failure is taken, so that it comes to its end.
        for records in records {
            inserted = inserted
                .and_then(|()| insert::records(&engine.connection, &mut engine.names, &records));
        }
        // Nobody waits for it any longer only if the log was given up.
        let _ = back.send((engine, inserted));
    }
}
