//! The one connection that writes.

use super::insert;
use super::intern::Interner;
use crate::backend::{Append, Failure, Given, Head, Request, Rows};
use ledger_core::{DeploymentId, EventId, Position, RequestId, StreamId, Version};
use sqlx::error::Error as SqlxError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row, SqliteConnection};
use std::collections::HashMap;
use std::fs::File;

/// The writing side of the database.
pub(crate) struct SqliteAppender {
    options: SqliteConnectOptions,
    /// Missing after a failure, until the next attempt connects anew.
    connection: Option<SqliteConnection>,
    names: Interner,
    /// Held for as long as the database is used.
    _lock: File,
}

impl SqliteAppender {
    pub(super) fn new(
        options: SqliteConnectOptions,
        connection: SqliteConnection,
        lock: File,
    ) -> Self {
        Self { options, connection: Some(connection), names: Interner::default(), _lock: lock }
    }

    /// Returns the connection that `lock` made sure of.
    fn connection(&mut self) -> Result<&mut SqliteConnection, Failure> {
        self.connection.as_mut().ok_or_else(|| failure(SqlxError::PoolClosed))
    }

    async fn begin(&mut self) -> Result<Head, Failure> {
        const HEAD: &str = "SELECT (SELECT coalesce(max(position), 0) FROM events), \
                            (SELECT coalesce(max(cursor), 0) FROM outputs)";
        let connection = match self.connection.take() {
            Some(connection) => self.connection.insert(connection),
            None => self.connection.insert(self.options.connect().await.map_err(failure)?),
        };
        execute(connection, "BEGIN IMMEDIATE").await?;
        let row = sqlx::query(HEAD).fetch_one(connection).await.map_err(failure)?;
        let position = Position(number(&row, 0).map_err(failure)?);
        let output = number(&row, 1).map_err(failure)?;
        Ok(Head { position, output })
    }

    /// Writes and commits one page that changes nothing, so that a full disk shows itself.
    async fn write_nothing(&mut self) -> Result<Head, Failure> {
        let head = self.begin().await?;
        let connection = self.connection()?;
        execute(connection, "PRAGMA user_version = 0").await?;
        execute(connection, "COMMIT").await?;
        Ok(head)
    }

    /// Forgets a connection whose transaction is in an unknown state.
    async fn disconnect(&mut self) {
        if let Some(connection) = self.connection.take() {
            // It failed already; what matters is that it is gone.
            let _ = connection.close_hard().await;
        }
    }
}

impl Append for SqliteAppender {
    async fn lock(&mut self) -> Result<Head, Failure> {
        self.begin().await
    }

    async fn find_requests(
        &mut self,
        ids: &[RequestId],
    ) -> Result<HashMap<RequestId, Request>, Failure> {
        let connection = self.connection()?;
        // A request is known by its first event, whose id is derived from it.
        let first_events: HashMap<EventId, RequestId> =
            ids.iter().map(|id| (EventId::derive(*id, 0), *id)).collect();
        let keys: Vec<EventId> = first_events.keys().copied().collect();
        let mut found = HashMap::new();
        for chunk in insert::chunks(&keys) {
            let sql = insert::with_list(
                "SELECT e.event_id, r.position, r.events, r.given FROM events e \
                 JOIN requests r ON r.position = e.position WHERE e.event_id IN",
                chunk.len(),
            );
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for id in chunk {
                query = query.bind(id.bytes().to_vec());
            }
            for row in query.fetch_all(&mut *connection).await.map_err(failure)? {
                let (id, request) = request(&row).map_err(failure)?;
                if let Some(id) = first_events.get(&id) {
                    found.insert(*id, request);
                }
            }
        }
        Ok(found)
    }

    async fn stream_version(&mut self, stream: &StreamId) -> Result<Version, Failure> {
        const SQL: &str = "SELECT coalesce(max(version), 0) FROM events \
                           WHERE stream = (SELECT id FROM names WHERE name = ?)";
        let query = sqlx::query(SQL).bind(stream.to_string());
        let row = query.fetch_one(self.connection()?).await.map_err(failure)?;
        number(&row, 0).map(Version).map_err(failure)
    }

