//! The indexes, against their tables. An index that disagrees hides events from
//! whoever asks by stream or id, and lets the guards be passed.
//!
//! Table and index have the same rows if the sums over a keyed hash of each row are
//! the same; the key is drawn anew each time, so nobody can prepare rows for it.

use super::trouble;
use crate::verify::Stop;
use ledger_core::verify::Fault;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
use std::cmp::Ordering;
use std::hash::{BuildHasher, RandomState};

/// A sum over rows that does not depend on their order.
#[derive(Clone, Debug)]
pub(super) struct Sum {
    key: RandomState,
    rows: u64,
    sum: u64,
}

impl Sum {
    fn new(key: &RandomState) -> Self {
        Self { key: key.clone(), rows: 0, sum: 0 }
    }

    fn add(&mut self, row: impl std::hash::Hash) {
        self.rows += 1;
        self.sum = self.sum.wrapping_add(self.key.hash_one(row));
    }

    fn equals(&self, other: &Self) -> bool {
        (self.rows, self.sum) == (other.rows, other.sum)
    }
}

/// The sums of all indexes that are read.
#[derive(Clone, Debug)]
pub(super) struct Sums {
    ids: Sum,
    streams: Sum,
    outputs: Sum,
    names: Sum,
}

impl Sums {
    pub(super) fn new() -> Self {
        let key = RandomState::new();
        let sum = || Sum::new(&key);
        Self { ids: sum(), streams: sum(), outputs: sum(), names: sum() }
    }

    /// Begins sums that can be compared with these.
    pub(super) fn others(&self) -> Self {
        let sum = || Sum::new(&self.ids.key);
        Self { ids: sum(), streams: sum(), outputs: sum(), names: sum() }
    }

    pub(super) fn event(&mut self, position: i64, event_id: &[u8; 16], stream: i64, version: i64) {
        self.ids.add((event_id.as_slice(), position));
        self.streams.add((stream, version, position));
    }

    pub(super) fn output(&mut self, cursor: u64, deployment: &[u8; 16], offset: u64, length: u64) {
        let (cursor, offset, length) = (cursor as i64, offset as i64, length as i64);
        self.outputs.add((deployment.as_slice(), offset, length, cursor));
    }

    /// Adds a name. An id and a text of the same bytes are two names.
    pub(super) fn name(&mut self, id: i64, is_text: bool, name: &[u8]) {
        self.names.add((is_text, name, id));
    }

    /// Compares what the tables have with what the indexes have.
    pub(super) fn compare(&self, indexes: &Self) -> Result<(), Fault> {
        let each = [
            ("events_id", "events", &self.ids, &indexes.ids),
            ("events_stream", "events", &self.streams, &indexes.streams),
            ("outputs_deployment", "outputs", &self.outputs, &indexes.outputs),
            ("sqlite_autoindex_names_1", "names", &self.names, &indexes.names),
        ];
        match each.into_iter().find(|(.., table, index)| !table.equals(index)) {
            Some((index, table, ..)) => Err(disagrees(index, table)),
            None => Ok(()),
        }
    }
}

fn disagrees(index: &str, table: &str) -> Fault {
    Fault::container(format_args!(
        "the index {index} does not have the rows of its table {table}: one of them was changed"
    ))
}

/// How far the tables are read. What others append meanwhile lies beyond it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub(super) position: i64,
    pub(super) cursor: i64,
    pub(super) name: i64,
}

