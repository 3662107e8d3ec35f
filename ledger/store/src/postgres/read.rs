//! The connections that read.

use super::names::Names;
use super::{row, signed};
use crate::backend::Read;
use crate::limits;
use crate::read::{Annexes, ReadError, StoredOutput};
use futures_util::TryStreamExt;
use futures_util::future::BoxFuture;
use ledger_core::merkle::{Tile, TileId};
use ledger_core::{DeploymentId, EventId, Position, Record, StreamId, Version};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::types::Uuid;
use sqlx::{PgPool, Postgres, Row};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The columns of an event, in the order of `row`. Names are looked up apart, for
/// the same few come again and again.
macro_rules! events {
    ($annex_columns:literal, $annex_join:literal, $rest:literal) => {
        concat!(
            "SELECT e.position, e.place, e.event_id, e.type, e.recorded_at, e.lag, e.actor_kind, \
             e.actor, e.correlation_id, e.causation_id, e.annex_digest, e.given, e.events, \
             e.payload",
            $annex_columns,
            " FROM ledger.events e",
            $annex_join,
            $rest,
        )
    };
    ($rest:literal) => {
        events!(
            ", x.salt AS annex_salt, x.bytes AS annex",
            " LEFT JOIN ledger.annexes x ON x.position = e.position",
            $rest
        )
    };
}

/// The reading side of the database.
pub(crate) struct PostgresReader {
    pool: PgPool,
    names: Names,
    /// The newest position that was heard of, for the writer: what is read up to there,
    /// it may not judge without.
    heard: Arc<AtomicU64>,
}

type Question<'q> = Query<'q, Postgres, PgArguments>;

impl PostgresReader {
    pub(super) fn new(pool: PgPool) -> Self {
        Self { pool, names: Names::default(), heard: Arc::default() }
    }

