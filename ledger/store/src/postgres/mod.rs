//! The log in a PostgreSQL database, which any number of servers may share: a
//! connection that writes, a few that only read, and one that listens.

mod append;
mod bulk;
mod clock;
mod end;
mod failure;
mod inspect;
mod intern;
mod listen;
mod look;
pub(crate) mod migrations;
mod names;
mod read;
mod row;
mod rows;
pub(crate) mod whole;

pub(crate) use append::PostgresAppender;
pub(crate) use bulk::open_bulk;
pub(crate) use clock::DatabaseClock;
pub use inspect::{
    Inspection, Life, LogInspection, Login, NodeInspection, Settings, inspect_postgres,
};
pub(crate) use listen::{Listener, follow};
pub(crate) use read::PostgresReader;

use crate::open::{OpenError, Options};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, Row};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Connections that read.
const READERS: u32 = 8;
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the database may take to answer one question. The largest write, of
/// 200,000 events, takes a few seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// The oldest PostgreSQL that the log is tested on.
const SERVER_VERSION_MIN: i32 = 150_000;

/// What an opened database consists of.
pub(crate) struct Opened {
    pub(crate) appender: PostgresAppender,
    pub(crate) reader: Arc<PostgresReader>,
    pub(crate) listener: Listener,
    /// The database's clock.
    pub(crate) clock: Arc<DatabaseClock>,
}

/// Opens the database at the address, whose schema must be this program's.
pub(crate) async fn open(url: &str, options: Options) -> Result<Opened, OpenError> {
    let address = address(url)?;
    let readers = PgPoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(CONNECT_TIMEOUT)
        .connect_lazy_with(reading(&address));
    let mut connection = connect(&reading(&address)).await.map_err(unreachable)?;
    check_server(&mut connection).await?;
    migrations::check(&mut connection).await?;
    connection.close().await.map_err(database("asking for its schema's version"))?;
    let clock = Arc::new(DatabaseClock::default());
    let committed = Arc::new(Notify::new());
    let writing = writing(&address, options);
    let reader = PostgresReader::new(readers);
    Ok(Opened {
        appender: PostgresAppender::new(
            writing,
            Arc::clone(&clock),
            Arc::clone(&committed),
            reader.heard(),
        ),
        reader: Arc::new(reader),
        listener: Listener::new(listening(&address), committed),
        clock,
    })
}

/// Brings the schema of the database at the address up to this program's, as a
/// role that may: a superuser, or the owner of the database with CREATEROLE.
pub(crate) async fn migrate(url: &str) -> Result<(), OpenError> {
    let address = address(url)?;
    let mut connection = connect(&address).await.map_err(unreachable)?;
    check_server(&mut connection).await?;
    migrations::run(&mut connection).await?;
    connection.close().await.map_err(database("closing it after migrating it"))
}

/// Refuses a server or a database that the log cannot be kept in.
async fn check_server(connection: &mut PgConnection) -> Result<(), OpenError> {
    const SQL: &str = "SELECT current_setting('server_version_num')::integer AS number, \
         current_setting('server_version') AS version, \
         current_setting('server_encoding') AS encoding, current_setting('fsync') AS fsync";
    let what = "asking for its version";
    let row = sqlx::query(SQL).fetch_one(connection).await.map_err(database(what))?;
    let number: i32 = row.try_get("number").map_err(database(what))?;
    let text = |column| row.try_get::<String, _>(column).map_err(database(what));
    let (version, encoding) = (text("version")?, text("encoding")?);
    let refused =
        |source: String| Err(OpenError::Database { what: what.to_owned(), source: source.into() });
    if number < SERVER_VERSION_MIN {
        return refused(format!("it is PostgreSQL {version}; Ledger needs 15 or newer"));
    }
    if encoding != "UTF8" {
        return refused(format!(
            "its encoding is {encoding}; create one with ENCODING 'UTF8' TEMPLATE template0"
        ));
    }
    if text("fsync")? != "on" {
        tracing::warn!("the database runs with fsync off: a power cut loses what was acknowledged");
    }
    Ok(())
}

fn address(url: &str) -> Result<PgConnectOptions, OpenError> {
    let address: PgConnectOptions = url.parse().map_err(database("reading its address"))?;
    let read_committed = [("default_transaction_isolation", "read committed")];
    // By these names the database's own lists tell connections from each other.
    let address = address.application_name("ledger migrating");
    Ok(address.options(read_committed).disable_statement_logging())
}

/// Every question is for rows that an index finds, however old the database's
/// statistics are.
const BY_INDEX: [(&str, &str); 4] = [
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
];

/// For the connection that writes.
fn writing(address: &PgConnectOptions, options: Options) -> PgConnectOptions {
    let synchronous_commit = if options.durable { "on" } else { "off" };
    let options = [
        // A commit returns once the disk has it, whatever the server's default is.
        ("synchronous_commit", synchronous_commit),
        // A server that is paused between lock and commit holds up all others, so
        // long and no longer; they wait a little longer than that.
        ("idle_in_transaction_session_timeout", "10s"),
        ("lock_timeout", "15s"),
        ("default_transaction_read_only", "off"),
    ];
    address.clone().application_name("ledger writing").options(options.into_iter().chain(BY_INDEX))
}

/// For a connection that cannot write, whatever is asked of it.
fn reading(address: &PgConnectOptions) -> PgConnectOptions {
    let options = [
        ("default_transaction_read_only", "on"),
        // Every question is for rows in the order of an index. With statistics that
        // are older than the rows, the database would rather sort all that is left
        // of the log for each page.
        ("enable_sort", "off"),
        ("enable_bitmapscan", "off"),
    ];
    let options = options.into_iter().chain(BY_INDEX);
    address.clone().application_name("ledger reading").options(options)
}

/// For the connection that listens and notifies.
fn listening(address: &PgConnectOptions) -> PgConnectOptions {
    // What it commits are notifications, which no power cut may keep waiting.
    let options = [("synchronous_commit", "off")];
    address.clone().application_name("ledger listening").options(options)
}

async fn connect(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    within(CONNECT_TIMEOUT, options.connect()).await
}

/// Gives up on an answer that does not come.
async fn within<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
    }
}

/// PostgreSQL's integers are signed. Nothing here comes near 2^63.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Says what may be done about a database that cannot be connected to.
fn unreachable(error: sqlx::Error) -> OpenError {
    let failure = failure::failure(error);
    let what = format!("connecting to it: {}", failure.why);
    OpenError::Database { what, source: failure.source }
}

fn database(what: &'static str) -> impl FnOnce(sqlx::Error) -> OpenError {
    move |source| OpenError::Database { what: what.to_owned(), source: Box::new(source) }
}
