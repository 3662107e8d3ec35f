//! From a row to a record. Whatever the store cannot have written is refused,
//! with its place.

use super::names::Name;
use crate::read::{ReadError, StoredOutput};
use foldhash::{HashMap, HashSet};
use ledger_core::merkle::{TILE_WIDTH, Tile, TileId};
use ledger_core::record::{ActorKind, Given};
use ledger_core::{
    Actor, AnnexDigest, DeploymentId, EventId, Position, Record, SealedAnnex, Timestamp, Version,
};
use sqlx::postgres::PgRow;
use sqlx::types::Uuid;
use sqlx::{Column as _, Decode, Postgres, Row as _, Type, TypeInfo, ValueRef};
use std::fmt::Display;
use std::sync::Arc;

/// A column: its name in errors, and where it stands in the answer.
#[derive(Clone, Copy)]
struct Column(&'static str, usize);

macro_rules! columns {
    ($($name:ident = $text:literal, $place:literal;)*) => {
        $(const $name: Column = Column($text, $place);)*
    };
}

// The columns of an event, in the order of the queries in `read`.
columns! {
    POSITION = "position", 0;
    PLACE = "place", 1;
    EVENT_ID = "event_id", 2;
    TYPE = "type", 3;
    RECORDED_AT = "recorded_at", 4;
    LAG = "lag", 5;
    ACTOR_KIND = "actor_kind", 6;
    ACTOR = "actor", 7;
    CORRELATION_ID = "correlation_id", 8;
    CAUSATION_ID = "causation_id", 9;
    ANNEX_DIGEST = "annex_digest", 10;
    GIVEN = "given", 11;
    EVENTS = "events", 12;
    PAYLOAD = "payload", 13;
    ANNEX_SALT = "annex_salt", 14;
    ANNEX = "annex", 15;
}

// Those of an annex alone.
columns! {
    DIGEST_ALONE = "annex_digest", 1;
    SALT_ALONE = "annex_salt", 2;
    ANNEX_ALONE = "annex", 3;
}

// Those of a piece of output.
columns! {
    CURSOR = "cursor", 0;
    DEPLOYMENT = "deployment", 1;
    START = "start", 2;
    STORED_AT = "stored_at", 3;
    BYTES = "bytes", 4;
}

/// How many bits of a place are the version; the others are the stream.
pub(super) const VERSION_BITS: u32 = 33;
pub(super) const VERSION_MAX: u64 = (1 << VERSION_BITS) - 1;

/// The names that rows refer to, by number.
type NamesOfPage = HashMap<i32, Arc<Name>>;

/// One row, with the position that names it in errors.
struct Cells<'r> {
    row: &'r PgRow,
    position: Position,
    /// Whether the columns are known to have the types that they should have.
    checked: bool,
}

