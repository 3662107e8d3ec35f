//! The one connection that writes.
//!
//! A batch is two round trips: look where the log ends, then append and commit in
//! one statement, which takes the lock and refuses if the log ends elsewhere by
//! then. Only while other servers write, too, the lock is taken first, so that a
//! batch is judged once: three round trips, of which the first is begin and lock.
//! What a verdict looks up stands in between, on the same connection.

use super::clock::DatabaseClock;
use super::failure::failure;
use super::intern::Interner;
use super::rows::Statement;
use super::{ANSWER_TIMEOUT, connect, rows, signed, within};
use crate::backend::{Append, Failure, Head, Locked, Request, Rows, Sign};
use ledger_core::record::Given;
use ledger_core::{
    DeploymentId, EventId, NodeId, Position, RequestId, StreamId, Timestamp, Version,
};
use sqlx::postgres::{PgArguments, PgConnectOptions, PgRow};
use sqlx::query::Query;
use sqlx::types::Uuid;
use sqlx::{AssertSqlSafe, Connection, Decode, Error, PgConnection, Postgres, Row, Type};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// After another server came in between, so many batches take the lock first. The
/// servers that keep writing so meet at the lock, and one alone soon goes without.
const CROWDED_BATCHES: u32 = 16;

/// The writing side of the database.
pub(crate) struct PostgresAppender {
    options: PgConnectOptions,
    /// Missing after a failure, until the next attempt connects anew.
    connection: Option<PgConnection>,
    names: Interner,
    clock: Arc<DatabaseClock>,
    /// Where the log ended when it was locked or looked at, and behind what this
    /// server committed since.
    behind: Head,
    /// How many events the batch appends.
    n_events: u64,
    /// Whether a transaction is open that has the lock.
    locked: bool,
    /// How many more batches take the lock first.
    crowded: u32,
    /// What to append at the commit, where no lock was taken.
    prepared: Option<Statement>,
    /// Told of every commit.
    committed: Arc<Notify>,
}

impl PostgresAppender {
    pub(super) fn new(
        options: PgConnectOptions,
        clock: Arc<DatabaseClock>,
        committed: Arc<Notify>,
    ) -> Self {
        Self {
            options,
            connection: None,
            names: Interner::default(),
            clock,
            behind: Head { position: Position::ZERO, output: 0, signed: 0 },
            n_events: 0,
            locked: false,
            crowded: 0,
            prepared: None,
            committed,
        }
    }

    /// Returns the connection that `lock` made sure of. It is put back when it
    /// gave an answer: one whose answer never came is in an unknown state.
    fn take(&mut self) -> Result<PgConnection, Failure> {
        let lost = || Error::Io(std::io::ErrorKind::NotConnected.into());
        self.connection.take().ok_or_else(|| failure(lost()))
    }

    /// Puts the connection back if the answer leaves it usable.
    fn answered<T>(
        &mut self,
        connection: PgConnection,
        answer: Result<T, Error>,
    ) -> Result<T, Failure> {
        if matches!(answer, Ok(_) | Err(Error::Database(_))) {
            self.connection = Some(connection);
        }
        answer.map_err(failure)
    }

    async fn run(&mut self, sql: &'static str) -> Result<(), Failure> {
        let mut connection = self.take()?;
        let done = sqlx::raw_sql(sql).execute(&mut connection);
        let answer = within(ANSWER_TIMEOUT, done).await.map(drop);
        self.answered(connection, answer)
    }

    async fn row(
        &mut self,
        query: Query<'_, Postgres, PgArguments>,
    ) -> Result<Option<PgRow>, Failure> {
        let mut connection = self.take()?;
        let answer = within(ANSWER_TIMEOUT, query.fetch_optional(&mut connection)).await;
        self.answered(connection, answer)
    }

    async fn value<T>(
        &mut self,
        query: Query<'_, Postgres, PgArguments>,
    ) -> Result<Option<T>, Failure>
    where
        T: for<'r> Decode<'r, Postgres> + Type<Postgres>,
    {
        let row = self.row(query).await?;
        row.map(|row| row.try_get(0)).transpose().map_err(failure)
    }

    async fn connected(&mut self) -> Result<(), Failure> {
        if self.connection.is_none() {
            self.connection = Some(connect(&self.options).await.map_err(failure)?);
        }
        Ok(())
    }

