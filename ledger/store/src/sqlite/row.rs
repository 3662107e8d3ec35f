//! From a row to a record. Whatever the store cannot have written is refused,
//! with its place.

use crate::read::{ReadError, StoredOutput};
use ledger_core::merkle::{TILE_WIDTH, Tile, TileId};
use ledger_core::record::{ActorKind, Given};
use ledger_core::{
    ActivationId, Actor, AnnexDigest, DeploymentId, EventId, Position, Record, SealedAnnex,
    StreamId, Timestamp, Version,
};
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Row as _, Sqlite, Type, TypeInfo, ValueRef};
use std::fmt::Display;

/// One row, with the position that names it in errors.
struct Cells<'r> {
    row: &'r SqliteRow,
    position: Position,
}

impl<'r> Cells<'r> {
    /// Reads what must be there. Types of the driver read NULL as zero or empty.
    fn get<T: Decode<'r, Sqlite> + Type<Sqlite>>(
        &self,
        column: &'static str,
    ) -> Result<T, ReadError> {
        self.optional(column)?.ok_or_else(|| self.corrupt(column, "nothing stands there"))
    }

    fn optional<T: Decode<'r, Sqlite> + Type<Sqlite>>(
        &self,
        column: &'static str,
    ) -> Result<Option<T>, ReadError> {
        self.row.try_get(column).map_err(|error| match error {
            sqlx::Error::ColumnDecode { source, .. } => self.corrupt(column, source),
            error => ReadError::Database(Box::new(error)),
        })
    }

    fn corrupt(&self, column: &'static str, what: impl Display) -> ReadError {
        ReadError::Corrupt { position: self.position, column, what: what.to_string() }
    }

    /// Reads a name, which is an id or a text.
    fn stream(&self) -> Result<StreamId, ReadError> {
        let column = "stream";
        let cell = self.row.try_get_raw(column).map_err(|e| ReadError::Database(Box::new(e)))?;
        if cell.type_info().name() == "BLOB" {
            return Ok(StreamId::Activation(ActivationId::from_bytes(self.bytes_there(column)?)));
        }
        self.get::<&str>(column)?.parse().map_err(|error| self.corrupt(column, error))
    }

    fn correlation_id(&self) -> Result<Option<EventId>, ReadError> {
        let column = "correlation_id";
        match self.optional::<i64>("correlation")? {
            Some(_) => Ok(Some(EventId::from_bytes(self.bytes_there(column)?))),
            None => Ok(None),
        }
    }

    fn number(&self, column: &'static str) -> Result<u64, ReadError> {
        let value: i64 = self.get(column)?;
        u64::try_from(value).map_err(|_| self.corrupt(column, format_args!("{value} is negative")))
    }

    fn time(&self, column: &'static str, micros: i64) -> Result<Timestamp, ReadError> {
        let time = Timestamp::from_micros(micros);
        if time.micros() == micros {
            Ok(time)
        } else {
            Err(self.corrupt(column, format_args!("{micros} is outside of the years 1 to 9999")))
        }
    }

    fn bytes<const N: usize>(&self, column: &'static str) -> Result<Option<[u8; N]>, ReadError> {
        let wrong = |bytes: &[u8]| {
            self.corrupt(column, format_args!("{} bytes where {N} should stand", bytes.len()))
        };
        let bytes = self.optional::<&[u8]>(column)?;
        bytes.map(|bytes| bytes.try_into().map_err(|_| wrong(bytes))).transpose()
    }

    fn bytes_there<const N: usize>(&self, column: &'static str) -> Result<[u8; N], ReadError> {
        self.bytes(column)?.ok_or_else(|| self.corrupt(column, "nothing stands there"))
    }

    fn id(&self, column: &'static str) -> Result<Option<EventId>, ReadError> {
        Ok(self.bytes(column)?.map(EventId::from_bytes))
    }

    fn occurred_at(&self, recorded_at: Timestamp) -> Result<Timestamp, ReadError> {
        let lag: i64 = self.get("lag")?;
        let micros = recorded_at.micros().checked_sub(lag);
        let micros = micros.ok_or_else(|| self.corrupt("lag", format_args!("{lag} overflows")))?;
        self.time("lag", micros)
    }

    fn actor(&self) -> Result<Actor, ReadError> {
        let code: i64 = self.get("actor_kind")?;
        let kind = u8::try_from(code).ok().and_then(ActorKind::from_code);
        let unknown = || self.corrupt("actor_kind", format_args!("{code} is no kind"));
        Ok(Actor { kind: kind.ok_or_else(unknown)?, id: self.get("actor")? })
    }

    fn given(&self) -> Result<Option<Given>, ReadError> {
        let Some(digest) = self.bytes("given")? else { return Ok(None) };
        let events: i64 = self.get("events")?;
        let wrong = |_| self.corrupt("events", format_args!("{events} is no number of events"));
        Ok(Some(Given { digest, events: u32::try_from(events).map_err(wrong)? }))
    }

    /// An erased annex has left its digest. One without its digest was not written by the store.
    fn annex(&self, digest: Option<AnnexDigest>) -> Result<Option<SealedAnnex>, ReadError> {
        let Some(salt) = self.bytes("annex_salt")? else { return Ok(None) };
        let annex = SealedAnnex { salt, bytes: self.get("annex")? };
        if Some(annex.digest()) == digest {
            Ok(Some(annex))
        } else {
            Err(self.corrupt("annex", "it does not have the digest that the event names"))
        }
    }
}

