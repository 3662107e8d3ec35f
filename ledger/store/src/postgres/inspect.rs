//! What an operator wants to know of the database: looked at, and nothing changed.

use super::migrations::{self, MIGRATIONS};
use super::{SERVER_VERSION_MIN, address, connect, database, reading, unreachable};
use crate::clock::{Clock, SystemClock};
use crate::open::OpenError;
use ledger_core::{NodeId, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::types::Uuid;
use sqlx::{Connection, Decode, Error, PgConnection, Postgres, Row, Type};
use std::time::Duration;

/// A database, as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// PostgreSQL's version, in its own words.
    pub version: String,
    /// Whether the log is tested on it.
    pub is_supported: bool,
    /// Microseconds by which its clock is ahead of this machine's.
    pub ahead: i64,
    /// What it runs with.
    pub settings: Settings,
    /// The steps of the schema that are missing: their number and name.
    pub missing_steps: Vec<String>,
    /// The newest step of the schema, if this program knows no such.
    pub newer_schema: Option<u32>,
    /// The login that was used.
    pub login: Login,
    /// The log, where its schema is this program's and the login may read it.
    pub log: Option<LogInspection>,
}

/// Settings without which what was acknowledged may be lost, as the login gets them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `fsync`
    pub fsync: String,
    /// `full_page_writes`
    pub full_page_writes: String,
    /// `synchronous_commit`, which a server sets to `on` for what it writes.
    pub synchronous_commit: String,
}

/// A login, and whether it fits a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Its name.
    pub name: String,
    /// Whether it may do all that a server must.
    pub is_enough: bool,
    /// What else it is or may, each as the end of a sentence.
    pub too_much: Vec<String>,
}

/// The log in a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogInspection {
    /// When it was looked at, by the database's clock.
    pub now: Timestamp,
    /// How many events there are.
    pub size: u64,
    /// How many more the partitions have room for.
    pub room: u64,
    /// How many a partition has room for.
    pub width: u64,
    /// The size of the newest checkpoint; 0 for none.
    pub signed: u64,
    /// When the newest event below that checkpoint was recorded.
    pub signed_until: Option<Timestamp>,
    /// When the oldest event above it was recorded, if there is one.
    pub unsigned_since: Option<Timestamp>,
    /// The servers that ever gave a sign of life.
    pub nodes: Vec<NodeInspection>,
}

/// A server that shares the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInspection {
    /// Which.
    pub node: NodeId,
    /// How long ago its last sign of life is.
    pub silent: Duration,
    /// What the log says of it.
    pub life: Life,
}

/// What the log says of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It started, and did not end since.
    Running,
    /// It stopped in good order, or never got to its start.
    Stopped,
    /// Another one recorded it as lost.
    Lost,
}

/// Looks at the database at the address, without changing anything.
///
/// # Errors
///
/// If it cannot be reached or does not answer what every PostgreSQL does. What is
/// wrong with the log in it is in the answer.
pub async fn inspect_postgres(url: &str) -> Result<Inspection, OpenError> {
    let options = reading(&address(url)?).application_name("ledger inspecting");
    let mut connection = connect(&options).await.map_err(unreachable)?;
    let found = inspect(&mut connection).await.map_err(database("looking at it"))?;
    connection.close().await.map_err(database("closing it after looking at it"))?;
    Ok(found)
}

async fn inspect(connection: &mut PgConnection) -> Result<Inspection, Error> {
    const SERVER: &str = "SELECT current_setting('server_version'), \
         current_setting('server_version_num')::integer, current_setting('fsync'), \
         current_setting('full_page_writes'), current_setting('synchronous_commit'), \
         (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
    let before = SystemClock.now();
    let row = sqlx::query(SERVER).fetch_one(&mut *connection).await?;
    let after = SystemClock.now();
    // It looked at its clock in the middle of the question, as far as anybody knows.
    let here = before.micros() / 2 + after.micros() / 2;
    let clock: i64 = get(&row, 5)?;
    let settings = Settings {
        fsync: get(&row, 2)?,
        full_page_writes: get(&row, 3)?,
        synchronous_commit: get(&row, 4)?,
    };
    let applied = migrations::applied(connection).await?;
    let missing = MIGRATIONS.iter().filter(|(version, ..)| !applied.contains(version));
    let missing_steps: Vec<_> = missing.map(|(n, name, _)| format!("{n} ({name})")).collect();
    let newest = applied.iter().max().copied();
    let newer_schema = newest.filter(|newest| MIGRATIONS.iter().all(|(n, ..)| n < newest));
    let login = login(connection).await?;
    let has_log = missing_steps.is_empty() && newer_schema.is_none() && login.is_enough;
    let log = if has_log { log(connection).await? } else { None };
    Ok(Inspection {
        version: get(&row, 0)?,
        is_supported: get::<i32>(&row, 1)? >= SERVER_VERSION_MIN,
        ahead: clock.saturating_sub(here),
        settings,
        missing_steps,
        newer_schema,
        login,
        log,
    })
}

