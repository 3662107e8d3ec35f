//! PostgreSQL as a raw engine: one session whose function fills the tables and does
//! nothing else.

use super::postgres::{WRITING, connect};
use super::raw::{Engine, Rows, TableRows, Tap, Value};
use anyhow::{Context, Result, bail};
use futures_util::future::LocalBoxFuture;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::types::Uuid;
use sqlx::{AssertSqlSafe, Executor, PgConnection, Postgres, Row, TypeInfo, ValueRef};
use tokio::runtime::Runtime;

/// The tables, in the order in which rows that belong together go in, and which of
/// their rows are new since the head was at position $1, output $2, checkpoint $3 and
/// name $4. The head, which is one row and changed, is not among them.
const TABLES: [(&str, &str); 7] = [
    ("names", "SELECT t.* FROM ledger.names t WHERE id > $4 ORDER BY id"),
    ("events", "SELECT t.* FROM ledger.events t WHERE position > $1 ORDER BY position"),
    ("annexes", "SELECT t.* FROM ledger.annexes t WHERE position > $1 ORDER BY position"),
    ("erasures", "SELECT t.* FROM ledger.erasures t WHERE ordered > $1 ORDER BY ordered"),
    (
        "tiles",
        "SELECT t.* FROM generate_series(0, 6) l JOIN ledger.tiles t \
         ON t.level = l AND t.idx >= $1 >> (8 * (l + 1)) ORDER BY t.level, t.idx",
    ),
    ("checkpoints", "SELECT t.* FROM ledger.checkpoints t WHERE size > $3 ORDER BY size"),
    ("outputs", "SELECT t.* FROM ledger.outputs t WHERE cursor > $2 ORDER BY cursor"),
];
/// The columns of the head, behind its key.
const HEAD: &str = "position, output, signed, recorded_at, names, room";
/// Which of them is the first position without room.
const ROOM: usize = 5;

/// The columns of a table, each with its type.
type Columns = Vec<(String, String)>;

async fn columns(connection: &mut PgConnection, table: &str) -> Result<Columns> {
    const SQL: &str = "SELECT attname::text, atttypid::regtype::text FROM pg_attribute \
         WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum";
    let query = sqlx::query(SQL).bind(format!("ledger.{table}"));
    let rows = query.fetch_all(connection).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// The session that writes, as the tables' owner.
///
/// A transaction is one call of one function: one round trip, and every plan kept,
/// which is the least that batched inserts through one connection take.
pub(crate) struct PostgresEngine {
    /// `None` once it ended.
    runtime: Option<Runtime>,
    connection: PgConnection,
    call: String,
    tables: Vec<Columns>,
    room: i64,
}

impl PostgresEngine {
    /// Waits until the session is there. It has a thread's runtime of its own, so that
    /// no answer comes by way of another thread.
    pub(super) fn open(url: String) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        apart(move || {
            let (connection, tables, room) = runtime.block_on(async {
                let mut connection = connect(&url, WRITING).await?;
                let mut tables = Vec::new();
                for (table, _) in TABLES {
                    tables.push(columns(&mut connection, table).await?);
                }
                connection.execute(AssertSqlSafe(function(&tables))).await?;
                let room = "SELECT room FROM ledger.head";
                let room = sqlx::query_scalar(room).fetch_one(&mut connection).await?;
                anyhow::Ok((connection, tables, room))
            })?;
            let n_columns = tables.iter().map(Vec::len).sum::<usize>() + ROOM;
            let places: Vec<_> = (1..=n_columns).map(|place| format!("${place}")).collect();
            let call = format!("SELECT pg_temp.fill({})", places.join(", "));
            Ok(Self { runtime: Some(runtime), connection, call, tables, room })
        })
    }

    async fn insert(
        connection: &mut PgConnection,
        (call, tables): (&str, &[Columns]),
        room: &mut i64,
        rows: &Rows,
    ) -> Result<()> {
        let of = |table: usize| {
            rows.iter().find(|rows| rows.table == table).map_or(&[][..], |rows| &rows.rows)
        };
        let [head] = of(TABLES.len()) else { bail!("a transaction moves the head") };
        let number = |value: &Value| match value {
            Value::Integer(number) => Ok(*number),
            _ => bail!("the head has something else than numbers"),
        };
        // As the store does it, in the transaction that needs it.
        let grown = number(&head[ROOM])?;
        while *room < grown {
            connection.execute("SELECT ledger.add_partition()").await?;
            let sql = "SELECT room FROM ledger.head";
            *room = sqlx::query_scalar(sql).fetch_one(&mut *connection).await?;
        }
        let mut query = sqlx::query(AssertSqlSafe(call.to_owned()));
        for (table, columns) in tables.iter().enumerate() {
            for (column, (_, kind)) in columns.iter().enumerate() {
                query = bind(query, of(table), column, kind)?;
            }
        }
        for value in &head[..ROOM] {
            query = query.bind(number(value)?);
        }
        query.execute(connection).await?;
        Ok(())
    }
}

impl Engine for PostgresEngine {
    fn commit(&mut self, rows: &Rows) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let Self { runtime, connection, call, tables, room } = self;
        let runtime = runtime.as_ref().context("the session ended")?;
        runtime.block_on(Self::insert(connection, (call, tables), room, rows))
    }
}

