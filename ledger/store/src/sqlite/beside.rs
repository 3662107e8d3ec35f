//! A thread that inserts what was judged, while the writer judges more.
//!
//! The connection goes there with the first rows of a large request, and comes back
//! before anything else is asked of it.

use super::insert;
use super::intern::Interner;
use crate::backend::Rows;
use rusqlite::{Connection, Error};
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
    rows: Receiver<Rows>,
    back: Sender<(Box<Engine>, Result<(), Error>)>,
}

/// The thread. It ends when this is dropped.
pub(super) struct Beside {
    turns: Sender<Turn>,
}

/// A connection that is away.
pub(super) struct Away {
    rows: Sender<Rows>,
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
        let ((rows, given), (back, returned)) = (mpsc::channel(), mpsc::channel());
        match self.turns.send(Turn { engine, rows: given, back }) {
            Ok(()) => Ok(Away { rows, back: returned }),
            Err(mpsc::SendError(turn)) => Err(turn.engine),
        }
    }
}

impl Away {
    /// Has rows inserted behind those given before.
    pub(super) fn insert(&self, rows: Rows) {
        // A thread that is gone has taken the connection along, which shows at its return.
        let _ = self.rows.send(rows);
    }

    /// Waits until everything was inserted, or something failed.
    ///
    /// `None` if the thread is gone, and the transaction with it.
    pub(super) fn recall(self) -> Option<(Box<Engine>, Result<(), Error>)> {
        drop(self.rows);
        self.back.recv().ok()
    }
}

impl Turn {
    fn take(self) {
        let Self { mut engine, rows, back } = self;
        let mut inserted = Ok(());
        // Also what comes after a failure is taken, so that it comes to its end.
        for rows in rows {
            inserted =
                inserted.and_then(|()| insert::rows(&engine.connection, &mut engine.names, &rows));
        }
        // Nobody waits for it any longer only if the log was given up.
        let _ = back.send((engine, inserted));
    }
}
