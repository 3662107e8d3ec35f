//! Inserts of many rows by few statements.
//!
//! Each statement costs a round trip to the connection's thread, which is most of
//! the price of a row. So rows go in by the hundred, in statements of few
//! different sizes, which the connection keeps prepared.

use super::append::signed;
use super::intern::Interner;
use crate::backend::{Request, Rows};
use crate::read::StoredOutput;
use ledger_core::Record;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Sqlite, SqliteConnection};

/// Rows of one statement. 13 columns of an event make 3,328 variables of SQLite's 32,766.
const CHUNK_ROWS_MAX: usize = 256;

type Statement<'q> = Query<'q, Sqlite, SqliteArguments>;

/// Inserts everything, in the order that the guards demand.
pub(super) async fn rows(
    connection: &mut SqliteConnection,
    names: &mut Interner,
    rows: &Rows,
) -> Result<(), sqlx::Error> {
    let records = &rows.records;
    names
        .intern(
            connection,
            records.iter().flat_map(|record| {
                [record.stream.to_string(), record.type_name.clone(), record.actor.id.clone()]
            }),
        )
        .await?;
    const EVENTS: &str = "INSERT INTO events (position, stream, version, event_id, type, \
         recorded_at, lag, actor_kind, actor, correlation_id, causation_id, annex_digest, payload) \
         VALUES";
    let events = records.iter().collect::<Vec<_>>();
    insert(connection, EVENTS, 13, &events, |query, record| event(query, names, record)).await?;

    const ANNEXES: &str = "INSERT INTO annexes (position, salt, bytes) VALUES";
    let with_annex: Vec<&Record> = records.iter().filter(|r| r.annex.is_some()).collect();
    insert(connection, ANNEXES, 3, &with_annex, annex).await?;

    const REQUESTS: &str = "INSERT INTO requests (position, events, given) VALUES";
    let requests: Vec<&Request> = rows.requests.iter().collect();
    insert(connection, REQUESTS, 3, &requests, request).await?;

    const OUTPUTS: &str =
        "INSERT INTO outputs (cursor, deployment, start, length, stored_at, bytes) VALUES";
    let outputs: Vec<&StoredOutput> = rows.outputs.iter().collect();
    insert(connection, OUTPUTS, 6, &outputs, output).await
}

async fn insert<'a, T>(
    connection: &mut SqliteConnection,
    sql: &str,
    n_columns: usize,
    rows: &[&'a T],
    bind: impl Fn(Statement<'static>, &'a T) -> Statement<'static>,
) -> Result<(), sqlx::Error> {
    for chunk in chunks(rows) {
        let query = sqlx::query(AssertSqlSafe(with_rows(sql, n_columns, chunk.len())));
        let query = chunk.iter().fold(query, |query, row| bind(query, row));
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

fn event(query: Statement<'static>, names: &Interner, record: &Record) -> Statement<'static> {
    let lag = record.recorded_at.micros() - record.occurred_at.micros();
    query
        .bind(signed(record.position.0))
        // All three were interned; NULL, if not, is refused by the table.
        .bind(names.number(&record.stream.to_string()))
        .bind(signed(record.version.0))
        .bind(record.event_id.bytes().to_vec())
        .bind(names.number(&record.type_name))
        .bind(record.recorded_at.micros())
        .bind(lag)
        .bind(i64::from(record.actor.kind.code()))
        .bind(names.number(&record.actor.id))
        .bind(record.correlation_id.map(|id| id.bytes().to_vec()))
        .bind(record.causation_id.map(|id| id.bytes().to_vec()))
        .bind(record.annex_digest.map(|digest| digest.0.to_vec()))
        .bind(record.payload.clone())
}

fn annex(query: Statement<'static>, record: &Record) -> Statement<'static> {
    let annex = record.annex.as_ref();
    query
        .bind(signed(record.position.0))
        .bind(annex.map(|annex| annex.salt.to_vec()))
        .bind(annex.map(|annex| annex.bytes.clone()))
}

fn request(query: Statement<'static>, request: &Request) -> Statement<'static> {
    let n_events = request.last.0.saturating_sub(request.first.0).saturating_add(1);
    query.bind(signed(request.first.0)).bind(signed(n_events)).bind(request.given.0.to_vec())
}

fn output(query: Statement<'static>, output: &StoredOutput) -> Statement<'static> {
    query
        .bind(signed(output.cursor))
        .bind(output.deployment.bytes().to_vec())
        .bind(signed(output.offset))
        .bind(signed(output.bytes.len() as u64))
        .bind(output.stored_at.micros())
        .bind(output.bytes.clone())
}

/// Cuts rows into chunks whose sizes are powers of two, so that there are few
/// different statements: nine per table.
pub(super) fn chunks<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = rows.len().checked_ilog2().map(|exponent| 1_usize << exponent)?;
        let (chunk, rest) = rows.split_at(size.min(CHUNK_ROWS_MAX));
        rows = rest;
        Some(chunk)
    })
}

/// Completes `INSERT … VALUES` with that many rows of variables.
pub(super) fn with_rows(sql: &str, n_columns: usize, n_rows: usize) -> String {
    let row = format!("({})", vec!["?"; n_columns].join(","));
    format!("{sql} {}", vec![row.as_str(); n_rows].join(","))
}

/// Completes `… IN` with a list of variables.
pub(super) fn with_list(sql: &str, n_items: usize) -> String {
    format!("{sql} ({})", vec!["?"; n_items].join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_hold_every_row_once_and_have_few_sizes() {
        for n_rows in [0, 1, 2, 3, 255, 256, 257, 1_000, 2_047] {
            let rows: Vec<usize> = (0..n_rows).collect();
            let chunks: Vec<&[usize]> = chunks(&rows).collect();
            assert_eq!(chunks.concat(), rows);
            assert!(chunks.iter().all(|c| c.len().is_power_of_two() && c.len() <= CHUNK_ROWS_MAX));
        }
    }

    #[test]
    fn statements_have_a_variable_for_every_column() {
        assert_eq!(with_rows("INSERT INTO t VALUES", 2, 2), "INSERT INTO t VALUES (?,?),(?,?)");
        assert_eq!(with_list("SELECT 1 IN", 3), "SELECT 1 IN (?,?,?)");
    }
}
