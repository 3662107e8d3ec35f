//! Inserts, one prepared statement a row: there is no hop to another thread that
//! several rows would have to share.

use super::intern::Interner;
use super::signed;
use crate::backend::{Erasure, Rows, SignedNote};
use crate::read::StoredOutput;
use ledger_core::Record;
use ledger_core::merkle::Tile;
use rusqlite::{Connection, Error, params};

/// Inserts everything, in the order that the guards demand.
pub(super) fn rows(
    connection: &Connection,
    names: &mut Interner,
    rows: &Rows,
) -> Result<(), Error> {
    for record in &rows.records {
        event(connection, names, record)?;
    }
    rows.records.iter().try_for_each(|record| annex(connection, record))?;
    rows.tiles.iter().try_for_each(|made| tile(connection, made))?;
    rows.erasures.iter().try_for_each(|ordered| erasure(connection, ordered))?;
    rows.outputs.iter().try_for_each(|piece| output(connection, piece))?;
    rows.checkpoints.iter().try_for_each(|signed| checkpoint(connection, signed))
}

fn event(connection: &Connection, names: &mut Interner, record: &Record) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO events (position, stream, version, event_id, type, recorded_at, \
         lag, actor_kind, actor, correlation_id, causation_id, annex_digest, given, events, payload) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let stream = names.stream(connection, &record.stream)?;
    let type_name = names.text(connection, &record.type_name)?;
    let actor = names.text(connection, &record.actor.id)?;
    connection.prepare_cached(SQL)?.execute(params![
        signed(record.position.0),
        stream,
        signed(record.version.0),
        record.event_id.bytes(),
        type_name,
        record.recorded_at.micros(),
        record.recorded_at.micros() - record.occurred_at.micros(),
        i64::from(record.actor.kind.code()),
        actor,
        record.correlation_id.map(|id| id.bytes()),
        record.causation_id.map(|id| id.bytes()),
        record.annex_digest.map(|digest| digest.0),
        record.given.map(|given| given.digest),
        record.given.map(|given| i64::from(given.events)),
        record.payload,
    ])?;
    Ok(())
}

fn annex(connection: &Connection, record: &Record) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO annexes (position, salt, bytes) VALUES (?, ?, ?)";
    let Some(annex) = &record.annex else { return Ok(()) };
    let row = params![signed(record.position.0), annex.salt, annex.bytes];
    connection.prepare_cached(SQL)?.execute(row).map(drop)
}

fn tile(connection: &Connection, tile: &Tile) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO tiles (level, idx, hashes) VALUES (?, ?, ?)";
    let row = params![i64::from(tile.id.level), signed(tile.id.index), tile.bytes()];
    connection.prepare_cached(SQL)?.execute(row).map(drop)
}

fn erasure(connection: &Connection, erasure: &Erasure) -> Result<(), Error> {
    const ORDER: &str = "INSERT INTO erasures (position, ordered) VALUES (?, ?)";
    const ERASE: &str = "DELETE FROM annexes WHERE position = ?";
    let position = signed(erasure.position.0);
    connection.prepare_cached(ORDER)?.execute(params![position, signed(erasure.ordered.0)])?;
    connection.prepare_cached(ERASE)?.execute([position]).map(drop)
}

fn output(connection: &Connection, output: &StoredOutput) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO outputs (cursor, deployment, start, length, stored_at, bytes) \
         VALUES (?, ?, ?, ?, ?, ?)";
    let row = params![
        signed(output.cursor),
        output.deployment.bytes(),
        signed(output.offset),
        signed(output.bytes.len() as u64),
        output.stored_at.micros(),
        output.bytes,
    ];
    connection.prepare_cached(SQL)?.execute(row).map(drop)
}

fn checkpoint(connection: &Connection, signed_note: &SignedNote) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO checkpoints (size, note) VALUES (?, ?)";
    let row = params![signed(signed_note.size), signed_note.note];
    connection.prepare_cached(SQL)?.execute(row).map(drop)
}