    /// Looks where the log ends, with or without taking the lock.
    async fn begin(&mut self, ids: &[RequestId], lock: bool) -> Result<Locked, Failure> {
        self.connected().await?;
        // A request is known by its first event, whose id is derived from it.
        let first = |id: &RequestId| (EventId::derive(*id, 0).uuid(), *id);
        let firsts: HashMap<Uuid, RequestId> = ids.iter().map(first).collect();
        let mut connection = self.take()?;
        let answer = if lock {
            let sql = AssertSqlSafe(begin_and_lock(firsts.keys()));
            within(ANSWER_TIMEOUT, sqlx::raw_sql(sql).fetch_all(&mut connection)).await
        } else {
            let ids: Vec<Uuid> = firsts.keys().copied().collect();
            within(ANSWER_TIMEOUT, sqlx::query(LOOK).bind(ids).fetch_all(&mut connection)).await
        };
        let rows = self.answered(connection, answer)?;
        self.locked = lock;
        let first = rows.first().ok_or(Error::RowNotFound);
        let (head, clock) = first.and_then(head).map_err(failure)?;
        self.clock.hear(clock);
        self.behind = head;
        let mut requests = HashMap::new();
        for row in &rows {
            requests.extend(request(row, &firsts).map_err(failure)?);
        }
        Ok(Locked { head, requests })
    }

    /// Runs the statement that appends.
    async fn append(&mut self, statement: Statement) -> Result<(), Failure> {
        let row = self.row(statement).await?.ok_or_else(|| failure(Error::RowNotFound))?;
        self.names.told(rows::numbers(&row).map_err(failure)?);
        Ok(())
    }

    async fn roll_back(&mut self) {
        self.names.abandoned();
        self.prepared = None;
        if std::mem::take(&mut self.locked)
            && self.connection.is_some()
            && self.run("ROLLBACK").await.is_err()
        {
            self.connection = None;
        }
    }
}

/// What `ledger.lock` tells, without the lock: all of it as of one moment.
const LOOK: &str = "SELECT h.position, h.output, h.signed, \
     (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS clock, \
     e.event_id, e.position AS first, e.given, e.events \
     FROM ledger.head h LEFT JOIN (unnest($1::uuid[]) f (id) \
     JOIN ledger.events e ON ledger.id_key(e.event_id) = ledger.id_key(f.id) AND e.event_id = f.id) \
     ON true WHERE h.id = 1";

/// One round trip for both. PostgreSQL takes several statements only as text, and
/// all that stands in it are UUIDs.
fn begin_and_lock<'a>(firsts: impl Iterator<Item = &'a Uuid>) -> String {
    let firsts: Vec<String> = firsts.map(Uuid::to_string).collect();
    let firsts = firsts.join(",");
    format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SELECT * FROM ledger.lock('{{{firsts}}}')"
    )
}

fn head(row: &PgRow) -> Result<(Head, Timestamp), Error> {
    let number = |column: &str| {
        let value: i64 = row.try_get(column)?;
        u64::try_from(value).map_err(|error| Error::Decode(Box::new(error)))
    };
    let head = Head {
        position: Position(number("position")?),
        output: number("output")?,
        signed: number("signed")?,
    };
    Ok((head, Timestamp::from_micros(row.try_get("clock")?)))
}

/// Reads which request a row is about; `None` if it is about none.
fn request(
    row: &PgRow,
    firsts: &HashMap<Uuid, RequestId>,
) -> Result<Option<(RequestId, Request)>, Error> {
    let found: Option<Uuid> = row.try_get("event_id")?;
    let Some(id) = found.and_then(|found| firsts.get(&found)) else { return Ok(None) };
    let damaged = |what: &str| Error::Decode(what.into());
    let digest: Vec<u8> = row.try_get("given")?;
    let digest = digest.try_into().map_err(|_| damaged("given has not 8 bytes"))?;
    let (first, events): (i64, Option<i32>) = (row.try_get("first")?, row.try_get("events")?);
    let first = u64::try_from(first).map_err(|_| damaged("a position is negative"))?;
    let events = u32::try_from(events.unwrap_or(1))
        .map_err(|_| damaged("a number of events is negative"))?;
    let given = Given { digest, events };
    Ok(Some((*id, Request { first: Position(first), given })))
}

impl Append for PostgresAppender {
    const SHARED: bool = true;
    const THREAD: bool = false;

    async fn lock(&mut self, ids: &[RequestId]) -> Result<Locked, Failure> {
        let (known, lock) = (self.behind.position, self.crowded > 0);
        let locked = self.begin(ids, lock).await?;
        self.crowded = match locked.head.position > known {
            true if lock => CROWDED_BATCHES,
            _ => self.crowded.saturating_sub(1),
        };
        Ok(locked)
    }

