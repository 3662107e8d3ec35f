//! What one batch appends, column by column: one statement for all of it.

use super::intern::Interner;
use super::signed;
use crate::backend::{Head, Rows};
use ledger_core::{Record, Timestamp};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::types::Uuid;
use sqlx::{Error, Postgres, Row};

/// Appends behind what was seen as the end. The arguments stand in the
/// order of `ledger.append` in `migrations/postgres`.
const APPEND: &str = "SELECT ledger.append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, \
     $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, \
     $32, $33, $34)";

/// Returns the statement that appends everything, if the log ends there and has none
/// of the events that are believed to be absent.
pub(super) fn statement(
    rows: &Rows,
    names: &mut Interner,
    behind: Head,
    absent: Vec<Uuid>,
) -> Statement {
    let records = &rows.records;
    let streams: Vec<i32> = records.iter().map(|record| names.stream(&record.stream)).collect();
    let types: Vec<i32> = records.iter().map(|record| names.number(&record.type_name)).collect();
    let actors: Vec<i32> = records.iter().map(|record| names.number(&record.actor.id)).collect();
    let query = sqlx::query(APPEND).bind(signed(behind.position.0));
    let query = query.bind(column(records, |record| record.recorded_at.micros()));
    let query = query.bind(column(records, |record| signed(record.version.0)));
    let query = query.bind(column(records, |record| {
        record.recorded_at.micros().saturating_sub(record.occurred_at.micros())
    }));
    let query = query.bind(streams).bind(types).bind(actors);
    let query = query.bind(column(records, |record| {
        record.given.map(|given| i32::try_from(given.events).unwrap_or(i32::MAX))
    }));
    let query = query.bind(column(records, |record| i16::from(record.actor.kind.code())));
    let query = query.bind(column(records, |record| record.event_id.uuid()));
    let query = query.bind(column(records, |record| record.correlation_id.map(|id| id.uuid())));
    let query = query.bind(column(records, |record| record.causation_id.map(|id| id.uuid())));
    let query = query.bind(column(records, |r| r.given.as_ref().map(|g| g.digest.as_slice())));
    let query =
        query.bind(column(records, |r| r.annex_digest.as_ref().map(|digest| digest.0.as_slice())));
    let query = query.bind(column(records, |record| record.payload.as_slice()));
    let query = outputs(others(query.bind(names.asked().to_vec()), rows), rows, behind);
    query.bind(absent).bind(rows.behind.map(|id| id.uuid()))
}

pub(super) type Statement = Query<'static, Postgres, PgArguments>;

fn column<'r, T>(records: &'r [Record], value: impl Fn(&'r Record) -> T) -> Vec<T> {
    records.iter().map(value).collect()
}

/// Adds annexes, tiles and erasures.
fn others(query: Statement, rows: &Rows) -> Statement {
    let annexes = || rows.records.iter().filter_map(|r| r.annex.as_ref().map(|a| (r.position, a)));
    let query = query.bind(annexes().map(|(at, _)| signed(at.0)).collect::<Vec<i64>>());
    let query = query.bind(annexes().map(|(_, annex)| &annex.salt[..]).collect::<Vec<&[u8]>>());
    let query = query.bind(annexes().map(|(_, annex)| &annex.bytes[..]).collect::<Vec<&[u8]>>());
    let tiles = || rows.tiles.iter();
    let query = query.bind(tiles().map(|tile| i16::from(tile.id.level)).collect::<Vec<i16>>());
    let query = query.bind(tiles().map(|tile| signed(tile.id.index)).collect::<Vec<i64>>());
    let query = query.bind(tiles().map(|tile| tile.bytes()).collect::<Vec<Vec<u8>>>());
    let erasures = || rows.erasures.iter();
    let query = query.bind(erasures().map(|e| signed(e.position.0)).collect::<Vec<i64>>());
    query.bind(erasures().map(|erasure| signed(erasure.ordered.0)).collect::<Vec<i64>>())
}

/// Adds output and checkpoints.
fn outputs(query: Statement, rows: &Rows, behind: Head) -> Statement {
    let pieces = || rows.outputs.iter();
    let query = query.bind(signed(behind.output));
    let query = query.bind(pieces().map(|piece| signed(piece.offset)).collect::<Vec<i64>>());
    let query = query.bind(pieces().map(|p| p.stored_at.micros()).collect::<Vec<i64>>());
    let query = query.bind(pieces().map(|piece| piece.deployment.uuid()).collect::<Vec<Uuid>>());
    let query = query.bind(pieces().map(|piece| &piece.bytes[..]).collect::<Vec<&[u8]>>());
    let notes = || rows.checkpoints.iter();
    let query = query.bind(signed(behind.signed));
    let query = query.bind(notes().map(|note| signed(note.size)).collect::<Vec<i64>>());
    query.bind(notes().map(|note| note.note.clone()).collect::<Vec<String>>())
}

/// Reads what the clock said, and the numbers of the names that were asked.
pub(super) fn answer(row: &PgRow) -> Result<(Timestamp, Vec<i32>), Error> {
    let answer: Vec<i64> = row.try_get(0)?;
    let damaged = || Error::Decode("ledger.append tells something else than numbers".into());
    let (clock, numbers) = answer.split_first().ok_or_else(damaged)?;
    let numbers = numbers.iter().map(|number| i32::try_from(*number).map_err(|_| damaged()));
    Ok((Timestamp::from_micros(*clock), numbers.collect::<Result<_, _>>()?))
}
