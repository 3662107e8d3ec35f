//! All events in one answer, in the binary format of COPY: the database sends on
//! while what came is taken apart, and no row says again what its columns are.

use super::trouble;
use crate::verify::Stop;
use ledger_core::Position;
use ledger_core::verify::Fault;
use sqlx::postgres::PgConnection;
use sqlx::{Column as _, Executor, SqlSafeStr, Statement, TypeInfo};

macro_rules! events {
    () => {
        "SELECT position, place, recorded_at, lag, type, actor, events, actor_kind, event_id, \
         correlation_id, causation_id, given, annex_digest, payload \
         FROM ledger.events ORDER BY position"
    };
}

const EVENTS: &str = events!();
/// Asks for the cells of all events, in the order of the positions.
pub(super) const COPY: &str = concat!("COPY (", events!(), ") TO STDOUT (FORMAT binary)");

/// A column of the answer: its place there, its name in faults, its type.
#[derive(Clone, Copy)]
pub(super) struct Column(usize, pub(super) &'static str, &'static str);

macro_rules! columns {
    ($($name:ident = $place:literal, $text:literal, $kind:literal;)*) => {
        $(pub(super) const $name: Column = Column($place, $text, $kind);)*
        const COLUMNS: &[Column] = &[$($name),*];
    };
}

columns! {
    POSITION = 0, "position", "INT8";
    PLACE = 1, "place", "INT8";
    RECORDED_AT = 2, "recorded_at", "INT8";
    LAG = 3, "lag", "INT8";
    TYPE = 4, "type", "INT4";
    ACTOR = 5, "actor", "INT4";
    EVENTS_OF_WRITE = 6, "events", "INT4";
    ACTOR_KIND = 7, "actor_kind", "INT2";
    EVENT_ID = 8, "event_id", "UUID";
    CORRELATION_ID = 9, "correlation_id", "UUID";
    CAUSATION_ID = 10, "causation_id", "UUID";
    GIVEN = 11, "given", "BYTEA";
    ANNEX_DIGEST = 12, "annex_digest", "BYTEA";
    PAYLOAD = 13, "payload", "BYTEA";
}

/// The half of the place that names the stream.
pub(super) const STREAM: Column = Column(1, "stream", "INT8");

/// Checks that the columns have the types that they should have: COPY does not say.
pub(super) async fn check_types(connection: &mut PgConnection) -> Result<(), Stop> {
    let statement = connection.prepare(EVENTS.into_sql_str()).await.map_err(trouble)?;
    for (Column(_, name, kind), column) in COLUMNS.iter().zip(statement.columns()) {
        let found = column.type_info().name();
        if found != *kind {
            let what = format_args!("the table events, column {name}: it is {found}, no {kind}");
            return Err(Fault::container(what).into());
        }
    }
    Ok(())
}

/// The cells of one event.
#[derive(Debug)]
pub(super) struct Cells<'m> {
    cells: [Option<&'m [u8]>; COLUMNS.len()],
    pub(super) position: Position,
}

impl<'m> Cells<'m> {
    fn new(cells: [Option<&'m [u8]>; COLUMNS.len()]) -> Self {
        let mut cells = Self { cells, position: Position::ZERO };
        // What is no position is told as one that cannot be: as the first gap.
        let position = cells.maybe_array(POSITION).ok().flatten().map(i64::from_be_bytes);
        cells.position = Position(position.and_then(|p| u64::try_from(p).ok()).unwrap_or(0));
        cells
    }

    /// Returns when it was recorded, in microseconds since 1970; what is no time is told
    /// when the event is read.
    pub(super) fn recorded_at(&self) -> i64 {
        let recorded_at = self.maybe_array(RECORDED_AT).ok().flatten();
        recorded_at.map_or(i64::MIN, i64::from_be_bytes)
    }

    /// Returns the bytes of a cell that may be empty.
    pub(super) fn maybe(&self, column: Column) -> Option<&'m [u8]> {
        self.cells.get(column.0).copied().flatten()
    }

    /// Returns the bytes of a cell that may not.
    pub(super) fn bytes(&self, column: Column) -> Result<&'m [u8], Fault> {
        self.maybe(column).ok_or_else(|| self.fault(column, "nothing stands there"))
    }

    /// The same where so many bytes must stand.
    pub(super) fn array<const N: usize>(&self, column: Column) -> Result<[u8; N], Fault> {
        self.sized(column, self.bytes(column)?)
    }

    /// The same where nothing may stand, too.
    pub(super) fn maybe_array<const N: usize>(
        &self,
        column: Column,
    ) -> Result<Option<[u8; N]>, Fault> {
        self.maybe(column).map(|bytes| self.sized(column, bytes)).transpose()
    }

    fn sized<const N: usize>(&self, column: Column, bytes: &[u8]) -> Result<[u8; N], Fault> {
        bytes.try_into().map_err(|_| {
            let what = format_args!("{} bytes where {N} should stand", bytes.len());
            self.fault(column, what)
        })
    }

    pub(super) fn fault(&self, column: Column, what: impl std::fmt::Display) -> Fault {
        Fault::column(self.position, column.1, what)
    }
}

/// Takes the answer apart: a head, then each event as the lengths and bytes of its
/// cells, then an end.
#[derive(Debug, Default)]
pub(super) struct Parser {
    has_head: bool,
}

impl Parser {
    /// Returns the next event of a message, and leaves what follows it. A message has
    /// whole events.
    pub(super) fn next<'m>(&mut self, message: &mut &'m [u8]) -> Result<Option<Cells<'m>>, Stop> {
        if message.is_empty() {
            return Ok(None);
        }
        self.parse(message).ok_or_else(|| {
            let what = "the database's answer is no COPY in the binary format";
            trouble(sqlx::Error::Protocol(what.to_owned()))
        })
    }

    /// Returns nothing if it is none.
    fn parse<'m>(&mut self, message: &mut &'m [u8]) -> Option<Option<Cells<'m>>> {
        if !self.has_head {
            // A signature, flags of which none is set, and the length of nothing.
            const HEAD: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
            *message = message.strip_prefix(HEAD)?;
            self.has_head = true;
            if message.is_empty() {
                return Some(None);
            }
        }
        let count = i16::from_be_bytes(take_array(message)?);
        if count == -1 {
            return message.is_empty().then_some(None);
        }
        let mut cells = [None; COLUMNS.len()];
        if usize::try_from(count) != Ok(cells.len()) {
            return None;
        }
        for cell in &mut cells {
            let length = i32::from_be_bytes(take_array(message)?);
            if length != -1 {
                *cell = Some(message.split_off(..usize::try_from(length).ok()?)?);
            }
        }
        Some(Some(Cells::new(cells)))
    }
}

fn take_array<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    from.split_off(..N)?.try_into().ok()
}