    async fn stream_version(&mut self, stream: &StreamId) -> Result<Version, Failure> {
        const SQL: &str = "SELECT place & 8589934591 FROM ledger.events \
             WHERE place > (SELECT id::bigint << 33 FROM ledger.names WHERE name = $1) \
             AND place < (SELECT id + 1::bigint << 33 FROM ledger.names WHERE name = $1) \
             ORDER BY place DESC LIMIT 1";
        let version = self.value::<i64>(sqlx::query(SQL).bind(stream.to_string())).await?;
        Ok(Version(unsigned(version)?.unwrap_or_default()))
    }

    async fn has_annex(&mut self, position: Position) -> Result<bool, Failure> {
        const SQL: &str = "SELECT 1 FROM ledger.annexes WHERE position = $1";
        Ok(self.row(sqlx::query(SQL).bind(signed(position.0))).await?.is_some())
    }

    async fn output_end(&mut self, deployment: DeploymentId) -> Result<u64, Failure> {
        const SQL: &str = "SELECT start + octet_length(bytes) FROM ledger.outputs \
             WHERE deployment = $1 ORDER BY start DESC LIMIT 1";
        let end = self.value::<i64>(sqlx::query(SQL).bind(deployment.uuid())).await?;
        Ok(unsigned(end)?.unwrap_or_default())
    }

    async fn output_at(
        &mut self,
        deployment: DeploymentId,
        offset: u64,
    ) -> Result<Option<Vec<u8>>, Failure> {
        const SQL: &str = "SELECT bytes FROM ledger.outputs WHERE deployment = $1 AND start = $2";
        self.value(sqlx::query(SQL).bind(deployment.uuid()).bind(signed(offset))).await
    }

    fn hand_over(&mut self, _: &mut Rows) {
        // One call takes everything.
    }

    async fn insert(&mut self, rows: &Rows) -> Result<(), Failure> {
        let statement = rows::statement(rows, &mut self.names, self.behind);
        self.n_events = rows.records.len() as u64;
        if self.locked {
            return self.append(statement).await;
        }
        self.prepared = Some(statement);
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), Failure> {
        let done = match self.prepared.take() {
            Some(statement) => self.append(statement).await,
            None => self.run("COMMIT").await,
        };
        if let Err(failure) = done {
            if failure.overtaken {
                self.crowded = CROWDED_BATCHES;
            }
            return Err(failure);
        }
        self.locked = false;
        self.behind.position.0 += self.n_events;
        self.names.committed();
        self.committed.notify_one();
        Ok(())
    }

    async fn abandon(&mut self) {
        self.roll_back().await;
    }

    async fn probe(&mut self) -> Result<Head, Failure> {
        let locked = self.begin(&[], true).await;
        // The lock is a write, so that a database that takes none shows itself.
        let committed = match locked {
            Ok(locked) => self.run("COMMIT").await.map(|()| locked.head),
            Err(failure) => Err(failure),
        };
        match committed {
            Ok(_) => self.locked = false,
            Err(_) => self.roll_back().await,
        }
        committed
    }

    async fn beat(&mut self, node: NodeId) -> Result<Vec<Sign>, Failure> {
        self.connected().await?;
        let mut connection = self.take()?;
        let query = sqlx::query("SELECT * FROM ledger.beat($1)").bind(node.uuid());
        let answer = within(ANSWER_TIMEOUT, query.fetch_all(&mut connection)).await;
        let rows = self.answered(connection, answer)?;
        rows.iter().map(sign).collect::<Result<_, _>>().map_err(failure)
    }

    async fn last_seen(&mut self, node: NodeId) -> Result<Option<Timestamp>, Failure> {
        self.connected().await?;
        let query = sqlx::query("SELECT ledger.last_seen($1)").bind(node.uuid());
        let seen = self.value::<Option<i64>>(query).await?;
        Ok(seen.flatten().map(Timestamp::from_micros))
    }

    async fn close(mut self) {
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "the connection to the database did not close cleanly");
        }
    }
}

fn sign(row: &PgRow) -> Result<Sign, Error> {
    let silent: i64 = row.try_get("silent")?;
    Ok(Sign {
        node: NodeId::new(row.try_get("id")?),
        seen_at: Timestamp::from_micros(row.try_get("seen_at")?),
        // The clock may have been set back.
        silent: Duration::from_micros(u64::try_from(silent).unwrap_or_default()),
    })
}

fn unsigned(value: Option<i64>) -> Result<Option<u64>, Failure> {
    let value = value.map(u64::try_from).transpose();
    value.map_err(|error| failure(Error::Decode(Box::new(error))))
}
