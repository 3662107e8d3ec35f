//! The raw engine: one connection that fills the tables of a log with rows that
//! the store wrote elsewhere, by prepared inserts, and nothing else.

use anyhow::{Result, bail};
use futures_util::future::LocalBoxFuture;
use std::time::{Duration, Instant};

/// A value as a database keeps it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Integer(i64),
    Real(f64),
    /// UTF-8.
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

/// Rows of one table, which is named by its place in the schema.
#[derive(Clone, Debug)]
pub(crate) struct TableRows {
    pub(crate) table: usize,
    pub(crate) rows: Vec<Vec<Value>>,
}

/// What one transaction inserts, in the order of the tables.
pub(crate) type Rows = Vec<TableRows>;

/// Takes rows out of a log that the store writes.
pub(crate) trait Tap {
    /// Returns everything that was committed since the last call.
    fn take(&mut self) -> LocalBoxFuture<'_, Result<Rows>>;
}

/// The one connection.
pub(crate) trait Engine: Send {
    /// Inserts the rows in one transaction. They are durable when this returns. It
    /// blocks.
    fn commit(&mut self, rows: &Rows) -> Result<()>;
}

/// What a place's tables are, and how many rows each has.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Contents {
    /// Every table, index and trigger, as it was made.
    pub(crate) schema: Vec<String>,
    pub(crate) rows: Vec<(String, u64)>,
}

/// Commits one transaction after the other, on a thread for itself, as the store's
/// writer has one. Returns what each took.
pub(crate) fn fill(engine: &mut dyn Engine, transactions: &[Rows]) -> Result<Vec<Duration>> {
    let commit = || {
        let mut times = Vec::with_capacity(transactions.len());
        for rows in transactions {
            let began = Instant::now();
            engine.commit(rows)?;
            times.push(began.elapsed());
        }
        Ok(times)
    };
    let ended = std::thread::scope(|scope| scope.spawn(commit).join());
    ended.unwrap_or_else(|_| bail!("the raw engine's thread panicked"))
}
