//! The connections that read.

use super::{row, signed};
use crate::backend::Read;
use crate::limits;
use crate::read::{Annexes, ReadError, StoredOutput, weight};
use futures_util::TryStreamExt;
use futures_util::future::BoxFuture;
use ledger_core::merkle::{Tile, TileId};
use ledger_core::{DeploymentId, EventId, Position, Record, StreamId, Version};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqlitePool};
use std::io;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// The columns of an event, as `row` reads them. LEFT JOINs, so that a name that
/// is missing shows as damage and not as a gap.
macro_rules! events {
    ($annex_columns:literal, $annex_join:literal, $rest:literal) => {
        concat!(
            "SELECT e.position, s.name AS stream, e.version, e.event_id, t.name AS type, \
             e.recorded_at, e.lag, e.actor_kind, a.name AS actor, e.correlation, \
             c.name AS correlation_id, e.causation_id, e.annex_digest, e.given, e.events, e.payload",
            $annex_columns,
            " FROM events e LEFT JOIN names s ON s.id = e.stream \
             LEFT JOIN names t ON t.id = e.type LEFT JOIN names a ON a.id = e.actor \
             LEFT JOIN names c ON c.id = e.correlation",
            $annex_join,
            $rest,
        )
    };
    ($rest:literal) => {
        events!(
            ", x.salt AS annex_salt, x.bytes AS annex",
            " LEFT JOIN annexes x ON x.position = e.position",
            $rest
        )
    };
}

/// The reading side of the database.
pub(crate) struct SqliteReader {
    pool: SqlitePool,
    path: PathBuf,
}

impl SqliteReader {
    pub(super) fn new(pool: SqlitePool, path: PathBuf) -> Self {
        Self { pool, path }
    }

    async fn records(
        &self,
        from: Position,
        limit: usize,
        annexes: bool,
    ) -> Result<Vec<Record>, ReadError> {
        const WITH_ANNEXES: &str = events!(" WHERE e.position >= ? ORDER BY e.position LIMIT ?");
        const WITHOUT: &str = events!("", "", " WHERE e.position >= ? ORDER BY e.position LIMIT ?");
        let query = sqlx::query(if annexes { WITH_ANNEXES } else { WITHOUT });
        let query = query.bind(signed(from.0)).bind(signed(limit as u64));
        let mut rows = query.fetch(&self.pool);
        let mut expected = from;
        let mut records = Vec::new();
        let mut bytes = 0;
        while bytes < limits::PAGE_BYTES_MAX
            && let Some(row) = rows.try_next().await.map_err(database)?
        {
            let record = row::record(&row, annexes)?;
            if record.position != expected {
                return Err(ReadError::Gap { expected, found: record.position });
            }
            expected = expected.next();
            bytes += weight(&record);
            records.push(record);
        }
        Ok(records)
    }

    async fn stream(
        &self,
        stream: &StreamId,
        from: Version,
        limit: usize,
        annexes: bool,
    ) -> Result<Vec<Record>, ReadError> {
        const WITH_ANNEXES: &str = events!(
            " WHERE e.stream = (SELECT id FROM names WHERE name = ?) AND e.version >= ? \
             ORDER BY e.version LIMIT ?"
        );
        const WITHOUT: &str = events!(
            "",
            "",
            " WHERE e.stream = (SELECT id FROM names WHERE name = ?) AND e.version >= ? \
             ORDER BY e.version LIMIT ?"
        );
        let query = sqlx::query(if annexes { WITH_ANNEXES } else { WITHOUT });
        let query = match stream {
            StreamId::Activation(id) => query.bind(id.bytes().to_vec()),
            other => query.bind(other.to_string()),
        };
        let query = query.bind(signed(from.0)).bind(signed(limit as u64));
        let mut rows = query.fetch(&self.pool);
        let mut expected = from;
        let mut records = Vec::new();
        let mut bytes = 0;
        while bytes < limits::PAGE_BYTES_MAX
            && let Some(row) = rows.try_next().await.map_err(database)?
        {
            let record = row::record(&row, annexes)?;
            if record.version != expected {
                let (position, found) = (record.position, record.version);
                let what = format!("version {found} stands where {expected} should");
                return Err(ReadError::Corrupt { position, column: "version", what });
            }
            expected = expected.next();
            bytes += weight(&record);
            records.push(record);
        }
        Ok(records)
    }

