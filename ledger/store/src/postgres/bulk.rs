//! A whole log at once, in one transaction.

use super::failure::failure;
use super::intern::Interner;
use super::{PostgresReader, address, connect, database, migrations, reading, rows, writing};
use crate::backend::{Bulk, Failure, Head, Rows};
use crate::open::{OpenError, Options};
use ledger_core::Position;
use sqlx::postgres::PgPoolOptions;
use sqlx::{Error, Executor, PgConnection, Row};

/// Writes a log that nobody sees before its end.
pub(crate) struct PostgresBulk {
    connection: PgConnection,
    names: Interner,
    behind: Head,
}

/// Takes the log's lock. Returns also where the log ends.
pub(crate) async fn open_bulk(url: &str) -> Result<(PostgresBulk, PostgresReader, u64), OpenError> {
    let address = address(url)?;
    let readers = PgPoolOptions::new().max_connections(1).connect_lazy_with(reading(&address));
    // Between two inserts an archive is read and verified, for as long as that takes.
    let writing = writing(&address, Options::default())
        .options([("idle_in_transaction_session_timeout", "0")]);
    let mut connection = connect(&writing).await.map_err(database("connecting to it"))?;
    migrations::check(&mut connection).await?;
    let locking = || database("taking the log's lock");
    connection.execute("BEGIN").await.map_err(locking())?;
    let lock = "SELECT position, output, signed FROM ledger.lock('{}') LIMIT 1";
    let row = sqlx::query(lock).fetch_one(&mut connection).await.map_err(locking())?;
    let number = |idx: usize| {
        let value: i64 = row.try_get(idx).map_err(locking())?;
        Ok::<_, OpenError>(u64::try_from(value).unwrap_or_default())
    };
    let behind = Head { position: Position(number(0)?), output: number(1)?, signed: number(2)? };
    let head = behind.position.0.max(behind.output);
    let bulk = PostgresBulk { connection, names: Interner::default(), behind };
    Ok((bulk, PostgresReader::new(readers), head))
}

impl Bulk for PostgresBulk {
    async fn insert(&mut self, rows: &Rows) -> Result<(), Failure> {
        let statement = rows::statement(rows, &mut self.names, self.behind, Vec::new());
        let row = statement.fetch_optional(&mut self.connection).await.map_err(failure)?;
        let row = row.ok_or_else(|| failure(Error::RowNotFound))?;
        let (_, numbers) = rows::answer(&row).map_err(failure)?;
        self.names.told(numbers);
        // Good for the rest of the transaction, and with it for ever or not at all.
        self.names.committed();
        self.behind.position.0 += rows.records.len() as u64;
        self.behind.output += rows.outputs.len() as u64;
        let signed = rows.checkpoints.last().map(|note| note.size);
        self.behind.signed = signed.unwrap_or(self.behind.signed);
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), Failure> {
        self.connection.execute("COMMIT").await.map(drop).map_err(failure)
    }
}
