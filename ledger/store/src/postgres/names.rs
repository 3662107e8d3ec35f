//! The names that events refer to by number, as readers know them.

use crate::read::ReadError;
use foldhash::{HashMap, HashMapExt, HashSet};
use ledger_core::StreamId;
use sqlx::{PgPool, Row};
use std::sync::{Arc, PoisonError, RwLock};

/// A name, and the stream that it is the name of, if it is one's.
pub(super) struct Name {
    pub(super) text: String,
    pub(super) stream: Option<StreamId>,
}

/// What is known of the table `names`. A name stays what it is for ever, so that
/// asking for it once is enough.
#[derive(Default)]
pub(super) struct Names {
    known: RwLock<HashMap<i32, Arc<Name>>>,
}

impl Names {
    /// Returns the names with these numbers, as far as there are such.
    pub(super) async fn of(
        &self,
        pool: &PgPool,
        numbers: HashSet<i32>,
    ) -> Result<HashMap<i32, Arc<Name>>, ReadError> {
        const SQL: &str = "SELECT id, name FROM ledger.names WHERE id = ANY ($1)";
        let mut names = HashMap::with_capacity(numbers.len());
        let mut missing = Vec::new();
        {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            for number in numbers {
                match known.get(&number) {
                    Some(name) => drop(names.insert(number, Arc::clone(name))),
                    None => missing.push(number),
                }
            }
        }
        if missing.is_empty() {
            return Ok(names);
        }
        let database = |error| ReadError::Database(Box::new(error));
        let rows = sqlx::query(SQL).bind(missing).fetch_all(pool).await.map_err(database)?;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        for row in rows {
            let (number, text): (i32, String) =
                (row.try_get(0).map_err(database)?, row.try_get(1).map_err(database)?);
            let stream: Option<StreamId> = text.parse().ok();
            let name = Arc::new(Name { text, stream });
            // Streams of activations come and go with the history; all others are
            // bounded by the fleet.
            if !matches!(name.stream, Some(StreamId::Activation(_))) {
                known.insert(number, Arc::clone(&name));
            }
            names.insert(number, name);
        }
        Ok(names)
    }
}
