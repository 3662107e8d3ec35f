//! From a row to a record. Whatever the store cannot have written is refused,
//! with its place.

use super::cells::{Cells, EVENT_COLUMNS, EventRow, Wrong};
use super::names::{Name, Names};
use crate::read::{ReadError, StoredOutput};
use ledger_core::merkle::{TILE_WIDTH, Tile, TileId};
use ledger_core::{Actor, AnnexDigest, DeploymentId, EventId, Position, Record, SealedAnnex};
use rusqlite::{Connection, Row};

/// Takes the cells of a row that begins with its position or cursor.
pub(super) fn cells<'r>(row: &'r Row<'r>) -> Result<Cells<'r>, Wrong> {
    // Until it is known, there is no better position to name.
    let position = Cells { row, position: Position::ZERO }.number(0, "position")?;
    Ok(Cells { row, position: Position(position) })
}

/// Reads a row of a query for events, with the names that it refers to.
pub(super) fn record(
    connection: &Connection,
    names: &Names,
    row: &Row<'_>,
    annexes: bool,
) -> Result<Record, Wrong> {
    let cells = cells(row)?;
    let event: EventRow<'_> = cells.event()?;
    let text = |column, number| there(&cells, column, names.take(connection, number, Name::text)?);
    let stream = there(&cells, "stream", names.take(connection, event.stream, Name::stream)?)?;
    let correlation_id = match event.correlation {
        Some(number) => {
            let id = names.take(connection, number, Name::id)?;
            Some(there(&cells, "correlation", id)?)
        }
        None => None,
    };
    let annex_digest = event.annex_digest;
    Ok(Record {
        position: cells.position,
        stream,
        version: event.version,
        event_id: EventId::from_bytes(event.event_id),
        type_name: text("type", event.type_name)?,
        occurred_at: event.occurred_at,
        recorded_at: event.recorded_at,
        actor: Actor { kind: event.actor_kind, id: text("actor", event.actor)? },
        correlation_id,
        causation_id: event.causation_id,
        given: event.given,
        payload: event.payload.to_vec(),
        annex_digest,
        annex: if annexes { annex_at(&cells, EVENT_COLUMNS, annex_digest)? } else { None },
    })
}

/// Tells a name that is missing or another kind of name.
fn there<T>(
    cells: &Cells<'_>,
    column: &'static str,
    found: Option<Result<T, String>>,
) -> Result<T, Wrong> {
    let found = found.ok_or_else(|| cells.wrong(column, "nothing stands there"))?;
    found.map_err(|what| cells.wrong(column, what))
}

/// An erased annex has left its digest. One without its digest was not written by the store.
fn annex_at(
    cells: &Cells<'_>,
    idx: usize,
    digest: Option<AnnexDigest>,
) -> Result<Option<SealedAnnex>, Wrong> {
    let Some(salt) = cells.maybe_bytes(idx, "annex_salt")? else { return Ok(None) };
    let annex = SealedAnnex { salt, bytes: cells.blob(idx + 1, "annex")?.to_vec() };
    if Some(annex.digest()) == digest {
        Ok(Some(annex))
    } else {
        Err(cells.wrong("annex", "it does not have the digest that the event names"))
    }
}

/// Reads a row of a query for annexes.
pub(super) fn annex(cells: Cells<'_>) -> Result<(Position, Result<SealedAnnex, ReadError>), Wrong> {
    let annex = || -> Result<SealedAnnex, Wrong> {
        let digest = cells.maybe_bytes(1, "annex_digest")?.map(AnnexDigest);
        let annex = annex_at(&cells, 2, digest)?;
        annex.ok_or_else(|| cells.wrong("annex_salt", "nothing stands there"))
    };
    Ok((cells.position, annex().map_err(Wrong::told)))
}

/// Reads a row of a query for output.
pub(super) fn output(cells: Cells<'_>) -> Result<StoredOutput, Wrong> {
    let (cursor, deployment) = output_owner(cells)?;
    Ok(StoredOutput {
        cursor,
        deployment,
        offset: cells.number(2, "start")?,
        stored_at: cells.time("stored_at", cells.integer(3, "stored_at")?)?,
        bytes: cells.blob(4, "bytes")?.to_vec(),
    })
}

/// Reads a row that says whose output stands where.
pub(super) fn output_owner(cells: Cells<'_>) -> Result<(u64, DeploymentId), Wrong> {
    Ok((cells.position.0, DeploymentId::from_bytes(cells.bytes(1, "deployment")?)))
}

/// Reads a row of a query for a tile.
pub(super) fn tile(row: &Row<'_>, id: TileId) -> Result<Tile, ReadError> {
    let bytes = Cells { row, position: Position::ZERO }.blob(0, "hashes").map_err(Wrong::told)?;
    Tile::from_bytes(id, bytes)
        .filter(|tile| tile.hashes.len() == TILE_WIDTH)
        .ok_or(ReadError::Tile { id, what: format!("it has {} bytes", bytes.len()) })
}