impl<'r> Cells<'r> {
    /// Reads what must be there. NULL is damage there.
    fn get<T: Decode<'r, Postgres> + Type<Postgres>>(
        &self,
        column: Column,
    ) -> Result<T, ReadError> {
        self.optional(column)?.ok_or_else(|| self.corrupt(column, "nothing stands there"))
    }

    fn optional<T: Decode<'r, Postgres> + Type<Postgres>>(
        &self,
        column: Column,
    ) -> Result<Option<T>, ReadError> {
        let value = match self.checked {
            true => self.row.try_get_unchecked(column.1),
            false => self.row.try_get(column.1),
        };
        value.map_err(|error| match error {
            sqlx::Error::ColumnDecode { source, .. } => self.corrupt(column, source),
            error => ReadError::Database(Box::new(error)),
        })
    }

    fn corrupt(&self, Column(column, _): Column, what: impl Display) -> ReadError {
        ReadError::Corrupt { position: self.position, column, what: what.to_string() }
    }

    fn number(&self, column: Column) -> Result<u64, ReadError> {
        let value: i64 = self.get(column)?;
        u64::try_from(value).map_err(|_| self.corrupt(column, format_args!("{value} is negative")))
    }

    /// Reads the number of the stream's name out of the event's place.
    fn stream(&self) -> Result<i32, ReadError> {
        let number = i32::try_from(self.number(PLACE)? >> VERSION_BITS);
        number.map_err(|_| self.corrupt(PLACE, "its stream can have no such number"))
    }

    fn time(&self, column: Column, micros: i64) -> Result<Timestamp, ReadError> {
        let time = Timestamp::from_micros(micros);
        if time.micros() == micros {
            Ok(time)
        } else {
            Err(self.corrupt(column, format_args!("{micros} is outside of the years 1 to 9999")))
        }
    }

    fn bytes<const N: usize>(&self, column: Column) -> Result<Option<[u8; N]>, ReadError> {
        let wrong = |bytes: &[u8]| {
            self.corrupt(column, format_args!("{} bytes where {N} should stand", bytes.len()))
        };
        let bytes = self.optional::<&[u8]>(column)?;
        bytes.map(|bytes| bytes.try_into().map_err(|_| wrong(bytes))).transpose()
    }

    fn id(&self, column: Column) -> Result<Option<EventId>, ReadError> {
        Ok(self.optional::<Uuid>(column)?.map(EventId::new))
    }

    fn occurred_at(&self, recorded_at: Timestamp) -> Result<Timestamp, ReadError> {
        let lag: i64 = self.optional(LAG)?.unwrap_or_default();
        let micros = recorded_at.micros().checked_sub(lag);
        let micros = micros.ok_or_else(|| self.corrupt(LAG, format_args!("{lag} overflows")))?;
        self.time(LAG, micros)
    }

    fn name<'n>(&self, names: &'n NamesOfPage, column: Column) -> Result<&'n Name, ReadError> {
        let name = names.get(&self.get(column)?);
        name.map(Arc::as_ref).ok_or_else(|| self.corrupt(column, "there is no such name"))
    }

    fn actor(&self, names: &NamesOfPage) -> Result<Actor, ReadError> {
        let code: i16 = self.get(ACTOR_KIND)?;
        let kind = u8::try_from(code).ok().and_then(ActorKind::from_code);
        let unknown = || self.corrupt(ACTOR_KIND, format_args!("{code} is no kind"));
        Ok(Actor { kind: kind.ok_or_else(unknown)?, id: self.name(names, ACTOR)?.text.clone() })
    }

    fn given(&self) -> Result<Option<Given>, ReadError> {
        let Some(digest) = self.bytes(GIVEN)? else { return Ok(None) };
        let events: i32 = self.optional(EVENTS)?.unwrap_or(1);
        let wrong = |_| self.corrupt(EVENTS, format_args!("{events} is no number of events"));
        Ok(Some(Given { digest, events: u32::try_from(events).map_err(wrong)? }))
    }

    /// An erased annex has left its digest. One without its digest was not written by the store.
    fn annex(
        &self,
        digest: Option<AnnexDigest>,
        [salt, bytes]: [Column; 2],
    ) -> Result<Option<SealedAnnex>, ReadError> {
        let Some(salt) = self.bytes(salt)? else { return Ok(None) };
        let annex = SealedAnnex { salt, bytes: self.get(bytes)? };
        if Some(annex.digest()) == digest {
            Ok(Some(annex))
        } else {
            Err(self.corrupt(bytes, "it does not have the digest that the event names"))
        }
    }
}

/// Returns the numbers of the names that rows of a query for events refer to.
pub(super) fn names(rows: &[PgRow]) -> Result<HashSet<i32>, ReadError> {
    let mut numbers = HashSet::default();
    for row in rows {
        let cells = checked(row)?;
        numbers.insert(cells.stream()?);
        numbers.insert(cells.get(TYPE)?);
        numbers.insert(cells.get(ACTOR)?);
    }
    Ok(numbers)
}

/// Returns how many bytes a row counts towards a page's.
pub(super) fn weight(row: &PgRow, annexes: bool) -> Result<usize, ReadError> {
    let bytes = |column: Column| {
        let value = row.try_get_raw(column.1).map_err(|e| ReadError::Database(Box::new(e)))?;
        Ok(if value.is_null() { 0 } else { value.as_bytes().map_or(0, <[u8]>::len) })
    };
    Ok(bytes(PAYLOAD)? + if annexes { bytes(ANNEX)? } else { 0 })
}

/// Checks that a query for events is answered by columns of the types that they should
/// have. All rows of an answer have the same.
pub(super) fn check_types(row: &PgRow) -> Result<(), ReadError> {
    const TYPES: [(Column, &str); 16] = [
        (POSITION, "INT8"),
        (PLACE, "INT8"),
        (EVENT_ID, "UUID"),
        (TYPE, "INT4"),
        (RECORDED_AT, "INT8"),
        (LAG, "INT8"),
        (ACTOR_KIND, "INT2"),
        (ACTOR, "INT4"),
        (CORRELATION_ID, "UUID"),
        (CAUSATION_ID, "UUID"),
        (ANNEX_DIGEST, "BYTEA"),
        (GIVEN, "BYTEA"),
        (EVENTS, "INT4"),
        (PAYLOAD, "BYTEA"),
        // Only where annexes were asked for.
        (ANNEX_SALT, "BYTEA"),
        (ANNEX, "BYTEA"),
    ];
    let cells = cells(row, POSITION)?;
    for (column, name) in TYPES {
        let kind = row.columns().get(column.1).map(|column| column.type_info().name());
        if kind.is_some_and(|kind| kind != name) {
            return Err(cells.corrupt(column, format_args!("it is no {name}")));
        }
    }
    Ok(())
}