/// Reads a row of a query for events.
pub(super) fn record(row: &SqliteRow, annexes: bool) -> Result<Record, ReadError> {
    let position = position(row, "position")?;
    let cells = Cells { row, position: Position(position) };
    let recorded_at = cells.time("recorded_at", cells.get("recorded_at")?)?;
    let annex_digest = cells.bytes("annex_digest")?.map(AnnexDigest);
    Ok(Record {
        position: cells.position,
        stream: cells.stream()?,
        version: Version(cells.number("version")?),
        event_id: EventId::from_bytes(cells.bytes_there("event_id")?),
        type_name: cells.get("type")?,
        occurred_at: cells.occurred_at(recorded_at)?,
        recorded_at,
        actor: cells.actor()?,
        correlation_id: cells.correlation_id()?,
        causation_id: cells.id("causation_id")?,
        given: cells.given()?,
        payload: cells.get("payload")?,
        annex_digest,
        annex: if annexes { cells.annex(annex_digest)? } else { None },
    })
}

/// Reads a row of a query for annexes.
pub(super) fn annex(
    row: &SqliteRow,
) -> Result<(Position, Result<SealedAnnex, ReadError>), ReadError> {
    let cells = Cells { row, position: Position(position(row, "position")?) };
    let annex = || {
        let digest = cells.bytes("annex_digest")?.map(AnnexDigest);
        cells.annex(digest)?.ok_or_else(|| cells.corrupt("annex_salt", "nothing stands there"))
    };
    Ok((cells.position, annex()))
}

/// Reads a row of a query for output.
pub(super) fn output(row: &SqliteRow) -> Result<StoredOutput, ReadError> {
    let (cursor, deployment) = output_owner(row)?;
    let cells = Cells { row, position: Position(cursor) };
    Ok(StoredOutput {
        cursor,
        deployment,
        offset: cells.number("start")?,
        stored_at: cells.time("stored_at", cells.get("stored_at")?)?,
        bytes: cells.get("bytes")?,
    })
}

/// Reads a row that says whose output stands where.
pub(super) fn output_owner(row: &SqliteRow) -> Result<(u64, DeploymentId), ReadError> {
    let cursor = position(row, "cursor")?;
    let cells = Cells { row, position: Position(cursor) };
    Ok((cursor, DeploymentId::from_bytes(cells.bytes_there("deployment")?)))
}

/// Reads a row of a query for a tile.
pub(super) fn tile(row: &SqliteRow, id: TileId) -> Result<Tile, ReadError> {
    let bytes: &[u8] = row.try_get("hashes").map_err(|e| ReadError::Database(Box::new(e)))?;
    Tile::from_bytes(id, bytes)
        .filter(|tile| tile.hashes.len() == TILE_WIDTH)
        .ok_or(ReadError::Tile { id, what: format!("it has {} bytes", bytes.len()) })
}

fn position(row: &SqliteRow, column: &'static str) -> Result<u64, ReadError> {
    // Until it is known, there is no better position to name.
    Cells { row, position: Position::ZERO }.number(column)
}
