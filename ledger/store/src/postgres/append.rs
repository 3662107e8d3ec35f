//! The one connection that writes.
//!
//! A batch is one round trip: append and commit in one statement, which takes the
//! lock and refuses if the log does not end where this server's last append ended, or
//! if a request wrote something before. After a second without a batch, and for a while
//! after such a refusal, a look goes before it. Only while other servers write, too,
//! the lock is taken first, so that a batch is judged once: three round trips, of which
//! the first is begin and lock. What a verdict looks up stands in between, on the same
//! connection.

use super::clock::DatabaseClock;
use super::end::{End, First};
use super::failure::{failure, is_usable, overtaken};
use super::intern::Interner;
use super::rows::Statement;
use super::{ANSWER_TIMEOUT, connect, look, rows, signed, within};
use crate::backend::{Append, Failure, Head, Locked, Rows, Sign};
use ledger_core::{
    DeploymentId, EventId, NodeId, Position, RequestId, StreamId, Timestamp, Version,
};
use sqlx::postgres::{PgArguments, PgConnectOptions, PgRow};
use sqlx::query::Query;
use sqlx::types::Uuid;
use sqlx::{AssertSqlSafe, Connection, Decode, Error, PgConnection, Postgres, Row, Type};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::sync::Notify;

/// The writing side of the database.
pub(crate) struct PostgresAppender {
    options: PgConnectOptions,
    /// Missing after a failure, until the next attempt connects anew.
    connection: Option<PgConnection>,
    names: Interner,
    clock: Arc<DatabaseClock>,
    /// Where the log ends, and where it will once the batch is committed.
    end: End,
    after: Head,
    /// What the batch asked first.
    first: First,
    /// Whether a transaction is open that has the lock.
    locked: bool,
    /// What to append at the commit, where no lock was taken.
    prepared: Option<Statement>,
    /// The requests that are presumed to be new, by the ids of their first events.
    presumed: HashMap<Uuid, RequestId>,
    /// Whether streams that the batch appends to are presumed to be new.
    new_streams: bool,
    /// Told of every commit.
    committed: Arc<Notify>,
}

