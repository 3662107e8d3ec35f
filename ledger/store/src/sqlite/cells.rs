//! One row, column by column. Each value must be stored as the store writes it: two
//! forms that read alike would have one envelope.

use super::whole;
use crate::read::ReadError;
use crate::verify::Stop;
use ledger_core::record::{ActorKind, Given};
use ledger_core::verify::Fault;
use ledger_core::{AnnexDigest, EventId, Position, Timestamp, Version};
use rusqlite::types::ValueRef;
use rusqlite::{Error, Row};
use std::fmt::Display;

/// A row, and the position that names it in what is wrong with it.
#[derive(Clone, Copy)]
pub(super) struct Cells<'r> {
    pub(super) row: &'r Row<'r>,
    pub(super) position: Position,
}

/// Why a value is not to be had.
pub(super) enum Wrong {
    /// The store cannot have written it.
    Value { position: Position, column: &'static str, what: String },
    /// The database failed.
    Database(Error),
}

impl From<Error> for Wrong {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

impl Wrong {
    /// Returns it as what a reader is told.
    pub(super) fn told(self) -> ReadError {
        match self {
            Self::Value { position, column, what } => ReadError::Corrupt { position, column, what },
            Self::Database(error) => ReadError::Database(Box::new(error)),
        }
    }
}

impl From<Wrong> for Stop {
    fn from(wrong: Wrong) -> Self {
        match wrong {
            Wrong::Value { position, column, what } => Fault::column(position, column, what).into(),
            Wrong::Database(error) => whole::trouble(error),
        }
    }
}

/// The columns of an event in the table `events e`, in the order of [`Cells::event`].
macro_rules! event_columns {
    () => {
        "e.position, e.stream, e.version, e.event_id, e.type, e.recorded_at, e.lag, \
         e.actor_kind, e.actor, e.correlation, e.causation_id, e.annex_digest, e.given, \
         e.events, e.payload"
    };
}
pub(super) use event_columns;

/// How many columns these are: where those that a query adds begin.
pub(super) const EVENT_COLUMNS: usize = 15;

/// An event's row. Its names are still numbers.
pub(super) struct EventRow<'r> {
    pub(super) stream: i64,
    pub(super) version: Version,
    pub(super) event_id: [u8; 16],
    pub(super) type_name: i64,
    pub(super) recorded_at: Timestamp,
    pub(super) occurred_at: Timestamp,
    pub(super) actor_kind: ActorKind,
    pub(super) actor: i64,
    pub(super) correlation: Option<i64>,
    pub(super) causation_id: Option<EventId>,
    pub(super) annex_digest: Option<AnnexDigest>,
    pub(super) given: Option<Given>,
    pub(super) payload: &'r [u8],
}

impl<'r> Cells<'r> {
    /// Reads everything of an event but its position.
    pub(super) fn event(self) -> Result<EventRow<'r>, Wrong> {
        let recorded_at = self.time("recorded_at", self.integer(5, "recorded_at")?)?;
        Ok(EventRow {
            stream: self.integer(1, "stream")?,
            version: Version(self.number(2, "version")?),
            event_id: self.bytes(3, "event_id")?,
            type_name: self.integer(4, "type")?,
            recorded_at,
            occurred_at: self.occurred_at(6, recorded_at)?,
            actor_kind: self.actor_kind(7)?,
            actor: self.integer(8, "actor")?,
            correlation: self.maybe_integer(9, "correlation")?,
            causation_id: self.maybe_id(10, "causation_id")?,
            annex_digest: self.maybe_bytes(11, "annex_digest")?.map(AnnexDigest),
            given: self.given(12)?,
            payload: self.blob(14, "payload")?,
        })
    }

    pub(super) fn wrong(&self, column: &'static str, what: impl Display) -> Wrong {
        Wrong::Value { position: self.position, column, what: what.to_string() }
    }

    fn other(&self, column: &'static str, expected: &str, found: ValueRef<'_>) -> Wrong {
        let found = found.data_type();
        self.wrong(column, format_args!("{found} stands where {expected} should"))
    }

    pub(super) fn integer(&self, idx: usize, column: &'static str) -> Result<i64, Wrong> {
        match self.row.get_ref(idx)? {
            ValueRef::Integer(value) => Ok(value),
            other => Err(self.other(column, "an integer", other)),
        }
    }

