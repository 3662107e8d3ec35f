//! The names that events refer to by number, as readers know them.

use crate::limits;
use foldhash::fast::RandomState;
use ledger_core::{ActivationId, EventId, StreamId};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error, OptionalExtension, Row};
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

/// A name.
pub(super) enum Name {
    /// A text, and the stream that it is the name of, if it is one's.
    Text { text: String, stream: Option<StreamId> },
    /// The id of an activation: its stream's name, and what its events correlate by.
    Id(EventId),
    /// Something that is no name.
    Other(&'static str),
}

impl Name {
    fn read(row: &Row<'_>) -> Result<Self, Error> {
        Ok(match row.get_ref(0)? {
            ValueRef::Text(bytes) => match str::from_utf8(bytes) {
                Ok(text) => Self::Text { stream: text.parse().ok(), text: text.to_owned() },
                Err(_) => Self::Other("what stands there is not UTF-8"),
            },
            ValueRef::Blob(bytes) => match bytes.try_into() {
                Ok(id) => Self::Id(EventId::from_bytes(id)),
                Err(_) => Self::Other("an id has 16 bytes"),
            },
            _ => Self::Other("what stands there is neither a text nor an id"),
        })
    }

    /// Returns the text, or what is wrong with it.
    pub(super) fn text(&self) -> Result<String, String> {
        match self {
            Self::Text { text, .. } => Ok(text.clone()),
            Self::Id(_) => Err("an id stands where text should".to_owned()),
            Self::Other(what) => Err((*what).to_owned()),
        }
    }

    /// Returns the id, or what is wrong with it.
    pub(super) fn id(&self) -> Result<EventId, String> {
        match self {
            Self::Id(id) => Ok(*id),
            Self::Text { .. } => Err("text stands where an id should".to_owned()),
            Self::Other(what) => Err((*what).to_owned()),
        }
    }

    /// Returns the stream that it names, or what is wrong with it.
    pub(super) fn stream(&self) -> Result<StreamId, String> {
        match self {
            Self::Text { stream: Some(stream), .. } => Ok(stream.clone()),
            // Parsed once more only to say what is wrong with it.
            Self::Text { text, .. } => text.parse().map_err(|error| format!("{error}")),
            Self::Id(id) => Ok(StreamId::Activation(ActivationId::new(id.uuid()))),
            Self::Other(what) => Err((*what).to_owned()),
        }
    }
}

/// What is known of the table `names`. A name stays what it is for ever, so that
/// asking for it once is enough.
#[derive(Default)]
pub(super) struct Names {
    known: RwLock<Known>,
}

#[derive(Default)]
struct Known {
    /// Bounded by the fleet, unless it changes its machines' names without end.
    texts: HashMap<i64, Name, RandomState>,
    /// They come and go with the history.
    ids: HashMap<i64, EventId, RandomState>,
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
            if let Some(name) = known.texts.get(&number) {
                return Ok(Some(take(name)));
            }
            if let Some(id) = known.ids.get(&number) {
                return Ok(Some(take(&Name::Id(*id))));
            }
        }
        let mut find = connection.prepare_cached(SQL)?;
        let Some(name) = find.query_row([number], Name::read).optional()? else {
            return Ok(None);
        };
        let taken = take(&name);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Name::Id(id) = name {
            keep(&mut known.ids, limits::IDS_KNOWN_MAX, number, id);
        } else {
            keep(&mut known.texts, limits::NAMES_KNOWN_MAX, number, name);
        }
        Ok(Some(taken))
    }
}

/// Keeps a name, and of the others none once they are too many.
fn keep<T>(known: &mut HashMap<i64, T, RandomState>, max: usize, number: i64, name: T) {
    if known.len() >= max {
        known.clear();
    }
    known.insert(number, name);
}
