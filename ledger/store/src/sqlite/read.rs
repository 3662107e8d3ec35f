//! The reading side: every question is asked on a thread that may block.

use super::pool::Pool;
use crate::backend::Read;
use crate::read::{Annexes, ReadError, StoredOutput};
use futures_util::future::BoxFuture;
use ledger_core::merkle::{Tile, TileId};
use ledger_core::{DeploymentId, EventId, Position, Record, StreamId, Version};
use std::io;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// The reading side of the database.
pub(crate) struct SqliteReader {
    pool: Pool,
    path: PathBuf,
}

impl SqliteReader {
    pub(super) fn new(pool: Pool, path: PathBuf) -> Self {
        Self { pool, path }
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
        Box::pin(self.pool.ask(move |reader| reader.records(from, limit, annexes)))
    }

    fn stream<'a>(
        &'a self,
        stream: &'a StreamId,
        from: Version,
        limit: usize,
        annexes: bool,
    ) -> BoxFuture<'a, Result<Vec<Record>, ReadError>> {
        let stream = stream.clone();
        Box::pin(self.pool.ask(move |reader| reader.stream(&stream, from, limit, annexes)))
    }

    fn annexes<'a>(
        &'a self,
        positions: &'a [Position],
    ) -> BoxFuture<'a, Result<Annexes, ReadError>> {
        let positions = positions.to_vec();
        Box::pin(self.pool.ask(move |reader| reader.annexes(&positions)))
    }

    fn find(&self, id: EventId) -> BoxFuture<'_, Result<Option<Record>, ReadError>> {
        Box::pin(self.pool.ask(move |reader| reader.find(id)))
    }

    fn outputs_of<'a>(
        &'a self,
        deployments: &'a [DeploymentId],
        cursors: RangeInclusive<u64>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<StoredOutput>, ReadError>> {
        let deployments = deployments.to_vec();
        Box::pin(self.pool.ask(move |reader| reader.outputs_of(&deployments, &cursors, limit)))
    }

    fn output_owners(
        &self,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(u64, DeploymentId)>, ReadError>> {
        Box::pin(self.pool.ask(move |reader| reader.output_owners(after, limit)))
    }

    fn output_from(
        &self,
        deployment: DeploymentId,
        offset: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<StoredOutput>, ReadError>> {
        Box::pin(self.pool.ask(move |reader| reader.output_from(deployment, offset, limit)))
    }

    fn output(&self, cursor: u64) -> BoxFuture<'_, Result<Option<StoredOutput>, ReadError>> {
        Box::pin(self.pool.ask(move |reader| reader.output(cursor)))
    }

    fn output_head(&self) -> BoxFuture<'_, Result<u64, ReadError>> {
        Box::pin(self.pool.ask(|reader| reader.output_head()))
    }

    fn head(&self) -> BoxFuture<'_, Result<Position, ReadError>> {
        Box::pin(self.pool.ask(|reader| reader.head()))
    }

    fn tile(&self, id: TileId) -> BoxFuture<'_, Result<Option<Tile>, ReadError>> {
        Box::pin(self.pool.ask(move |reader| reader.tile(id)))
    }

    fn newest_checkpoint(&self) -> BoxFuture<'_, Result<Option<String>, ReadError>> {
        Box::pin(self.pool.ask(|reader| reader.newest_checkpoint()))
    }

    fn size(&self) -> BoxFuture<'_, Result<u64, ReadError>> {
        Box::pin(self.size())
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.pool.close())
    }
}
