//! Inserts of several rows by one prepared statement.
//!
//! A statement on a table with guards pays for being able to take back what they
//! refuse; that is more than a row costs. So rows go in by the dozen, in statements
//! of few different sizes, which the connection keeps prepared.

use super::intern::{Interner, Name};
use super::signed;
use crate::backend::{Erasure, Rows, SignedNote};
use crate::read::StoredOutput;
use ledger_core::merkle::Tile;
use ledger_core::{Position, Record, SealedAnnex};
use rusqlite::{Connection, Error, Statement, ToSql, params};
use std::sync::LazyLock;

/// Rows of one statement, the most first. More than some dozen gain nothing.
const CHUNKS: [usize; 7] = [64, 32, 16, 8, 4, 2, 1];

/// Inserts everything, in the order that the guards demand.
pub(super) fn rows(
    connection: &Connection,
    names: &mut Interner,
    rows: &Rows,
) -> Result<(), Error> {
    records(connection, names, &rows.records)?;
    rows.tiles.iter().try_for_each(|made| tile(connection, made))?;
    rows.erasures.iter().try_for_each(|ordered| erasure(connection, ordered))?;
    rows.outputs.iter().try_for_each(|piece| output(connection, piece))?;
    rows.checkpoints.iter().try_for_each(|signed| checkpoint(connection, signed))
}

/// Inserts events and their annexes.
pub(super) fn records(
    connection: &Connection,
    names: &mut Interner,
    records: &[Record],
) -> Result<(), Error> {
    events(connection, names, records)?;
    annexes(connection, records)
}

/// Cuts rows into chunks of the sizes that statements are kept for.
fn chunks<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = CHUNKS.into_iter().find(|size| *size <= rows.len())?;
        let (chunk, rest) = rows.split_at(size);
        rows = rest;
        Some(chunk)
    })
}

/// Completes `INSERT … VALUES` with that many rows of variables.
fn with_rows(insert: &str, n_columns: usize, n_rows: usize) -> String {
    let row = format!("({})", vec!["?"; n_columns].join(","));
    format!("{insert} {}", vec![row.as_str(); n_rows].join(","))
}

/// Binds the variables of a statement, one after the other.
struct Binder<'s, 'c> {
    statement: &'s mut Statement<'c>,
    next: usize,
}

impl Binder<'_, '_> {
    fn bind(&mut self, value: impl ToSql) -> Result<(), Error> {
        self.next += 1;
        self.statement.raw_bind_parameter(self.next, value)
    }
}

fn insert<T>(
    connection: &Connection,
    sql: &[String; CHUNKS.len()],
    rows: &[T],
    mut bind: impl FnMut(&mut Binder<'_, '_>, &T) -> Result<(), Error>,
) -> Result<(), Error> {
    for chunk in chunks(rows) {
        let place = CHUNKS.iter().position(|size| *size == chunk.len()).unwrap_or_default();
        let mut statement = connection.prepare_cached(&sql[place])?;
        let mut binder = Binder { statement: &mut statement, next: 0 };
        chunk.iter().try_for_each(|row| bind(&mut binder, row))?;
        statement.raw_execute()?;
    }
    Ok(())
}

/// The statements of a table, by the sizes of [`CHUNKS`].
fn statements(insert: &str, n_columns: usize) -> [String; CHUNKS.len()] {
    CHUNKS.map(|n_rows| with_rows(insert, n_columns, n_rows))
}

static EVENTS: LazyLock<[String; CHUNKS.len()]> = LazyLock::new(|| {
    statements(
        "INSERT INTO events (position, stream, version, event_id, type, recorded_at, lag, \
         actor_kind, actor, correlation, causation_id, annex_digest, given, events, payload) \
         VALUES",
        15,
    )
});

static ANNEXES: LazyLock<[String; CHUNKS.len()]> =
    LazyLock::new(|| statements("INSERT INTO annexes (position, salt, bytes) VALUES", 3));

fn events(connection: &Connection, names: &mut Interner, records: &[Record]) -> Result<(), Error> {
    insert(connection, &EVENTS, records, |row, record| {
        row.bind(signed(record.position.0))?;
        row.bind(names.stream(connection, &record.stream)?)?;
        row.bind(signed(record.version.0))?;
        row.bind(record.event_id.bytes())?;
        row.bind(names.number(connection, Name::Text(&record.type_name))?)?;
        row.bind(record.recorded_at.micros())?;
        row.bind(record.recorded_at.micros() - record.occurred_at.micros())?;
        row.bind(i64::from(record.actor.kind.code()))?;
        row.bind(names.number(connection, Name::Text(&record.actor.id))?)?;
        let id = record.correlation_id.map(|id| Name::Id(id.bytes()));
        row.bind(id.map(|id| names.number(connection, id)).transpose()?)?;
        row.bind(record.causation_id.map(|id| id.bytes()))?;
        row.bind(record.annex_digest.map(|digest| digest.0))?;
        row.bind(record.given.map(|given| given.digest))?;
        row.bind(record.given.map(|given| i64::from(given.events)))?;
        row.bind(&record.payload)
    })
}

fn annexes(connection: &Connection, records: &[Record]) -> Result<(), Error> {
    let with = |record: &Record| Some((record.position, record.annex.clone()?));
    let annexes: Vec<(Position, SealedAnnex)> = records.iter().filter_map(with).collect();
    insert(connection, &ANNEXES, &annexes, |row, (position, annex)| {
        row.bind(signed(position.0))?;
        row.bind(annex.salt)?;
        row.bind(&annex.bytes)
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_hold_every_row_once_and_have_few_sizes() {
        for n_rows in [0, 1, 2, 3, 63, 64, 65, 127, 1_000] {
            let rows: Vec<usize> = (0..n_rows).collect();
            let chunks: Vec<&[usize]> = chunks(&rows).collect();
            assert_eq!(chunks.concat(), rows);
            assert!(chunks.iter().all(|chunk| CHUNKS.contains(&chunk.len())));
        }
    }
}