/// Reads a row of a query for events, whose types were checked.
pub(super) fn record(row: &PgRow, names: &NamesOfPage, annexes: bool) -> Result<Record, ReadError> {
    let cells = checked(row)?;
    let place = cells.number(PLACE)?;
    let name = names.get(&cells.stream()?);
    let stream = name.and_then(|name| name.stream.clone());
    let recorded_at = cells.time(RECORDED_AT, cells.get(RECORDED_AT)?)?;
    let annex_digest = cells.bytes(ANNEX_DIGEST)?.map(AnnexDigest);
    Ok(Record {
        position: cells.position,
        stream: stream.ok_or_else(|| cells.corrupt(PLACE, "its stream has no name"))?,
        version: Version(place & VERSION_MAX),
        event_id: EventId::new(cells.get(EVENT_ID)?),
        type_name: cells.name(names, TYPE)?.text.clone(),
        occurred_at: cells.occurred_at(recorded_at)?,
        recorded_at,
        actor: cells.actor(names)?,
        correlation_id: cells.id(CORRELATION_ID)?,
        causation_id: cells.id(CAUSATION_ID)?,
        given: cells.given()?,
        payload: cells.get(PAYLOAD)?,
        annex_digest,
        annex: if annexes { cells.annex(annex_digest, [ANNEX_SALT, ANNEX])? } else { None },
    })
}

/// Reads a row of a query for annexes.
pub(super) fn annex(row: &PgRow) -> Result<(Position, Result<SealedAnnex, ReadError>), ReadError> {
    let cells = cells(row, POSITION)?;
    let annex = || {
        let digest = cells.bytes(DIGEST_ALONE)?.map(AnnexDigest);
        let annex = cells.annex(digest, [SALT_ALONE, ANNEX_ALONE])?;
        annex.ok_or_else(|| cells.corrupt(SALT_ALONE, "nothing stands there"))
    };
    Ok((cells.position, annex()))
}

/// Reads a row of a query for output.
pub(super) fn output(row: &PgRow) -> Result<StoredOutput, ReadError> {
    let (cursor, deployment) = output_owner(row)?;
    let cells = Cells { row, position: Position(cursor), checked: false };
    Ok(StoredOutput {
        cursor,
        deployment,
        offset: cells.number(START)?,
        stored_at: cells.time(STORED_AT, cells.get(STORED_AT)?)?,
        bytes: cells.get(BYTES)?,
    })
}

/// Reads a row that says whose output stands where.
pub(super) fn output_owner(row: &PgRow) -> Result<(u64, DeploymentId), ReadError> {
    let cells = cells(row, CURSOR)?;
    Ok((cells.position.0, DeploymentId::new(cells.get(DEPLOYMENT)?)))
}

/// Reads a row of a query for a tile.
pub(super) fn tile(row: &PgRow, id: TileId) -> Result<Tile, ReadError> {
    let bytes: &[u8] = row.try_get("hashes").map_err(|e| ReadError::Database(Box::new(e)))?;
    Tile::from_bytes(id, bytes)
        .filter(|tile| tile.hashes.len() == TILE_WIDTH)
        .ok_or(ReadError::Tile { id, what: format!("it has {} bytes", bytes.len()) })
}

fn cells(row: &PgRow, position: Column) -> Result<Cells<'_>, ReadError> {
    // Until it is known, there is no better position to name.
    let nowhere = Cells { row, position: Position::ZERO, checked: false };
    let position = nowhere.number(position)?;
    Ok(Cells { row, position: Position(position), checked: false })
}

/// The same of an event whose types were checked.
fn checked(row: &PgRow) -> Result<Cells<'_>, ReadError> {
    let nowhere = Cells { row, position: Position::ZERO, checked: true };
    let position = nowhere.number(POSITION)?;
    Ok(Cells { row, position: Position(position), checked: true })
}