    async fn annexes(&self, positions: &[Position]) -> Result<Annexes, ReadError> {
        const SQL: &str = "SELECT e.position, e.annex_digest, x.salt AS annex_salt, \
             x.bytes AS annex FROM annexes x JOIN events e ON e.position = x.position \
             WHERE x.position IN (SELECT value FROM json_each(?))";
        let positions: Vec<String> =
            positions.iter().map(|position| position.0.to_string()).collect();
        let query = sqlx::query(SQL).bind(format!("[{}]", positions.join(",")));
        let mut rows = query.fetch(&self.pool);
        let mut annexes = Annexes::new();
        while let Some(row) = rows.try_next().await.map_err(database)? {
            let (position, annex) = row::annex(&row)?;
            annexes.insert(position, annex);
        }
        Ok(annexes)
    }

    async fn output_from(
        &self,
        deployment: DeploymentId,
        offset: u64,
        limit: usize,
    ) -> Result<Vec<StoredOutput>, ReadError> {
        const SQL: &str = "SELECT cursor, deployment, start, stored_at, bytes FROM outputs \
             WHERE deployment = ? AND start >= ? ORDER BY start LIMIT ?";
        let query = sqlx::query(SQL).bind(deployment.bytes().to_vec());
        let query = query.bind(signed(offset)).bind(signed(limit as u64));
        let rows = query.fetch_all(&self.pool).await.map_err(database)?;
        rows.iter().map(row::output).collect()
    }

    async fn find(&self, id: EventId) -> Result<Option<Record>, ReadError> {
        const SQL: &str = events!(" WHERE e.event_id = ?");
        let query = sqlx::query(SQL).bind(id.bytes().to_vec());
        let row = query.fetch_optional(&self.pool).await.map_err(database)?;
        row.map(|row| row::record(&row, true)).transpose()
    }

    async fn outputs_of(
        &self,
        deployments: &[DeploymentId],
        cursors: RangeInclusive<u64>,
        limit: usize,
    ) -> Result<Vec<StoredOutput>, ReadError> {
        // Within a deployment, offset and cursor grow together.
        const SQL: &str = "SELECT cursor, deployment, start, stored_at, bytes FROM outputs \
             WHERE deployment = ? AND cursor BETWEEN ? AND ? ORDER BY start LIMIT ?";
        let mut pieces = Vec::new();
        for deployment in deployments {
            let query = sqlx::query(SQL).bind(deployment.bytes().to_vec());
            let query = query.bind(signed(*cursors.start())).bind(signed(*cursors.end()));
            let query = query.bind(signed(limit as u64));
            let rows = query.fetch_all(&self.pool).await.map_err(database)?;
            for row in &rows {
                pieces.push(row::output(row)?);
            }
            // Only the first ones of all deployments are wanted.
            pieces.sort_by_key(|piece| piece.cursor);
            pieces.truncate(limit);
        }
        Ok(pieces)
    }

    async fn output_owners(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, DeploymentId)>, ReadError> {
        const SQL: &str =
            "SELECT cursor, deployment FROM outputs WHERE cursor > ? ORDER BY cursor LIMIT ?";
        let query = sqlx::query(SQL).bind(signed(after)).bind(signed(limit as u64));
        let rows = query.fetch_all(&self.pool).await.map_err(database)?;
        rows.iter().map(row::output_owner).collect()
    }

    async fn output(&self, cursor: u64) -> Result<Option<StoredOutput>, ReadError> {
        const SQL: &str = "SELECT cursor, deployment, start, stored_at, bytes FROM outputs \
                           WHERE cursor = ?";
        let query = sqlx::query(SQL).bind(signed(cursor));
        let row: Option<SqliteRow> = query.fetch_optional(&self.pool).await.map_err(database)?;
        row.map(|row| row::output(&row)).transpose()
    }

    async fn output_head(&self) -> Result<u64, ReadError> {
        const SQL: &str = "SELECT coalesce(max(cursor), 0) FROM outputs";
        let row = sqlx::query(SQL).fetch_one(&self.pool).await.map_err(database)?;
        let head: i64 = row.try_get(0).map_err(database)?;
        Ok(u64::try_from(head).unwrap_or_default())
    }

