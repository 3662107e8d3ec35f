//! Texts that many events share, each stored once and known by a number.

use super::insert::{chunks, with_list, with_rows};
use sqlx::{AssertSqlSafe, Row, SqliteConnection};
use std::collections::{BTreeSet, HashMap};

/// The writer's knowledge of the table `names`.
#[derive(Default)]
pub(super) struct Interner {
    /// What is committed.
    known: HashMap<String, i64>,
    /// What the open transaction added, or only needed.
    pending: HashMap<String, i64>,
}

impl Interner {
    /// Makes sure that every name has a number.
    pub(super) async fn intern(
        &mut self,
        connection: &mut SqliteConnection,
        names: impl Iterator<Item = String>,
    ) -> Result<(), sqlx::Error> {
        let missing: BTreeSet<String> = names.filter(|name| self.number(name).is_none()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let missing: Vec<String> = missing.into_iter().collect();
        self.find(connection, &missing).await?;
        let new: Vec<&String> = missing.iter().filter(|name| self.number(name).is_none()).collect();
        let newest = "SELECT coalesce(max(id), 0) FROM names";
        let mut id: i64 = sqlx::query(newest).fetch_one(&mut *connection).await?.try_get(0)?;
        for chunk in chunks(&new) {
            let sql = with_rows("INSERT INTO names (id, name) VALUES", 2, chunk.len());
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for name in chunk {
                id += 1;
                query = query.bind(id).bind((*name).clone());
                self.pending.insert((*name).clone(), id);
            }
            query.execute(&mut *connection).await?;
        }
        Ok(())
    }

    async fn find(
        &mut self,
        connection: &mut SqliteConnection,
        names: &[String],
    ) -> Result<(), sqlx::Error> {
        for chunk in chunks(names) {
            let sql = with_list("SELECT id, name FROM names WHERE name IN", chunk.len());
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for name in chunk {
                query = query.bind(name.clone());
            }
            for row in query.fetch_all(&mut *connection).await? {
                self.pending.insert(row.try_get(1)?, row.try_get(0)?);
            }
        }
        Ok(())
    }

    /// Returns the number of a name.
    pub(super) fn number(&self, name: &str) -> Option<i64> {
        self.known.get(name).or_else(|| self.pending.get(name)).copied()
    }

    /// Keeps what the transaction added, but for what is hardly ever needed again:
    /// the streams of activations, which come and go with the history.
    pub(super) fn committed(&mut self) {
        let pending = self.pending.drain();
        self.known.extend(pending.filter(|(name, _)| !name.starts_with("activation/")));
    }

    /// Forgets what the transaction added.
    pub(super) fn abandoned(&mut self) {
        self.pending.clear();
    }
}