impl PostgresAppender {
    pub(super) fn new(
        options: PgConnectOptions,
        clock: Arc<DatabaseClock>,
        committed: Arc<Notify>,
        heard: Arc<AtomicU64>,
    ) -> Self {
        let end = End::new(heard);
        Self {
            options,
            connection: None,
            names: Interner::default(),
            clock,
            after: end.head(),
            end,
            first: First::Look,
            locked: false,
            prepared: None,
            presumed: HashMap::new(),
            new_streams: false,
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
        if answer.as_ref().map_or_else(is_usable, |_| true) {
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
    async fn begin(
        &mut self,
        firsts: &HashMap<Uuid, RequestId>,
        by: First,
    ) -> Result<Locked, Failure> {
        self.connected().await?;
        let mut connection = self.take()?;
        // Before it is: a wait for the lock that fails leaves a transaction open, too.
        self.locked = by == First::Lock;
        let answer = if by == First::Lock {
            let sql = AssertSqlSafe(look::begin_and_lock(firsts.keys()));
            within(ANSWER_TIMEOUT, sqlx::raw_sql(sql).fetch_all(&mut connection)).await
        } else {
            let ids: Vec<Uuid> = firsts.keys().copied().collect();
            let look = sqlx::query(look::LOOK).bind(ids);
            within(ANSWER_TIMEOUT, look.fetch_all(&mut connection)).await
        };
        let rows = self.answered(connection, answer)?;
        let row = rows.first().ok_or(Error::RowNotFound);
        let (head, clock) = row.and_then(look::head).map_err(failure)?;
        self.clock.hear(clock);
        self.end.told(head, by);
        let mut requests = HashMap::new();
        for row in &rows {
            requests.extend(look::request(row, firsts).map_err(failure)?);
        }
        Ok(Locked { head, requests })
    }

    /// Runs the statement that appends.
    async fn append(&mut self, statement: Statement) -> Result<(), Failure> {
        let row = self.row(statement).await?.ok_or_else(|| failure(Error::RowNotFound))?;
        let (clock, numbers) = rows::answer(&row).map_err(failure)?;
        self.clock.hear(clock);
        self.names.told(numbers);
        Ok(())
    }

    async fn roll_back(&mut self) {
        self.names.abandoned();
        self.end.forget();
        self.prepared = None;
        if std::mem::take(&mut self.locked)
            && self.connection.is_some()
            && self.run("ROLLBACK").await.is_err()
        {
            self.connection = None;
        }
    }
}

impl Append for PostgresAppender {
    const SHARED: bool = true;
    const THREAD: bool = false;

    async fn lock(&mut self, ids: &[RequestId]) -> Result<Locked, Failure> {
        // A request is known by its first event, whose id is derived from it.
        let id = |id: &RequestId| (EventId::derive(*id, 0).uuid(), *id);
        let firsts: HashMap<Uuid, RequestId> = ids.iter().map(id).collect();
        self.new_streams = false;
        self.first = if self.connection.is_some() { self.end.first() } else { First::Look };
        if self.first != First::Presume {
            self.presumed.clear();
            return self.begin(&firsts, self.first).await;
        }
        self.presumed = firsts;
        Ok(Locked { head: self.end.head(), requests: HashMap::new() })
    }

    async fn confirm(&mut self) -> Result<(), Failure> {
        let presumed = std::mem::take(&mut self.presumed);
        if self.first != First::Presume {
            return Ok(());
        }
        let behind = self.end.head();
        let looked = self.begin(&presumed, First::Look).await?;
        if looked.head == behind && looked.requests.is_empty() {
            return Ok(());
        }
        self.end.refused(First::Presume);
        Err(overtaken())
    }

    async fn stream_version(&mut self, stream: &StreamId) -> Result<Version, Failure> {
        const SQL: &str = "SELECT place & 8589934591 FROM ledger.events \
             WHERE place > (SELECT id::bigint << 33 FROM ledger.names WHERE name = $1) \
             AND place < (SELECT id + 1::bigint << 33 FROM ledger.names WHERE name = $1) \
             ORDER BY place DESC LIMIT 1";
        let version = self.value::<i64>(sqlx::query(SQL).bind(stream.to_string())).await?;
        Ok(Version(unsigned(version)?.unwrap_or_default()))
    }

    async fn version_behind(&mut self, stream: &StreamId) -> Result<Version, Failure> {
        // What the writer does not remember is the streams of activations, which are
        // written once: this one is new, or an index or a guard refuses the batch.
        if self.first != First::Presume {
            return self.stream_version(stream).await;
        }
        self.new_streams = true;
        Ok(Version::ZERO)
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

    async fn insert(&mut self, rows: &Rows) -> Result<(), Failure> {
        let behind = self.end.head();
        let mut absent = std::mem::take(&mut self.presumed);
        for record in rows.records.iter().filter(|record| record.given.is_some()) {
            absent.remove(&record.event_id.uuid());
        }
        let absent = absent.into_keys().collect();
        let statement = rows::statement(rows, &mut self.names, behind, absent);
        self.after = Head {
            position: Position(behind.position.0 + rows.records.len() as u64),
            output: behind.output + rows.outputs.len() as u64,
            signed: rows.checkpoints.last().map_or(behind.signed, |signed| signed.size),
        };
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
        if let Err(mut failure) = done {
            failure.overtaken |= self.new_streams && failure.refused && !failure.surroundings;
            if failure.overtaken {
                self.end.refused(self.first);
            }
            return Err(failure);
        }
        self.locked = false;
        self.end.appended(self.after);
        self.names.committed();
        self.committed.notify_one();
        Ok(())
    }

    async fn abandon(&mut self) {
        self.roll_back().await;
    }

    async fn probe(&mut self) -> Result<Head, Failure> {
        let locked = self.begin(&HashMap::new(), First::Lock).await;
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