    pub(super) fn heard(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.heard)
    }

    /// Returns where the log and the output end.
    pub(super) async fn ends(&self) -> Result<(Position, u64), ReadError> {
        const SQL: &str = "SELECT position, output FROM ledger.head";
        let row = sqlx::query(SQL).fetch_one(&self.pool).await.map_err(database)?;
        let number = |column| {
            let value: i64 = row.try_get(column).map_err(database)?;
            Ok(u64::try_from(value).unwrap_or_default())
        };
        let (position, output) = (number("position")?, number("output")?);
        self.heard.fetch_max(position, Ordering::Relaxed);
        Ok((Position(position), output))
    }

    /// Reads rows while their bytes fit one page, and checks each against the last.
    async fn page(
        &self,
        query: Question<'_>,
        annexes: bool,
        mut check: impl FnMut(&Record) -> Result<(), ReadError>,
    ) -> Result<Vec<Record>, ReadError> {
        let rows = self.rows(query, annexes).await?;
        rows.first().map_or(Ok(()), row::check_types)?;
        let names = self.names.of(&self.pool, row::names(&rows)?).await?;
        let mut records = Vec::with_capacity(rows.len());
        for row in &rows {
            let record = row::record(row, &names, annexes)?;
            check(&record)?;
            records.push(record);
        }
        Ok(records)
    }

    async fn rows(&self, query: Question<'_>, annexes: bool) -> Result<Vec<PgRow>, ReadError> {
        let mut connection = self.pool.acquire().await.map_err(database)?;
        let mut arriving = query.fetch(&mut *connection);
        let mut rows = Vec::new();
        let mut bytes = 0;
        while bytes < limits::PAGE_BYTES_MAX {
            let Some(row) = arriving.try_next().await.map_err(database)? else { return Ok(rows) };
            bytes += row::weight(&row, annexes)?;
            rows.push(row);
        }
        drop(arriving);
        // The rest may be far more than a page, and would have to be received.
        connection.close_on_drop();
        Ok(rows)
    }

    async fn records(
        &self,
        from: Position,
        limit: usize,
        annexes: bool,
    ) -> Result<Vec<Record>, ReadError> {
        const WITH_ANNEXES: &str = events!(" WHERE e.position >= $1 ORDER BY e.position LIMIT $2");
        const WITHOUT: &str =
            events!("", "", " WHERE e.position >= $1 ORDER BY e.position LIMIT $2");
        let query = sqlx::query(if annexes { WITH_ANNEXES } else { WITHOUT });
        let mut expected = from;
        let query = query.bind(signed(from.0)).bind(signed(limit as u64));
        let follows = |record: &Record| {
            if record.position != expected {
                return Err(ReadError::Gap { expected, found: record.position });
            }
            expected = expected.next();
            Ok(())
        };
        self.page(query, annexes, follows).await
    }

    async fn stream(
        &self,
        stream: &StreamId,
        from: Version,
        limit: usize,
        annexes: bool,
    ) -> Result<Vec<Record>, ReadError> {
        const WITH_ANNEXES: &str = events!(
            " WHERE e.place >= (SELECT id::bigint << 33 FROM ledger.names WHERE name = $1) + $2 \
             AND e.place < (SELECT id + 1::bigint << 33 FROM ledger.names WHERE name = $1) \
             ORDER BY e.place LIMIT $3"
        );
        const WITHOUT: &str = events!(
            "",
            "",
            " WHERE e.place >= (SELECT id::bigint << 33 FROM ledger.names WHERE name = $1) + $2 \
             AND e.place < (SELECT id + 1::bigint << 33 FROM ledger.names WHERE name = $1) \
             ORDER BY e.place LIMIT $3"
        );
        let query = sqlx::query(if annexes { WITH_ANNEXES } else { WITHOUT });
        let query = query.bind(stream.to_string());
        let query = query.bind(signed(from.0)).bind(signed(limit as u64));
        let mut expected = from;
        let follows = |record: &Record| {
            if record.version != expected {
                let (position, found) = (record.position, record.version);
                let what = format!("version {found} stands where {expected} should");
                return Err(ReadError::Corrupt { position, column: "version", what });
            }
            expected = expected.next();
            Ok(())
        };
        self.page(query, annexes, follows).await
    }

    async fn annexes(&self, positions: &[Position]) -> Result<Annexes, ReadError> {
        const SQL: &str = "SELECT e.position, e.annex_digest, x.salt AS annex_salt, \
             x.bytes AS annex FROM ledger.annexes x JOIN ledger.events e ON e.position = x.position \
             WHERE x.position = ANY ($1)";
        let positions: Vec<i64> = positions.iter().map(|position| signed(position.0)).collect();
        let mut rows = sqlx::query(SQL).bind(positions).fetch(&self.pool);
        let mut annexes = Annexes::new();
        while let Some(row) = rows.try_next().await.map_err(database)? {
            let (position, annex) = row::annex(&row)?;
            annexes.insert(position, annex);
        }
        Ok(annexes)
    }

    async fn find(&self, id: EventId) -> Result<Option<Record>, ReadError> {
        const SQL: &str =
            events!(" WHERE ledger.id_key(e.event_id) = ledger.id_key($1) AND e.event_id = $1");
        let query = sqlx::query(SQL).bind(id.uuid());
        Ok(self.page(query, true, |_| Ok(())).await?.pop())
    }

    async fn pieces(&self, query: Question<'_>) -> Result<Vec<StoredOutput>, ReadError> {
        let rows = query.fetch_all(&self.pool).await.map_err(database)?;
        rows.iter().map(row::output).collect()
    }

    async fn output_from(
        &self,
        deployment: DeploymentId,
        offset: u64,
        limit: usize,
    ) -> Result<Vec<StoredOutput>, ReadError> {
        const SQL: &str = "SELECT cursor, deployment, start, stored_at, bytes FROM ledger.outputs \
             WHERE deployment = $1 AND start >= $2 ORDER BY start LIMIT $3";
        let query = sqlx::query(SQL).bind(deployment.uuid());
        self.pieces(query.bind(signed(offset)).bind(signed(limit as u64))).await
    }

    async fn outputs_of(
        &self,
        deployments: &[DeploymentId],
        cursors: RangeInclusive<u64>,
        limit: usize,
    ) -> Result<Vec<StoredOutput>, ReadError> {
        const SQL: &str = "SELECT o.* FROM unnest($1::uuid[]) d (id) CROSS JOIN LATERAL (\
             SELECT cursor, deployment, start, stored_at, bytes FROM ledger.outputs \
             WHERE deployment = d.id AND cursor BETWEEN $2 AND $3 ORDER BY cursor LIMIT $4) o \
             ORDER BY o.cursor LIMIT $4";
        let deployments: Vec<Uuid> = deployments.iter().map(|id| id.uuid()).collect();
        let query = sqlx::query(SQL).bind(deployments).bind(signed(*cursors.start()));
        self.pieces(query.bind(signed(*cursors.end())).bind(signed(limit as u64))).await
    }

    async fn output_owners(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, DeploymentId)>, ReadError> {
        const SQL: &str = "SELECT cursor, deployment FROM ledger.outputs WHERE cursor > $1 \
             ORDER BY cursor LIMIT $2";
        let query = sqlx::query(SQL).bind(signed(after)).bind(signed(limit as u64));
        let rows = query.fetch_all(&self.pool).await.map_err(database)?;
        rows.iter().map(row::output_owner).collect()
    }

    async fn output(&self, cursor: u64) -> Result<Option<StoredOutput>, ReadError> {
        const SQL: &str = "SELECT cursor, deployment, start, stored_at, bytes \
             FROM ledger.outputs WHERE cursor = $1";
        let query = sqlx::query(SQL).bind(signed(cursor));
        let row = query.fetch_optional(&self.pool).await.map_err(database)?;
        row.map(|row| row::output(&row)).transpose()
    }

    async fn tile(&self, id: TileId) -> Result<Option<Tile>, ReadError> {
        const SQL: &str = "SELECT hashes FROM ledger.tiles WHERE level = $1 AND idx = $2";
        let query = sqlx::query(SQL).bind(i16::from(id.level)).bind(signed(id.index));
        let row = query.fetch_optional(&self.pool).await.map_err(database)?;
        row.map(|row| row::tile(&row, id)).transpose()
    }

    async fn newest_checkpoint(&self) -> Result<Option<String>, ReadError> {
        const SQL: &str = "SELECT note FROM ledger.checkpoints ORDER BY size DESC LIMIT 1";
        let row = sqlx::query(SQL).fetch_optional(&self.pool).await.map_err(database)?;
        row.map(|row| row.try_get(0)).transpose().map_err(database)
    }

    async fn size(&self) -> Result<u64, ReadError> {
        const SQL: &str = "SELECT pg_database_size(current_database())";
        let row = sqlx::query(SQL).fetch_one(&self.pool).await.map_err(database)?;
        let bytes: i64 = row.try_get(0).map_err(database)?;
        Ok(u64::try_from(bytes).unwrap_or_default())
    }
}

impl Read for PostgresReader {
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
        Box::pin(async { Ok(self.ends().await?.1) })
    }

    fn head(&self) -> BoxFuture<'_, Result<Position, ReadError>> {
        Box::pin(async { Ok(self.ends().await?.0) })
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
