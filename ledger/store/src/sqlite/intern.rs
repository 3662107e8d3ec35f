//! Texts that many events share, each stored once and known by a number.

use foldhash::fast::RandomState;
use ledger_core::StreamId;
use rusqlite::{Connection, Error, OptionalExtension};
use std::collections::HashMap;
use std::fmt::Write;

/// The writer's knowledge of the table `names`.
#[derive(Default)]
pub(super) struct Interner {
    /// What is committed.
    known: HashMap<String, i64, RandomState>,
    /// What the open transaction added, or only needed.
    pending: HashMap<String, i64, RandomState>,
    /// Where the names of streams are written out, one after the other.
    scratch: String,
}

impl Interner {
    /// Returns the number of a stream's name, which is new if need be.
    pub(super) fn stream(
        &mut self,
        connection: &Connection,
        stream: &StreamId,
    ) -> Result<i64, Error> {
        let mut name = std::mem::take(&mut self.scratch);
        name.clear();
        // Writing to a String cannot fail.
        let _ = write!(name, "{stream}");
        let number = self.text(connection, &name);
        self.scratch = name;
        number
    }

    /// Returns the number of a text, which is new if need be.
    pub(super) fn text(&mut self, connection: &Connection, name: &str) -> Result<i64, Error> {
        const FIND: &str = "SELECT id FROM names WHERE name = ?";
        const NEWEST: &str = "SELECT coalesce(max(id), 0) FROM names";
        const INSERT: &str = "INSERT INTO names (id, name) VALUES (?, ?)";
        if let Some(number) = self.known.get(name).or_else(|| self.pending.get(name)) {
            return Ok(*number);
        }
        let found =
            connection.prepare_cached(FIND)?.query_row([name], |row| row.get(0)).optional()?;
        let number = match found {
            Some(number) => number,
            None => {
                let newest: i64 =
                    connection.prepare_cached(NEWEST)?.query_row([], |row| row.get(0))?;
                let number = newest.saturating_add(1);
                connection.prepare_cached(INSERT)?.execute((number, name))?;
                number
            }
        };
        self.pending.insert(name.to_owned(), number);
        Ok(number)
    }

    /// Keeps what the transaction added, but for what is hardly ever needed again:
    /// the streams of activations, which come and go with the history.
    pub(super) fn committed(&mut self) {
        let pending = self.pending.drain();
        self.known.extend(pending.filter(|(name, _)| !name.starts_with("activation/")));
    }

    /// Forgets what the transaction added.
    pub(super) fn abandoned(&mut self) {
        self.pending.clear();
    }
}
