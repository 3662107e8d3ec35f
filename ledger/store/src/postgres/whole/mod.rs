//! The whole log in one snapshot, read once from the front to the end.

mod along;
mod events;
mod guards;
mod pages;
mod rows;

use super::migrations::{self, MIGRATIONS};
use super::{address, connect, database, reading};
use crate::open::OpenError;
use crate::verify::{Item, Sink, Source, Stop, origin_of};
use ledger_core::Position;
use ledger_core::checkpoint::Origin;
use ledger_core::verify::Fault;
use pages::Reading;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Executor, PgConnection, Row};
use std::sync::atomic::AtomicBool;
use tokio::runtime::Runtime;

/// Everything is read from the same moment, however long it takes.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Whatever the role's and the database's limits are: one question is for all events,
/// and the other connection waits while they are looked at.
const UNHURRIED: [(&str, &str); 2] =
    [("statement_timeout", "0"), ("idle_in_transaction_session_timeout", "0")];

/// One snapshot of a database.
pub(crate) struct WholeSource {
    runtime: Runtime,
    connection: PgConnection,
    /// Sees the same moment as the other one, and has but one long answer to give.
    events: PgConnection,
    head: Head,
    origin: Option<Origin>,
}

/// Where the database says that everything ends.
#[derive(Clone, Copy, Debug)]
struct Head {
    position: i64,
    output: i64,
    signed: i64,
    names: i64,
}

impl WholeSource {
    /// Begins the snapshot.
    pub(crate) fn begin(url: &str) -> Result<Self, Stop> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|source| {
            Stop::Failed(OpenError::Database {
                what: "starting to read it".to_owned(),
                source: Box::new(source),
            })
        })?;
        runtime
            .block_on(async {
                let address = reading(&address(url).map_err(Stop::Failed)?).options(UNHURRIED);
                let (mut connection, head, origin) = begin(&address).await?;
                let events = join(&address, &mut connection).await?;
                Ok((connection, events, head, origin))
            })
            .map(|(connection, events, head, origin)| Self {
                runtime,
                connection,
                events,
                head,
                origin,
            })
    }

    /// Returns the log's name, as its checkpoints say.
    pub(crate) fn origin(&self) -> Option<Origin> {
        self.origin.clone()
    }

    /// Returns the newest position.
    pub(crate) fn head(&self) -> Position {
        Position(u64::try_from(self.head.position).unwrap_or(0))
    }
}

/// Connects, and begins the snapshot.
async fn begin(address: &PgConnectOptions) -> Result<(PgConnection, Head, Option<Origin>), Stop> {
    let mut connection = reach(address).await?;
    migrations::check(&mut connection).await.map_err(Stop::Failed)?;
    connection.execute(BEGIN).await.map_err(trouble)?;
    let sql = "SELECT position, output, signed, names::bigint FROM ledger.head WHERE id = 1";
    let row = sqlx::query(sql).fetch_optional(&mut connection).await.map_err(trouble)?;
    let row = row.ok_or_else(|| Fault::container("the table head is empty"))?;
    let number = |idx| row.try_get::<i64, usize>(idx).map_err(trouble);
    let (position, output) = (number(0)?, number(1)?);
    let (signed, names) = (number(2)?, number(3)?);
    let sql = "SELECT note FROM ledger.checkpoints ORDER BY size LIMIT 1";
    let note = sqlx::query(sql).fetch_optional(&mut connection).await.map_err(trouble)?;
    let note: Option<String> = note.map(|row| row.try_get(0)).transpose().map_err(trouble)?;
    let origin = note.and_then(|note| origin_of(&note));
    Ok((connection, Head { position, output, signed, names }, origin))
}

/// Connects once more, to the same snapshot.
async fn join(
    address: &PgConnectOptions,
    connection: &mut PgConnection,
) -> Result<PgConnection, Stop> {
    let row = sqlx::query("SELECT pg_export_snapshot()").fetch_one(connection).await;
    let row = row.map_err(trouble)?;
    let snapshot: &str = row.try_get(0).map_err(trouble)?;
    let mut other = reach(address).await?;
    other.execute(BEGIN).await.map_err(trouble)?;
    // It takes no parameters. A quote in it would be doubled.
    let sql = format!("SET TRANSACTION SNAPSHOT '{}'", snapshot.replace('\'', "''"));
    other.execute(AssertSqlSafe(sql)).await.map_err(trouble)?;
    Ok(other)
}

/// Connects for as long as it takes.
async fn reach(address: &PgConnectOptions) -> Result<PgConnection, Stop> {
    let connected = connect(address).await.map_err(database("connecting to it"));
    let mut connection = connected.map_err(Stop::Failed)?;
    // PostgreSQL 17 has one more limit, and an older one refuses to be told of it.
    let sql = "SELECT set_config(name, '0', false) FROM pg_settings \
               WHERE name = 'transaction_timeout'";
    connection.execute(sql).await.map_err(trouble)?;
    Ok(connection)
}

impl Source for WholeSource {
    fn read(self, stop: &AtomicBool, sink: Sink<'_>) -> Result<(), Stop> {
        let Self { runtime, connection, events, head, .. } = self;
        runtime.block_on(async {
            let mut reading = Reading::new(connection, stop, sink);
            let mut read = match reading.read(events).await {
                Ok(found) => {
                    let whole = reading.whole(head, found).await;
                    reading.afterwards(whole)
                }
                Err(error) => Err(error),
            };
            // In its place: behind what was read before it.
            if let Err(Stop::Fault(fault)) = read {
                reading.put(Item::Fault(fault));
                read = Ok(());
            }
            read.and_then(|()| reading.hand_on())
        })
    }
}

/// Tells damage from surroundings that hinder.
fn trouble(error: sqlx::Error) -> Stop {
    let damaged = error.as_database_error().is_some_and(|error| {
        // Data corrupted, index corrupted.
        error.code().is_some_and(|code| ["XX001", "XX002"].contains(&&*code))
    });
    match error {
        _ if damaged => Fault::container(format_args!("the database is damaged: {error}")).into(),
        sqlx::Error::ColumnDecode { index, source } => {
            Fault::container(format_args!("a column {index} cannot be read: {source}")).into()
        }
        error => Stop::Failed(OpenError::Database {
            what: "reading it".to_owned(),
            source: error.into(),
        }),
    }
}