/// Compares what the login may with what `ledger_service` may. Of the session's user:
/// who only acts as another can go back.
async fn login(connection: &mut PgConnection) -> Result<Login, Error> {
    const ROLE: &str = "SELECT r.rolname::text, r.rolsuper, \
         EXISTS (SELECT FROM pg_roles o WHERE o.rolname = 'ledger_owner' \
             AND pg_has_role(r.oid, o.oid, 'MEMBER')), \
         pg_has_role(r.oid, d.datdba, 'MEMBER'), \
         r.rolcreaterole, r.rolcreatedb, r.rolreplication, r.rolbypassrls, \
         EXISTS (SELECT FROM pg_roles o WHERE o.rolname = 'ledger_service' \
             AND pg_has_role(r.oid, o.oid, 'USAGE')) \
         FROM pg_roles r, pg_database d \
         WHERE r.rolname = session_user AND d.datname = current_database()";
    /// By the column of the query above.
    const TOO_MUCH: [(usize, &str); 7] = [
        (1, "is a superuser"),
        (2, "is a member of ledger_owner"),
        (3, "owns the database"),
        (4, "may make roles"),
        (5, "may make databases"),
        (6, "may replicate"),
        (7, "passes row security"),
    ];
    let row = sqlx::query(ROLE).fetch_one(&mut *connection).await?;
    let mut too_much = Vec::new();
    for (column, what) in TOO_MUCH {
        if get(&row, column)? {
            too_much.push(what.to_owned());
            // Whoever is one of these is and may all that comes after.
            if column <= 2 {
                break;
            }
        }
    }
    if too_much.is_empty() {
        too_much = grants(connection).await?;
    }
    Ok(Login { name: get(&row, 0)?, is_enough: get(&row, 8)?, too_much })
}

/// Rights in the schema that the login has beside those that the migrations grant to
/// `ledger_service`, by whichever role they came.
async fn grants(connection: &mut PgConnection) -> Result<Vec<String>, Error> {
    const SQL: &str = "WITH n AS (SELECT oid FROM pg_namespace WHERE nspname = 'ledger') \
         SELECT 'may ' || p || ' on ledger.' || c.relname \
         FROM n, pg_class c, unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER']) p \
         WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'p') \
         AND has_table_privilege(session_user, c.oid, p) \
         UNION ALL SELECT 'may call ledger.' || f.proname FROM n, pg_proc f \
         WHERE f.pronamespace = n.oid AND has_function_privilege(session_user, f.oid, 'EXECUTE') \
         AND f.proname NOT IN ('id_key', 'lock', 'append', 'beat', 'last_seen') \
         UNION ALL SELECT 'may make tables and functions in the schema ledger' FROM n \
         WHERE has_schema_privilege(session_user, n.oid, 'CREATE') \
         ORDER BY 1";
    let rows = sqlx::query(SQL).fetch_all(connection).await?;
    rows.iter().map(|row| get(row, 0)).collect()
}

async fn log(connection: &mut PgConnection) -> Result<Option<LogInspection>, Error> {
    // What the partitions have room for, not what the row says of them.
    const SQL: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, \
         h.position, h.width, h.signed, \
         (SELECT max(substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \\(''(\\d+)''\\)')::bigint) \
             FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
             WHERE i.inhparent = 'ledger.events'::regclass), \
         (SELECT recorded_at FROM ledger.events WHERE position = h.signed), \
         (SELECT recorded_at FROM ledger.events WHERE position = h.signed + 1) \
         FROM ledger.head h WHERE h.id = 1";
    let Some(row) = sqlx::query(SQL).fetch_optional(&mut *connection).await? else {
        return Ok(None);
    };
    let count = |column| -> Result<u64, Error> { Ok(unsigned(get(&row, column)?)) };
    let moment = |column| -> Result<Option<Timestamp>, Error> {
        Ok(get::<Option<i64>>(&row, column)?.map(Timestamp::from_micros))
    };
    let size = count(1)?;
    // Positions count from 1, and the bound is the first one without room.
    let end = unsigned(get::<Option<i64>>(&row, 4)?.unwrap_or_default());
    Ok(Some(LogInspection {
        now: Timestamp::from_micros(get(&row, 0)?),
        size,
        room: end.saturating_sub(1).saturating_sub(size),
        width: count(2)?,
        signed: count(3)?,
        signed_until: moment(5)?,
        unsigned_since: moment(6)?,
        nodes: nodes(connection).await?,
    }))
}

async fn nodes(connection: &mut PgConnection) -> Result<Vec<NodeInspection>, Error> {
    const SQL: &str = "SELECT n.id, \
         (extract(epoch FROM clock_timestamp() - n.seen_at) * 1000000)::bigint, \
         (SELECT t.name FROM ledger.names s JOIN ledger.events e \
             ON e.place > s.id::bigint << 33 AND e.place < s.id + 1::bigint << 33 \
             JOIN ledger.names t ON t.id = e.type \
             WHERE s.name = 'node/' || n.id \
             AND t.name IN ('NodeStarted', 'NodeStopped', 'NodeLost') \
             ORDER BY e.place DESC LIMIT 1) \
         FROM ledger.nodes n ORDER BY n.seen_at DESC, n.id";
    let rows = sqlx::query(SQL).fetch_all(connection).await?;
    let node = |row: &PgRow| {
        let last: Option<String> = get(row, 2)?;
        Ok(NodeInspection {
            node: NodeId::new(get::<Uuid>(row, 0)?),
            silent: Duration::from_micros(unsigned(get(row, 1)?)),
            life: match last.as_deref() {
                Some("NodeStarted") => Life::Running,
                Some("NodeLost") => Life::Lost,
                _ => Life::Stopped,
            },
        })
    };
    rows.iter().map(node).collect()
}

fn get<T>(row: &PgRow, column: usize) -> Result<T, Error>
where
    T: for<'r> Decode<'r, Postgres> + Type<Postgres>,
{
    row.try_get(column)
}

/// What is below zero, as after a clock was set back, counts as none.
fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}
