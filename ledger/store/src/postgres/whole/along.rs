//! The tables beside the events that are as long as they: read along in pages.

use super::rows::get;
use super::trouble;
use crate::verify::Stop;
use sqlx::PgConnection;
use sqlx::postgres::PgRow;
use std::collections::VecDeque;

/// A table in the order of its key, which is its first column.
pub(super) struct Along {
    /// Asks for the rows from a key on, at most so many.
    sql: &'static str,
    rows_max: i64,
    /// The column that says when the next row is due.
    due: usize,
    rows: VecDeque<PgRow>,
    /// When the next row is due: at the end of time if there is none.
    next: i64,
    /// The key from which on rows were not read yet, if there is one.
    from: Option<i64>,
    /// The newest key that was read; 0 for none.
    pub(super) last: i64,
}

impl Along {
    pub(super) fn new(sql: &'static str, rows_max: i64, due: usize) -> Self {
        let (rows, from) = (VecDeque::new(), Some(i64::MIN));
        // That there is a row shows when the first is asked for.
        Self { sql, rows_max, due, rows, next: i64::MIN, from, last: 0 }
    }

    /// Returns whether a row may be due by then. Asks nothing.
    pub(super) fn is_due(&self, by: i64) -> bool {
        self.next <= by
    }

    /// Takes the next row if it is due by then.
    pub(super) async fn take(
        &mut self,
        connection: &mut PgConnection,
        by: i64,
    ) -> Result<Option<PgRow>, Stop> {
        if self.rows.is_empty() {
            self.read(connection).await?;
        }
        if !self.is_due(by) {
            return Ok(None);
        }
        let row = self.rows.pop_front();
        if self.rows.is_empty() {
            self.read(connection).await?;
        } else {
            self.look()?;
        }
        Ok(row)
    }

    async fn read(&mut self, connection: &mut PgConnection) -> Result<(), Stop> {
        if let Some(from) = self.from {
            let query = sqlx::query(self.sql).bind(from).bind(self.rows_max);
            self.rows = query.fetch_all(connection).await.map_err(trouble)?.into();
            self.from = None;
            if let Some(last) = self.rows.back() {
                self.last = get(last, 0)?;
                self.from = self.last.checked_add(1);
            }
        }
        self.look()
    }

    fn look(&mut self) -> Result<(), Stop> {
        self.next = match self.rows.front() {
            Some(row) => get(row, self.due)?,
            None => i64::MAX,
        };
        Ok(())
    }
}
