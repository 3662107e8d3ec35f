//! The tables beside the events, each read along by its key.

use super::super::cells::{Cells, Wrong};
use super::trouble;
use crate::verify::{Batch, Place, Span, Stop};
use ledger_core::verify::Fault;
use ledger_core::{DeploymentId, Position, Timestamp};
use rusqlite::{Row, Rows};

/// A row's key, and the row or what is wrong with it.
type Keyed<T> = (u64, Result<T, Stop>);

/// A table that is read along, with its next row.
pub(super) struct Along<'s, T> {
    rows: Rows<'s>,
    read: fn(&Row<'_>) -> Result<Keyed<T>, Stop>,
    next: Option<Keyed<T>>,
    table: &'static str,
}

impl<'s, T> Along<'s, T> {
    pub(super) fn new(
        rows: Rows<'s>,
        table: &'static str,
        read: fn(&Row<'_>) -> Result<Keyed<T>, Stop>,
    ) -> Result<Self, Stop> {
        let mut along = Self { rows, read, next: None, table };
        along.take_next()?;
        Ok(along)
    }

    /// Takes the next row, whatever its key.
    pub(super) fn take_next(&mut self) -> Result<Option<Keyed<T>>, Stop> {
        let next = match self.rows.next().map_err(trouble)? {
            Some(row) => Some((self.read)(row)?),
            None => None,
        };
        if let (Some((before, _)), Some((key, _))) = (&self.next, &next)
            && key <= before
        {
            let what = format!("the table {} has the key {key} behind {before}", self.table);
            return Err(Fault::container(what).into());
        }
        Ok(std::mem::replace(&mut self.next, next))
    }

    /// Returns the next row.
    pub(super) fn peek(&self) -> Option<&Keyed<T>> {
        self.next.as_ref()
    }

    /// Takes the next row if it has the key. One with a smaller key belongs to nothing.
    pub(super) fn take(&mut self, key: u64) -> Result<Option<T>, Stop> {
        match &self.next {
            Some((next, _)) if *next < key => {
                let what = format!(
                    "the table {} has a row for {next} that belongs to nothing",
                    self.table
                );
                Err(Fault::container(what).into())
            }
            Some((next, _)) if *next == key => self.take_next()?.map(|(_, row)| row).transpose(),
            _ => Ok(None),
        }
    }
}

/// A salt and the bytes of an annex.
pub(super) type Annex = ([u8; 16], Vec<u8>);

pub(super) const ANNEXES: &str =
    "SELECT position, salt, bytes FROM annexes NOT INDEXED WHERE position >= ? ORDER BY position";

pub(super) fn annex(row: &Row<'_>) -> Result<Keyed<Annex>, Stop> {
    let (cells, key) = keyed(row)?;
    let salt = cells.maybe_bytes(1, "annex").ok().flatten();
    let bytes = cells.maybe_blob(2, "annex").ok().flatten();
    let annex = salt.zip(bytes).map(|(salt, bytes)| (salt, bytes.to_vec()));
    let what = "it was changed: salt or bytes are not stored as an annex's are".to_owned();
    let position = cells.position;
    Ok((key, annex.ok_or_else(|| Fault::Annex { position, what }.into())))
}

pub(super) const ERASURES: &str =
    "SELECT position, ordered FROM erasures NOT INDEXED WHERE position >= ? ORDER BY position";

pub(super) fn erasure(row: &Row<'_>) -> Result<Keyed<Position>, Stop> {
    let (cells, key) = keyed(row)?;
    Ok((key, cells.number(1, "erasure").map(Position).map_err(Stop::from)))
}

pub(super) const CHECKPOINTS: &str =
    "SELECT size, note FROM checkpoints NOT INDEXED WHERE size >= ? ORDER BY size";

pub(super) fn checkpoint(row: &Row<'_>) -> Result<Keyed<Vec<u8>>, Stop> {
    let (cells, size) = keyed(row)?;
    let what = "it is not stored as text".to_owned();
    let note = cells.text(1, "checkpoint").map(<[u8]>::to_vec);
    Ok((size, note.map_err(|_| Fault::Checkpoint { size, outside: false, what }.into())))
}

/// A piece of output, its bytes apart.
pub(super) struct Piece {
    place: Place,
    bytes: Vec<u8>,
}

impl Piece {
    /// When it was stored.
    pub(super) fn stored_at(&self) -> Timestamp {
        self.place.stored_at
    }

    /// Puts it into a batch.
    pub(super) fn put(self, batch: &mut Batch) -> Place {
        Place { bytes: batch.keep(&self.bytes), ..self.place }
    }
}

pub(super) const OUTPUTS: &str = "SELECT cursor, deployment, start, length, stored_at, bytes \
     FROM outputs NOT INDEXED ORDER BY cursor";

pub(super) fn output(row: &Row<'_>) -> Result<Keyed<Piece>, Stop> {
    let (cells, cursor) = keyed(row)?;
    let piece = || {
        let deployment = DeploymentId::from_bytes(cells.bytes(1, "deployment")?);
        let (offset, length) = (cells.number(2, "start")?, cells.number(3, "length")?);
        let stored_at = cells.time("stored_at", cells.integer(4, "stored_at")?)?;
        let bytes = cells.blob(5, "bytes")?;
        if bytes.len() as u64 != length {
            let what = format_args!("{length} stands where {} should", bytes.len());
            return Err(cells.wrong("length", what));
        }
        let place = Place { cursor, deployment, offset, stored_at, bytes: Span::default() };
        Ok(Piece { place, bytes: bytes.to_vec() })
    };
    let wrong = |wrong| match wrong {
        // The key is no position here.
        Wrong::Value { column, what, .. } => {
            Fault::container(format!("the table outputs, cursor {cursor}, {column}: {what}")).into()
        }
        other => Stop::from(other),
    };
    Ok((cursor, piece().map_err(wrong)))
}

fn keyed<'r>(row: &'r Row<'r>) -> Result<(Cells<'r>, u64), Stop> {
    let cells = Cells { row, position: Position::ZERO };
    let key = cells.number(0, "key")?;
    Ok((Cells { row, position: Position(key) }, key))
}
