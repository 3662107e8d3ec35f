//! One connection that reads, and the questions that it answers. It blocks.
//!
//! A page is one statement, and the names that its rows refer to are asked for
//! while it runs: so they are of the same snapshot.

use super::cells::{Cells, Wrong, event_columns};
use super::intern::stream_name;
use super::names::Names;
use super::{row, signed};
use crate::limits;
use crate::read::{Annexes, ReadError, StoredOutput, weight};
use ledger_core::merkle::{Tile, TileId};
use ledger_core::{DeploymentId, EventId, Position, Record, StreamId, Version};
use rusqlite::{CachedStatement, Connection, Error, OptionalExtension, Params, Row};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Events, with the columns that [`row::record`] reads. LEFT JOIN: most have no annex.
macro_rules! events {
    (bare $rest:literal) => {
        concat!("SELECT ", event_columns!(), " FROM events e", $rest)
    };
    (whole $rest:literal) => {
        concat!(
            "SELECT ",
            event_columns!(),
            ", x.salt, x.bytes FROM events e LEFT JOIN annexes x ON x.position = e.position",
            $rest
        )
    };
}

/// A connection that reads.
pub(super) struct Reader {
    connection: Connection,
    names: Arc<Names>,
}

impl Reader {
    pub(super) fn new(connection: Connection, names: Arc<Names>) -> Self {
        Self { connection, names }
    }

