//! One row, column by column. Each value must be stored as the store writes it: two
//! forms that read alike would have one envelope.

use super::trouble;
use crate::verify::Stop;
use ledger_core::verify::Fault;
use ledger_core::{EventId, Position, Timestamp};
use rusqlite::Row;
use rusqlite::types::ValueRef;

/// A row, and the position that names it in faults.
pub(super) struct Cells<'r> {
    pub(super) row: &'r Row<'r>,
    pub(super) position: Position,
}

impl<'r> Cells<'r> {
    pub(super) fn fault(&self, column: &'static str, what: impl std::fmt::Display) -> Stop {
        Fault::column(self.position, column, what).into()
    }

    fn wrong(&self, column: &'static str, expected: &str, found: ValueRef<'_>) -> Stop {
        let found = found.data_type();
        self.fault(column, format_args!("{found} stands where {expected} should"))
    }

    pub(super) fn integer(&self, idx: usize, column: &'static str) -> Result<i64, Stop> {
        match self.row.get_ref(idx).map_err(trouble)? {
            ValueRef::Integer(value) => Ok(value),
            other => Err(self.wrong(column, "an integer", other)),
        }
    }

    pub(super) fn maybe_integer(
        &self,
        idx: usize,
        column: &'static str,
    ) -> Result<Option<i64>, Stop> {
        match self.row.get_ref(idx).map_err(trouble)? {
            ValueRef::Null => Ok(None),
            _ => self.integer(idx, column).map(Some),
        }
    }

    /// Reads an integer that is not negative.
    pub(super) fn number(&self, idx: usize, column: &'static str) -> Result<u64, Stop> {
        let value = self.integer(idx, column)?;
        let number = u64::try_from(value);
        number.map_err(|_| self.fault(column, format_args!("{value} is negative")))
    }

    pub(super) fn maybe_blob(
        &self,
        idx: usize,
        column: &'static str,
    ) -> Result<Option<&'r [u8]>, Stop> {
        match self.row.get_ref(idx).map_err(trouble)? {
            ValueRef::Null => Ok(None),
            ValueRef::Blob(bytes) => Ok(Some(bytes)),
            other => Err(self.wrong(column, "a blob", other)),
        }
    }

    pub(super) fn blob(&self, idx: usize, column: &'static str) -> Result<&'r [u8], Stop> {
        let blob = self.maybe_blob(idx, column)?;
        blob.ok_or_else(|| self.fault(column, "nothing stands there"))
    }

    pub(super) fn text(&self, idx: usize, column: &'static str) -> Result<&'r [u8], Stop> {
        match self.row.get_ref(idx).map_err(trouble)? {
            ValueRef::Text(text) => Ok(text),
            other => Err(self.wrong(column, "text", other)),
        }
    }

    pub(super) fn maybe_bytes<const N: usize>(
        &self,
        idx: usize,
        column: &'static str,
    ) -> Result<Option<[u8; N]>, Stop> {
        let Some(bytes) = self.maybe_blob(idx, column)? else { return Ok(None) };
        let wrong = |_| {
            let what = format_args!("{} bytes where {N} should stand", bytes.len());
            self.fault(column, what)
        };
        bytes.try_into().map(Some).map_err(wrong)
    }

    pub(super) fn bytes<const N: usize>(
        &self,
        idx: usize,
        column: &'static str,
    ) -> Result<[u8; N], Stop> {
        let bytes = self.maybe_bytes(idx, column)?;
        bytes.ok_or_else(|| self.fault(column, "nothing stands there"))
    }

    pub(super) fn maybe_id(
        &self,
        idx: usize,
        column: &'static str,
    ) -> Result<Option<EventId>, Stop> {
        Ok(self.maybe_bytes(idx, column)?.map(EventId::from_bytes))
    }

    pub(super) fn time(&self, column: &'static str, micros: i64) -> Result<Timestamp, Stop> {
        let time = Timestamp::from_micros(micros);
        if time.micros() == micros {
            Ok(time)
        } else {
            Err(self.fault(column, format_args!("{micros} is outside of the years 1 to 9999")))
        }
    }
}
