//! The names that events refer to by number, as readers know them.

use crate::limits;
use foldhash::fast::RandomState;
use ledger_core::StreamId;
use rusqlite::{Connection, Error, OptionalExtension};
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

/// A name, and the stream that it is the name of, if it is one's.
pub(super) struct Name {
    pub(super) text: String,
    pub(super) stream: Option<StreamId>,
}

/// What is known of the table `names`. A name stays what it is for ever, so that
/// asking for it once is enough.
#[derive(Default)]
pub(super) struct Names {
    known: RwLock<HashMap<i64, Name, RandomState>>,
}

impl Names {
    /// Takes what is wanted of the name with the number; `None` if there is no such.
    pub(super) fn take<T>(
        &self,
        connection: &Connection,
        number: i64,
        take: impl FnOnce(&Name) -> T,
    ) -> Result<Option<T>, Error> {
        const SQL: &str = "SELECT name FROM names WHERE id = ?";
        {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(name) = known.get(&number) {
                return Ok(Some(take(name)));
            }
        }
        let mut find = connection.prepare_cached(SQL)?;
        let Some(text) = find.query_row([number], |row| row.get::<_, String>(0)).optional()? else {
            return Ok(None);
        };
        let name = Name { stream: text.parse().ok(), text };
        let taken = take(&name);
        // Streams of activations come and go with the history, and most are read once.
        if !matches!(name.stream, Some(StreamId::Activation(_))) {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            // All others are bounded by the fleet, unless it changes its machines' names
            // without end.
            if known.len() >= limits::NAMES_KNOWN_MAX {
                known.clear();
            }
            known.insert(number, name);
        }
        Ok(Some(taken))
    }
}