    async fn tile(&self, id: TileId) -> Result<Option<Tile>, ReadError> {
        const SQL: &str = "SELECT hashes FROM tiles WHERE level = ? AND idx = ?";
        let query = sqlx::query(SQL).bind(i64::from(id.level)).bind(signed(id.index));
        let row = query.fetch_optional(&self.pool).await.map_err(database)?;
        row.map(|row| row::tile(&row, id)).transpose()
    }

    async fn head(&self) -> Result<Position, ReadError> {
        const SQL: &str = "SELECT coalesce(max(position), 0) FROM events";
        let row = sqlx::query(SQL).fetch_one(&self.pool).await.map_err(database)?;
        let head: i64 = row.try_get(0).map_err(database)?;
        Ok(Position(u64::try_from(head).unwrap_or_default()))
    }

    async fn newest_checkpoint(&self) -> Result<Option<String>, ReadError> {
        const SQL: &str = "SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1";
        let row = sqlx::query(SQL).fetch_optional(&self.pool).await.map_err(database)?;
        row.map(|row| row.try_get(0)).transpose().map_err(database)
    }

    /// The database and what waits in its write-ahead log.
    async fn size(&self) -> Result<u64, ReadError> {
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        let mut bytes = 0;
        for path in [self.path.clone(), PathBuf::from(log)] {
            match tokio::fs::metadata(&path).await {
                Ok(file) => bytes += file.len(),
                // The write-ahead log is there only while it is needed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(ReadError::Database(Box::new(error))),
            }
        }
        Ok(bytes)
    }
}

impl Read for SqliteReader {
    fn records(
        &self,
        from: Position,
        limit: usize,
        annexes: bool,
    ) -> BoxFuture<'_, Result<Vec<Record>, ReadError>> {
        Box::pin(self.records(from, limit, annexes))
    }

    fn stream<'a>(
        &'a self,
        stream: &'a StreamId,
        from: Version,
        limit: usize,
        annexes: bool,
    ) -> BoxFuture<'a, Result<Vec<Record>, ReadError>> {
        Box::pin(self.stream(stream, from, limit, annexes))
    }

    fn annexes<'a>(
        &'a self,
        positions: &'a [Position],
    ) -> BoxFuture<'a, Result<Annexes, ReadError>> {
        Box::pin(self.annexes(positions))
    }

    fn find(&self, id: EventId) -> BoxFuture<'_, Result<Option<Record>, ReadError>> {
        Box::pin(self.find(id))
    }

    fn outputs_of<'a>(
        &'a self,
        deployments: &'a [DeploymentId],
        cursors: RangeInclusive<u64>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<StoredOutput>, ReadError>> {
        Box::pin(self.outputs_of(deployments, cursors, limit))
    }

    fn output_owners(
        &self,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(u64, DeploymentId)>, ReadError>> {
        Box::pin(self.output_owners(after, limit))
    }

    fn output_from(
        &self,
        deployment: DeploymentId,
        offset: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<StoredOutput>, ReadError>> {
        Box::pin(self.output_from(deployment, offset, limit))
    }

    fn output(&self, cursor: u64) -> BoxFuture<'_, Result<Option<StoredOutput>, ReadError>> {
        Box::pin(self.output(cursor))
    }

    fn output_head(&self) -> BoxFuture<'_, Result<u64, ReadError>> {
        Box::pin(self.output_head())
    }

    fn head(&self) -> BoxFuture<'_, Result<Position, ReadError>> {
        Box::pin(self.head())
    }

    fn tile(&self, id: TileId) -> BoxFuture<'_, Result<Option<Tile>, ReadError>> {
        Box::pin(self.tile(id))
    }

    fn newest_checkpoint(&self) -> BoxFuture<'_, Result<Option<String>, ReadError>> {
        Box::pin(self.newest_checkpoint())
    }

    fn size(&self) -> BoxFuture<'_, Result<u64, ReadError>> {
        Box::pin(self.size())
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.pool.close())
    }
}

fn database(error: sqlx::Error) -> ReadError {
    ReadError::Database(Box::new(error))
}