    fn maybe_integer(&self, idx: usize, column: &'static str) -> Result<Option<i64>, Wrong> {
        match self.row.get_ref(idx)? {
            ValueRef::Null => Ok(None),
            _ => self.integer(idx, column).map(Some),
        }
    }

    /// Reads an integer that is not negative.
    pub(super) fn number(&self, idx: usize, column: &'static str) -> Result<u64, Wrong> {
        let value = self.integer(idx, column)?;
        let number = u64::try_from(value);
        number.map_err(|_| self.wrong(column, format_args!("{value} is negative")))
    }

    pub(super) fn maybe_blob(
        &self,
        idx: usize,
        column: &'static str,
    ) -> Result<Option<&'r [u8]>, Wrong> {
        match self.row.get_ref(idx)? {
            ValueRef::Null => Ok(None),
            ValueRef::Blob(bytes) => Ok(Some(bytes)),
            other => Err(self.other(column, "a blob", other)),
        }
    }

    pub(super) fn blob(&self, idx: usize, column: &'static str) -> Result<&'r [u8], Wrong> {
        let blob = self.maybe_blob(idx, column)?;
        blob.ok_or_else(|| self.wrong(column, "nothing stands there"))
    }

    pub(super) fn text(&self, idx: usize, column: &'static str) -> Result<&'r [u8], Wrong> {
        match self.row.get_ref(idx)? {
            ValueRef::Text(text) => Ok(text),
            other => Err(self.other(column, "text", other)),
        }
    }

    pub(super) fn maybe_bytes<const N: usize>(
        &self,
        idx: usize,
        column: &'static str,
    ) -> Result<Option<[u8; N]>, Wrong> {
        let Some(bytes) = self.maybe_blob(idx, column)? else { return Ok(None) };
        let wrong = |_| {
            let what = format_args!("{} bytes where {N} should stand", bytes.len());
            self.wrong(column, what)
        };
        bytes.try_into().map(Some).map_err(wrong)
    }

    pub(super) fn bytes<const N: usize>(
        &self,
        idx: usize,
        column: &'static str,
    ) -> Result<[u8; N], Wrong> {
        let bytes = self.maybe_bytes(idx, column)?;
        bytes.ok_or_else(|| self.wrong(column, "nothing stands there"))
    }

    fn maybe_id(&self, idx: usize, column: &'static str) -> Result<Option<EventId>, Wrong> {
        Ok(self.maybe_bytes(idx, column)?.map(EventId::from_bytes))
    }

    pub(super) fn time(&self, column: &'static str, micros: i64) -> Result<Timestamp, Wrong> {
        let time = Timestamp::from_micros(micros);
        if time.micros() == micros {
            Ok(time)
        } else {
            Err(self.wrong(column, format_args!("{micros} is outside of the years 1 to 9999")))
        }
    }

    fn occurred_at(&self, idx: usize, recorded_at: Timestamp) -> Result<Timestamp, Wrong> {
        let lag = self.integer(idx, "lag")?;
        let micros = recorded_at.micros().checked_sub(lag);
        let overflows = || self.wrong("lag", format_args!("{lag} overflows"));
        self.time("lag", micros.ok_or_else(overflows)?)
    }

    fn actor_kind(&self, idx: usize) -> Result<ActorKind, Wrong> {
        let code = self.integer(idx, "actor_kind")?;
        let kind = u8::try_from(code).ok().and_then(ActorKind::from_code);
        kind.ok_or_else(|| self.wrong("actor_kind", format_args!("{code} is no kind")))
    }

    /// Reads the column `given`, and `events` behind it.
    fn given(&self, idx: usize) -> Result<Option<Given>, Wrong> {
        let Some(digest) = self.maybe_bytes(idx, "given")? else {
            return match self.row.get_ref(idx + 1)? {
                ValueRef::Null => Ok(None),
                _ => Err(self.wrong("events", "it stands without the digest of its write")),
            };
        };
        let events = self.integer(idx + 1, "events")?;
        let number = u32::try_from(events).ok().filter(|events| *events > 0);
        let wrong = || self.wrong("events", format_args!("{events} is no number of events"));
        Ok(Some(Given { digest, events: number.ok_or_else(wrong)? }))
    }
}