    async fn output_end(&mut self, deployment: DeploymentId) -> Result<u64, Failure> {
        const SQL: &str = "SELECT start + length FROM outputs WHERE deployment = ? \
                           ORDER BY start DESC LIMIT 1";
        let query = sqlx::query(SQL).bind(deployment.bytes().to_vec());
        let row = query.fetch_optional(self.connection()?).await.map_err(failure)?;
        row.map_or(Ok(0), |row| number(&row, 0)).map_err(failure)
    }

    async fn output_at(
        &mut self,
        deployment: DeploymentId,
        offset: u64,
    ) -> Result<Option<Vec<u8>>, Failure> {
        const SQL: &str = "SELECT bytes FROM outputs WHERE deployment = ? AND start = ?";
        let query = sqlx::query(SQL).bind(deployment.bytes().to_vec()).bind(signed(offset));
        let row = query.fetch_optional(self.connection()?).await.map_err(failure)?;
        row.map(|row| row.try_get(0)).transpose().map_err(failure)
    }

    async fn insert(&mut self, rows: &Rows) -> Result<(), Failure> {
        let connection = self.connection.as_mut().ok_or_else(|| failure(SqlxError::PoolClosed))?;
        let names = &mut self.names;
        insert::rows(connection, names, rows).await.map_err(failure)
    }

    async fn commit(&mut self) -> Result<(), Failure> {
        execute(self.connection()?, "COMMIT").await?;
        self.names.committed();
        Ok(())
    }

    async fn abandon(&mut self) {
        self.names.abandoned();
        if let Some(connection) = self.connection.as_mut()
            && execute(connection, "ROLLBACK").await.is_err()
        {
            self.disconnect().await;
        }
    }

    async fn probe(&mut self) -> Result<Head, Failure> {
        let result = self.write_nothing().await;
        if result.is_err() {
            self.abandon().await;
        }
        result
    }

    async fn close(mut self) {
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "the database did not close cleanly; it will recover when opened");
        }
    }
}

async fn execute(connection: &mut SqliteConnection, sql: &'static str) -> Result<(), Failure> {
    sqlx::query(sql).execute(connection).await.map(drop).map_err(failure)
}

fn request(row: &SqliteRow) -> Result<(EventId, Request), SqlxError> {
    let first = number(row, 1)?;
    let events = number(row, 2)?;
    let given = Given(fixed(row, 3)?);
    // The table checks that there is at least one.
    let last = Position(first.saturating_add(events).saturating_sub(1));
    Ok((EventId::from_bytes(fixed(row, 0)?), Request { first: Position(first), last, given }))
}

/// Reads a number that is never negative.
fn number(row: &SqliteRow, idx: usize) -> Result<u64, SqlxError> {
    let value: i64 = row.try_get(idx)?;
    u64::try_from(value).map_err(|error| SqlxError::Decode(Box::new(error)))
}

/// Reads bytes of a known length.
fn fixed<const N: usize>(row: &SqliteRow, idx: usize) -> Result<[u8; N], SqlxError> {
    let bytes: &[u8] = row.try_get(idx)?;
    bytes.try_into().map_err(|error| SqlxError::Decode(Box::new(error)))
}

/// SQLite's integers are signed. Nothing here comes near 2^63.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Says what a failure means, and what to do about it.
fn failure(error: SqlxError) -> Failure {
    let code = error.as_database_error().and_then(|error| error.code());
    // The lowest byte is the code, what stands above it the detail.
    let code = code.and_then(|code| code.parse::<u32>().ok()).map(|code| code & 0xff);
    let (surroundings, why) = match code {
        Some(5 | 6) => (true, "another program has locked the database; close it"),
        Some(7) => (true, "the server has no memory left"),
        Some(8) => (true, "the database cannot be written; check the rights of the data folder"),
        Some(10) => (true, "the disk of the data folder fails; look into the system's log"),
        Some(11 | 26) => (true, "the database file is damaged; stop the server, restore a backup"),
        Some(13) => (true, "the disk of the data folder is full; make room"),
        Some(14) => (true, "the database cannot be opened; check the data folder"),
        // Something about this one write: a trigger, a constraint, a bound.
        Some(_) => (false, "the database refuses this write"),
        None => (true, "the connection to the database is lost"),
    };
    Failure { surroundings, why: why.to_owned(), source: Box::new(error) }
}