impl Drop for PostgresEngine {
    fn drop(&mut self) {
        // Where it is dropped, nothing may block.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Runs something that blocks on a thread without a runtime.
fn apart<T: Send>(run: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let ended = std::thread::scope(|scope| scope.spawn(run).join());
    ended.unwrap_or_else(|_| bail!("a thread panicked"))
}

/// Returns the text of the function: an array for each column, and the head's numbers.
fn function(tables: &[Columns]) -> String {
    let (mut kinds, mut body) = (Vec::new(), String::new());
    for ((table, _), columns) in TABLES.iter().zip(tables) {
        let first = kinds.len() + 1;
        kinds.extend(columns.iter().map(|(_, kind)| format!("{kind}[]")));
        let places: Vec<_> = (first..=kinds.len()).map(|place| format!("${place}")).collect();
        let names: Vec<_> = columns.iter().map(|(name, _)| name.as_str()).collect();
        body.push_str(&format!(
            "IF cardinality(${first}) > 0 THEN INSERT INTO ledger.{table} ({}) \
             SELECT * FROM unnest({}); END IF;\n",
            names.join(", "),
            places.join(", ")
        ));
    }
    let first = kinds.len() + 1;
    kinds.extend((0..ROOM).map(|_| "bigint".to_owned()));
    let set: Vec<_> = HEAD.split(", ").take(ROOM).zip(first..).collect();
    let set: Vec<_> = set.iter().map(|(name, place)| format!("{name} = ${place}")).collect();
    body.push_str(&format!("UPDATE ledger.head SET {} WHERE id = 1;", set.join(", ")));
    format!(
        "CREATE FUNCTION pg_temp.fill({}) RETURNS void LANGUAGE plpgsql \
         SET search_path = ledger, pg_temp AS $$ BEGIN\n{body}\nEND $$",
        kinds.join(", ")
    )
}

type Statement<'q> = Query<'q, Postgres, PgArguments>;

/// Binds one column of all rows.
fn bind<'q>(
    query: Statement<'q>,
    rows: &[Vec<Value>],
    column: usize,
    kind: &str,
) -> Result<Statement<'q>> {
    let values = rows.iter().map(|row| &row[column]);
    let number = |value: &Value| if let Value::Integer(n) = value { Some(*n) } else { None };
    // They were numbers of that size when they were read.
    let small = |value: &Value| number(value).and_then(|number| i32::try_from(number).ok());
    let tiny = |value: &Value| number(value).and_then(|number| i16::try_from(number).ok());
    Ok(match kind {
        "bigint" => query.bind(values.map(number).collect::<Vec<_>>()),
        "integer" => query.bind(values.map(small).collect::<Vec<_>>()),
        "smallint" => query.bind(values.map(tiny).collect::<Vec<_>>()),
        "uuid" => {
            let ids = values.map(|value| bytes(value).and_then(|id| Uuid::from_slice(id).ok()));
            query.bind(ids.collect::<Vec<_>>())
        }
        "bytea" => query.bind(values.map(bytes).collect::<Vec<_>>()),
        "text" => {
            let text = values.map(|value| bytes(value).and_then(|text| str::from_utf8(text).ok()));
            query.bind(text.collect::<Vec<_>>())
        }
        _ => bail!("no column is a {kind}"),
    })
}

fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::Text(bytes) | Value::Blob(bytes) => Some(bytes),
        _ => None,
    }
}

/// A reading session that knows what it has read.
pub(crate) struct PostgresTap {
    connection: PgConnection,
    /// The columns of the head when it was last read.
    head: Vec<Value>,
}

impl PostgresTap {
    pub(super) async fn open(mut connection: PgConnection, all: bool) -> Result<Self> {
        let head = match all {
            true => vec![Value::Integer(0); ROOM + 1],
            false => head(&mut connection).await?,
        };
        Ok(Self { connection, head })
    }

    async fn read(&mut self) -> Result<Rows> {
        let connection = &mut self.connection;
        // One snapshot for all tables.
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let new = head(connection).await?;
        let mut taken = Vec::new();
        if new != self.head {
            for (table, (_, select)) in TABLES.iter().enumerate() {
                let mut query = sqlx::query(*select);
                // Position, output, checkpoint, name.
                for column in [0, 1, 2, 4] {
                    let Value::Integer(number) = self.head[column] else { bail!("no number") };
                    query = query.bind(number);
                }
                let rows = query.fetch_all(&mut *connection).await?;
                let rows = rows.iter().map(values).collect::<Result<Vec<_>>>()?;
                if !rows.is_empty() {
                    taken.push(TableRows { table, rows });
                }
            }
            taken.push(TableRows { table: TABLES.len(), rows: vec![new.clone()] });
            self.head = new;
        }
        connection.execute("COMMIT").await?;
        Ok(taken)
    }
}

impl Tap for PostgresTap {
    fn take(&mut self) -> LocalBoxFuture<'_, Result<Rows>> {
        Box::pin(self.read())
    }
}

async fn head(connection: &mut PgConnection) -> Result<Vec<Value>> {
    let sql = AssertSqlSafe(format!("SELECT {HEAD} FROM ledger.head"));
    values(&sqlx::query(sql).fetch_one(connection).await?)
}

fn values(row: &PgRow) -> Result<Vec<Value>> {
    let value = |column: usize| {
        let raw = row.try_get_raw(column)?;
        if raw.is_null() {
            return Ok(Value::Null);
        }
        let kind = raw.type_info().name().to_owned();
        Ok(match kind.as_str() {
            "INT8" => Value::Integer(row.try_get(column)?),
            "INT4" => Value::Integer(row.try_get::<i32, _>(column)?.into()),
            "INT2" => Value::Integer(row.try_get::<i16, _>(column)?.into()),
            "UUID" => Value::Blob(row.try_get::<Uuid, _>(column)?.into_bytes().into()),
            "BYTEA" => Value::Blob(row.try_get(column)?),
            "TEXT" => Value::Text(row.try_get::<String, _>(column)?.into_bytes()),
            _ => bail!("no column is a {kind}"),
        })
    };
    (0..row.len()).map(value).collect()
}
