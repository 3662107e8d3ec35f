//! Names that many events share, each stored once and known by a number.

use crate::limits::IDS_KNOWN_MAX;
use foldhash::fast::RandomState;
use ledger_core::StreamId;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Error, OptionalExtension, ToSql};
use std::collections::HashMap;
use std::fmt::Write;

/// One entry of the table `names`.
#[derive(Clone, Copy)]
pub(super) enum Name<'a> {
    Text(&'a str),
    /// The id of an activation: its stream's name, and what its events correlate by.
    Id([u8; 16]),
}

impl ToSql for Name<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Id(id) => ValueRef::Blob(id),
        }))
    }
}

/// Numbers by names.
#[derive(Default)]
struct Numbers {
    texts: HashMap<String, i64, RandomState>,
    ids: HashMap<[u8; 16], i64, RandomState>,
}

impl Numbers {
    fn get(&self, name: Name<'_>) -> Option<i64> {
        match name {
            Name::Text(text) => self.texts.get(text).copied(),
            Name::Id(id) => self.ids.get(&id).copied(),
        }
    }

    fn insert(&mut self, name: Name<'_>, number: i64) {
        match name {
            Name::Text(text) => drop(self.texts.insert(text.to_owned(), number)),
            Name::Id(id) => drop(self.ids.insert(id, number)),
        }
    }
}

/// The writer's knowledge of the table `names`.
#[derive(Default)]
pub(super) struct Interner {
    /// What is committed.
    known: Numbers,
    /// What the open transaction added, or only needed.
    pending: Numbers,
    /// Streams of which the name need not be written out; those of activations come and go.
    streams: HashMap<StreamId, i64, RandomState>,
    pending_streams: Vec<(StreamId, i64)>,
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
        if let Some(number) = self.streams.get(stream) {
            return Ok(*number);
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        let number = self.number(connection, stream_name(stream, &mut scratch));
        self.scratch = scratch;
        if let Ok(number) = number
            && !matches!(stream, StreamId::Activation(_))
        {
            self.pending_streams.push((stream.clone(), number));
        }
        number
    }

    /// Returns the number of a name, which is new if need be.
    pub(super) fn number(&mut self, connection: &Connection, name: Name<'_>) -> Result<i64, Error> {
        const FIND: &str = "SELECT id FROM names WHERE name = ?";
        const NEWEST: &str = "SELECT coalesce(max(id), 0) FROM names";
        const INSERT: &str = "INSERT INTO names (id, name) VALUES (?, ?)";
        if let Some(number) = self.known.get(name).or_else(|| self.pending.get(name)) {
            return Ok(number);
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
        self.pending.insert(name, number);
        Ok(number)
    }

    /// Keeps what the transaction added.
    pub(super) fn committed(&mut self) {
        self.known.texts.extend(self.pending.texts.drain());
        self.streams.extend(self.pending_streams.drain(..));
        if self.known.ids.len() + self.pending.ids.len() > IDS_KNOWN_MAX {
            self.known.ids.clear();
        }
        // A transaction may need more than are to be remembered.
        self.known.ids.extend(self.pending.ids.drain().take(IDS_KNOWN_MAX));
    }

    /// Forgets what the transaction added.
    pub(super) fn abandoned(&mut self) {
        self.pending.texts.clear();
        self.pending_streams.clear();
        self.pending.ids.clear();
    }
}

/// Returns a stream's name as it is stored; a text lies in `scratch`.
pub(super) fn stream_name<'s>(stream: &StreamId, scratch: &'s mut String) -> Name<'s> {
    if let StreamId::Activation(id) = stream {
        return Name::Id(id.bytes());
    }
    scratch.clear();
    // Writing to a String cannot fail.
    let _ = write!(scratch, "{stream}");
    Name::Text(scratch)
}