    fn prepare(&self, sql: &str) -> Result<CachedStatement<'_>, ReadError> {
        self.connection.prepare_cached(sql).map_err(database)
    }

    /// Reads one page of events, each of which `follows` what came before it.
    fn page(
        &self,
        sql: &str,
        params: impl Params,
        annexes: bool,
        mut follows: impl FnMut(&Record) -> Result<(), ReadError>,
    ) -> Result<Vec<Record>, ReadError> {
        let mut statement = self.prepare(sql)?;
        let mut rows = statement.query(params).map_err(database)?;
        let mut records = Vec::new();
        let mut bytes = 0;
        while bytes < limits::PAGE_BYTES_MAX
            && let Some(row) = rows.next().map_err(database)?
        {
            let record = self.record(row, annexes)?;
            follows(&record)?;
            bytes += weight(&record);
            records.push(record);
        }
        Ok(records)
    }

    fn record(&self, row: &Row<'_>, annexes: bool) -> Result<Record, ReadError> {
        row::record(&self.connection, &self.names, row, annexes).map_err(Wrong::told)
    }

    pub(super) fn records(
        &self,
        from: Position,
        limit: usize,
        annexes: bool,
    ) -> Result<Vec<Record>, ReadError> {
        const WHOLE: &str = events!(whole " WHERE e.position >= ? ORDER BY e.position LIMIT ?");
        const BARE: &str = events!(bare " WHERE e.position >= ? ORDER BY e.position LIMIT ?");
        let sql = if annexes { WHOLE } else { BARE };
        let mut expected = from;
        self.page(sql, (signed(from.0), signed(limit as u64)), annexes, |record| {
            let found = record.position;
            if found != expected {
                return Err(ReadError::Gap { expected, found });
            }
            expected = expected.next();
            Ok(())
        })
    }

    pub(super) fn stream(
        &self,
        stream: &StreamId,
        from: Version,
        limit: usize,
        annexes: bool,
    ) -> Result<Vec<Record>, ReadError> {
        const WHOLE: &str = events!(
            whole " WHERE e.stream = (SELECT id FROM names WHERE name = ?) AND e.version >= ? \
             ORDER BY e.version LIMIT ?"
        );
        const BARE: &str = events!(
            bare " WHERE e.stream = (SELECT id FROM names WHERE name = ?) AND e.version >= ? \
             ORDER BY e.version LIMIT ?"
        );
        let sql = if annexes { WHOLE } else { BARE };
        let mut scratch = String::new();
        let name = stream_name(stream, &mut scratch);
        let params = (name, signed(from.0), signed(limit as u64));
        let mut expected = from;
        self.page(sql, params, annexes, |record| {
            let (position, found) = (record.position, record.version);
            if found != expected {
                let what = format!("version {found} stands where {expected} should");
                return Err(ReadError::Corrupt { position, column: "version", what });
            }
            expected = expected.next();
            Ok(())
        })
    }

    pub(super) fn annexes(&self, positions: &[Position]) -> Result<Annexes, ReadError> {
        const SQL: &str = "SELECT e.position, e.annex_digest, x.salt, x.bytes \
             FROM annexes x JOIN events e ON e.position = x.position \
             WHERE x.position IN (SELECT value FROM json_each(?))";
        let positions: Vec<String> =
            positions.iter().map(|position| position.0.to_string()).collect();
        let params = [format!("[{}]", positions.join(","))];
        let annexes = self.all(SQL, params, row::annex)?;
        Ok(annexes.into_iter().collect())
    }

    pub(super) fn find(&self, id: EventId) -> Result<Option<Record>, ReadError> {
        const SQL: &str = events!(whole " WHERE e.event_id = ?");
        let mut statement = self.prepare(SQL)?;
        let mut rows = statement.query([id.bytes()]).map_err(database)?;
        let row = rows.next().map_err(database)?;
        row.map(|row| self.record(row, true)).transpose()
    }

    pub(super) fn output_from(
        &self,
        deployment: DeploymentId,
        offset: u64,
        limit: usize,
    ) -> Result<Vec<StoredOutput>, ReadError> {
        const SQL: &str = "SELECT cursor, deployment, start, stored_at, bytes FROM outputs \
             WHERE deployment = ? AND start >= ? ORDER BY start LIMIT ?";
        let params = (deployment.bytes(), signed(offset), signed(limit as u64));
        self.all(SQL, params, row::output)
    }

    pub(super) fn outputs_of(
        &self,
        deployments: &[DeploymentId],
        cursors: &RangeInclusive<u64>,
        limit: usize,
    ) -> Result<Vec<StoredOutput>, ReadError> {
        // Within a deployment, offset and cursor grow together.
        const SQL: &str = "SELECT cursor, deployment, start, stored_at, bytes FROM outputs \
             WHERE deployment = ? AND cursor BETWEEN ? AND ? ORDER BY start LIMIT ?";
        let (first, last) = (signed(*cursors.start()), signed(*cursors.end()));
        let mut pieces = Vec::new();
        for deployment in deployments {
            let params = (deployment.bytes(), first, last, signed(limit as u64));
            pieces.extend(self.all(SQL, params, row::output)?);
            // Only the first ones of all deployments are wanted.
            pieces.sort_by_key(|piece| piece.cursor);
            pieces.truncate(limit);
        }
        Ok(pieces)
    }

    pub(super) fn output_owners(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, DeploymentId)>, ReadError> {
        const SQL: &str =
            "SELECT cursor, deployment FROM outputs WHERE cursor > ? ORDER BY cursor LIMIT ?";
        self.all(SQL, (signed(after), signed(limit as u64)), row::output_owner)
    }

    pub(super) fn output(&self, cursor: u64) -> Result<Option<StoredOutput>, ReadError> {
        const SQL: &str = "SELECT cursor, deployment, start, stored_at, bytes FROM outputs \
                           WHERE cursor = ?";
        Ok(self.all(SQL, [signed(cursor)], row::output)?.pop())
    }

    pub(super) fn output_head(&self) -> Result<u64, ReadError> {
        self.head_of("SELECT coalesce(max(cursor), 0) FROM outputs")
    }

    pub(super) fn head(&self) -> Result<Position, ReadError> {
        self.head_of("SELECT coalesce(max(position), 0) FROM events").map(Position)
    }

    fn head_of(&self, sql: &str) -> Result<u64, ReadError> {
        let head: i64 = self.prepare(sql)?.query_row([], |row| row.get(0)).map_err(database)?;
        Ok(u64::try_from(head).unwrap_or_default())
    }

    pub(super) fn tile(&self, id: TileId) -> Result<Option<Tile>, ReadError> {
        const SQL: &str = "SELECT hashes FROM tiles WHERE level = ? AND idx = ?";
        let mut statement = self.prepare(SQL)?;
        let mut rows =
            statement.query((i64::from(id.level), signed(id.index))).map_err(database)?;
        let row = rows.next().map_err(database)?;
        row.map(|row| row::tile(row, id)).transpose()
    }

    pub(super) fn newest_checkpoint(&self) -> Result<Option<String>, ReadError> {
        const SQL: &str = "SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1";
        self.prepare(SQL)?.query_row([], |row| row.get(0)).optional().map_err(database)
    }

    /// Reads every row of an answer that is bounded by its question.
    fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: fn(Cells<'_>) -> Result<T, Wrong>,
    ) -> Result<Vec<T>, ReadError> {
        let mut statement = self.prepare(sql)?;
        let mut rows = statement.query(params).map_err(database)?;
        let mut all = Vec::new();
        while let Some(row) = rows.next().map_err(database)? {
            all.push(row::cells(row).and_then(read).map_err(Wrong::told)?);
        }
        Ok(all)
    }
}

fn database(error: Error) -> ReadError {
    ReadError::Database(Box::new(error))
}
