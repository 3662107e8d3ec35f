//! A log in PostgreSQL: its contents, its sizes, and its rows selected without the
//! store.

use super::postgres_raw::{PostgresEngine, PostgresTap};
use super::raw::Contents;
use crate::postgres::{Database, Server};
use anyhow::{Result, ensure};
use futures_util::TryStreamExt;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, Row};

/// What the store asks of a session that writes, in `ledger/store/src/postgres/mod.rs`.
/// The guards find what they look up by these.
pub(super) const WRITING: &[(&str, &str)] = &[
    ("synchronous_commit", "on"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
];
/// And of one that reads.
pub(super) const READING: &[(&str, &str)] = &[
    ("enable_sort", "off"),
    ("enable_bitmapscan", "off"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
];

/// Connects with settings of the session.
pub(super) async fn connect(url: &str, settings: &[(&str, &str)]) -> Result<PgConnection> {
    let options: PgConnectOptions = url.parse()?;
    Ok(options.options(settings.iter().copied()).disable_statement_logging().connect().await?)
}

/// The columns of an event as they stand in the table. Names stay numbers: a reader
/// knows them all after its first pages, and asks for none again.
const COLUMNS: &str = "position, place, event_id, type, recorded_at, lag, actor_kind, actor, \
     correlation_id, causation_id, annex_digest, given, events, payload";
const N_COLUMNS: usize = 14;
const PAYLOAD: usize = 13;

/// A log's database.
pub(crate) struct Schema(Database);

impl Schema {
    pub(super) async fn new(server: &'static Server) -> Result<Self> {
        Ok(Self(Database::new(server).await?))
    }

    pub(super) async fn copy(&self) -> Result<Self> {
        Ok(Self(self.0.copy().await?))
    }

    /// The address that a server of ours gets.
    pub(super) fn url(&self) -> String {
        self.0.service()
    }

    /// The owner's session, whom the guards hold to the same rules as everybody.
    pub(super) fn engine(&self) -> Result<PostgresEngine> {
        PostgresEngine::open(self.0.acting_as("ledger_owner"))
    }

    pub(super) async fn tap(&self, all: bool) -> Result<PostgresTap> {
        PostgresTap::open(connect(&self.0.superuser(), &[]).await?, all).await
    }

    pub(super) async fn contents(&self) -> Result<Contents> {
        const SCHEMA: &str = "\
            SELECT c.relkind::text || ' ' || c.relname || ' ' || coalesce(pg_get_indexdef(i.indexrelid), '') \
                || coalesce(array_to_string(c.reloptions, ','), '') \
                || coalesce((SELECT string_agg(a.attname || ' ' || a.atttypid::regtype::text, ',' \
                    ORDER BY a.attnum) FROM pg_attribute a \
                    WHERE a.attrelid = c.oid AND a.attnum > 0), '') \
            FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid \
            WHERE c.relnamespace = 'ledger'::regnamespace \
            UNION ALL SELECT pg_get_triggerdef(t.oid) || ' ' || t.tgenabled::text FROM pg_trigger t \
            JOIN pg_class c ON c.oid = t.tgrelid WHERE c.relnamespace = 'ledger'::regnamespace \
            UNION ALL SELECT conrelid::regclass::text || ' ' || pg_get_constraintdef(oid) \
            FROM pg_constraint WHERE connamespace = 'ledger'::regnamespace ORDER BY 1";
        const TABLES: &str = "SELECT relname::text FROM pg_class \
            WHERE relnamespace = 'ledger'::regnamespace AND relkind IN ('r', 'p') \
            ORDER BY relname";
        let mut connection = connect(&self.0.superuser(), &[]).await?;
        let schema = sqlx::query_scalar(SCHEMA).fetch_all(&mut connection).await?;
        let tables: Vec<String> = sqlx::query_scalar(TABLES).fetch_all(&mut connection).await?;
        let mut rows = Vec::new();
        for table in tables {
            let sql = AssertSqlSafe(format!("SELECT count(*) FROM ledger.{table}"));
            let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut connection).await?;
            rows.push((table, u64::try_from(count)?));
        }
        let head = "SELECT h::text FROM ledger.head h";
        let head: String = sqlx::query_scalar(head).fetch_one(&mut connection).await?;
        rows.push((format!("head {head}"), 1));
        Ok(Contents { schema, rows })
    }

    /// Everything in the log's schema; not the catalogue that every database has.
    pub(super) async fn bytes(&self) -> Result<u64> {
        Ok(self.parts().await?.iter().map(|(_, bytes)| bytes).sum())
    }

    /// Each table with what its long values take, and each index. What belongs to a
    /// partition counts for the whole.
    pub(super) async fn parts(&self) -> Result<Vec<(String, u64)>> {
        const PARTS: &str = "SELECT regexp_replace(relname, '_\\d+(_|$)', '\\1') AS name, \
            sum(pg_table_size(oid))::bigint AS bytes FROM pg_class \
            WHERE relnamespace = 'ledger'::regnamespace AND relkind IN ('r', 'i') \
            GROUP BY 1 ORDER BY 2 DESC";
        let mut connection = connect(&self.0.superuser(), &[]).await?;
        let parts = sqlx::query(PARTS).fetch_all(&mut connection).await?;
        let part = |row: &sqlx::postgres::PgRow| {
            Ok((row.try_get(0)?, u64::try_from(row.try_get::<i64, _>(1)?)?))
        };
        parts.iter().map(part).collect()
    }

    pub(super) async fn select_by_sqlx(&self, page: usize, last: u64) -> Result<u64> {
        let sql = format!(
            "SELECT {COLUMNS} FROM ledger.events WHERE position > $1 ORDER BY position LIMIT $2"
        );
        let mut connection = connect(&self.0.superuser(), READING).await?;
        let (mut position, mut bytes, page) = (0_i64, 0, i64::try_from(page)?);
        while position < i64::try_from(last)? {
            let query = sqlx::query(AssertSqlSafe(sql.clone())).bind(position).bind(page);
            let mut rows = query.fetch(&mut connection);
            let mut n_rows = 0;
            while let Some(row) = rows.try_next().await? {
                for column in 0..N_COLUMNS {
                    // Borrowed, as whoever decodes them would take them.
                    let value = row.try_get_raw(column)?;
                    bytes += value.as_bytes().map_or(0, <[u8]>::len);
                }
                position = row.try_get_unchecked(0)?;
                n_rows += 1;
            }
            ensure!(n_rows > 0, "the log ends at {position}, not at {last}");
        }
        ensure!(std::hint::black_box(bytes) > 0, "nothing was read");
        Ok(u64::try_from(position)?)
    }

    /// By COPY, whose rows need no more than to be cut into columns.
    pub(super) async fn select_bare(&self, page: usize, last: u64) -> Result<u64> {
        let mut connection = connect(&self.0.superuser(), READING).await?;
        let (mut position, mut bytes) = (0_u64, 0);
        while position < last {
            let sql = format!(
                "COPY (SELECT {COLUMNS} FROM ledger.events WHERE position > {position} \
                 ORDER BY position LIMIT {page}) TO STDOUT (FORMAT binary)"
            );
            let mut arriving = connection.copy_out_raw(&sql).await?;
            let mut n_rows = 0;
            while let Some(chunk) = arriving.try_next().await? {
                let Some(columns) = cut(&chunk) else { continue };
                bytes += columns[PAYLOAD].len();
                position = u64::from_be_bytes(columns[0].try_into()?);
                n_rows += 1;
            }
            ensure!(n_rows > 0, "the log ends at {position}, not at {last}");
        }
        ensure!(std::hint::black_box(bytes) > 0, "nothing was read");
        Ok(position)
    }
}

/// Cuts a row of a binary COPY into its columns. `None` for the end. The header comes
/// with the first row.
fn cut(chunk: &[u8]) -> Option<[&[u8]; N_COLUMNS]> {
    /// Signature, flags, length of the extension, which is none.
    const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
    let row = chunk.strip_prefix(HEADER).unwrap_or(chunk);
    let (_, mut rest) = row.split_first_chunk::<2>()?;
    let mut columns = [&[][..]; N_COLUMNS];
    for column in &mut columns {
        let (length, behind) = rest.split_first_chunk()?;
        // -1 stands for NULL.
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
        (*column, rest) = behind.split_at_checked(length)?;
    }
    Some(columns)
}