/// Reads the indexes.
pub(super) fn read(connection: &Connection, mut sums: Sums, ends: Ends) -> Result<Sums, Stop> {
    const IDS: &str =
        "SELECT event_id, position FROM events INDEXED BY events_id ORDER BY event_id";
    const STREAMS: &str = "SELECT stream, version, position FROM events INDEXED BY events_stream \
                           ORDER BY stream, version";
    const OUTPUTS: &str = "SELECT deployment, start, length, cursor FROM outputs \
                           INDEXED BY outputs_deployment ORDER BY deployment, start, length";
    const NAMES: &str = "SELECT name, id FROM names ORDER BY name";
    let mut before_id = Vec::new();
    each(connection, IDS, |row| {
        let (id, position) = (blob(row, 0)?, integer(row, 1)?);
        if position > ends.position {
            return Ok(());
        }
        ascends("events_id", before_id.as_slice().cmp(id))?;
        before_id.clear();
        before_id.extend_from_slice(id);
        sums.ids.add((id, position));
        Ok(())
    })?;
    let mut before = (i64::MIN, 0);
    each(connection, STREAMS, |row| {
        let (stream, version, position) = (integer(row, 0)?, integer(row, 1)?, integer(row, 2)?);
        if position > ends.position {
            return Ok(());
        }
        ascends("events_stream", before.cmp(&(stream, version)))?;
        before = (stream, version);
        sums.streams.add((stream, version, position));
        Ok(())
    })?;
    let mut before_piece = (Vec::new(), 0, 0);
    each(connection, OUTPUTS, |row| {
        let (deployment, start) = (blob(row, 0)?, integer(row, 1)?);
        let (length, cursor) = (integer(row, 2)?, integer(row, 3)?);
        if cursor > ends.cursor {
            return Ok(());
        }
        let piece = (deployment.to_vec(), start, length);
        ascends("outputs_deployment", before_piece.cmp(&piece))?;
        before_piece = piece;
        sums.outputs.add((deployment, start, length, cursor));
        Ok(())
    })?;
    each(connection, NAMES, |row| {
        let (name, id) = (row.get_ref(0).map_err(trouble)?, integer(row, 1)?);
        if id <= ends.name {
            match name {
                ValueRef::Text(name) => sums.name(id, true, name),
                ValueRef::Blob(name) => sums.name(id, false, name),
                other => return Err(strange(other)),
            }
        }
        Ok(())
    })?;
    Ok(sums)
}

fn ascends(index: &str, order: Ordering) -> Result<(), Stop> {
    match order {
        Ordering::Less => Ok(()),
        Ordering::Equal => {
            Err(Fault::container(format_args!("the index {index} has an entry twice")).into())
        }
        Ordering::Greater => {
            Err(Fault::container(format_args!("the index {index} is out of order")).into())
        }
    }
}

fn each(
    connection: &Connection,
    sql: &str,
    mut take: impl FnMut(&Row<'_>) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let mut statement = connection.prepare(sql).map_err(trouble)?;
    let mut rows = statement.query([]).map_err(trouble)?;
    while let Some(row) = rows.next().map_err(trouble)? {
        take(row)?;
    }
    Ok(())
}

fn blob<'r>(row: &'r Row<'_>, idx: usize) -> Result<&'r [u8], Stop> {
    match row.get_ref(idx).map_err(trouble)? {
        ValueRef::Blob(bytes) => Ok(bytes),
        other => Err(strange(other)),
    }
}

fn integer(row: &Row<'_>, idx: usize) -> Result<i64, Stop> {
    match row.get_ref(idx).map_err(trouble)? {
        ValueRef::Integer(value) => Ok(value),
        other => Err(strange(other)),
    }
}

fn strange(value: ValueRef<'_>) -> Stop {
    let found = value.data_type();
    Fault::container(format_args!("an index has {found} where its table has something else")).into()
}

/// Makes sure that the tiles are as many as a log of the size has, in the table and
/// in its index: one for one they were found by the index.
pub(super) fn tiles(connection: &Connection, size: u64) -> Result<(), Stop> {
    let full = |level: u32| size.checked_shr(8 * (level + 1)).unwrap_or(0);
    let expected: u64 = (0..8).map(full).sum();
    for sql in [
        "SELECT count(*) FROM tiles NOT INDEXED",
        "SELECT count(*) FROM tiles INDEXED BY tiles_place",
    ] {
        let found: i64 = connection.query_row(sql, [], |row| row.get(0)).map_err(trouble)?;
        if u64::try_from(found) != Ok(expected) {
            let what = format!("the table tiles has {found} rows; {expected} tiles are full");
            return Err(Fault::container(what).into());
        }
    }
    Ok(())
}
