//! The table `names`, by the numbers.

use super::super::cells::Cells;
use super::indexes::Sums;
use super::trouble;
use crate::verify::Stop;
use foldhash::fast::RandomState;
use ledger_core::verify::Fault;
use ledger_core::{ActivationId, EventId, Position, StreamId};
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use std::collections::HashSet;

/// Everything that the table has.
pub(super) struct Names {
    all: Vec<Name>,
    used: Vec<bool>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Name {
    Text(String),
    /// With the name of the stream that it stands for.
    Id(EventId, String),
}

impl Names {
    pub(super) fn read(connection: &Connection, sums: &mut Sums) -> Result<Self, Stop> {
        const SQL: &str = "SELECT id, name FROM names NOT INDEXED ORDER BY id";
        let mut statement = connection.prepare(SQL).map_err(trouble)?;
        let mut rows = statement.query([]).map_err(trouble)?;
        let mut all: Vec<Name> = Vec::new();
        let mut known: HashSet<Name, RandomState> = HashSet::default();
        while let Some(row) = rows.next().map_err(trouble)? {
            let cells = Cells { row, position: Position::ZERO };
            let (id, expected) = (cells.integer(0, "id")?, all.len() as i64 + 1);
            if id != expected {
                return Err(fault(format_args!("{id} stands where {expected} should")));
            }
            let value = row.get_ref(1).map_err(trouble)?;
            let name = Name::read(value);
            let name = name.ok_or_else(|| fault(format_args!("{id} is no text and no id")))?;
            match value {
                ValueRef::Text(bytes) => sums.name(id, true, bytes),
                ValueRef::Blob(bytes) => sums.name(id, false, bytes),
                _ => {}
            }
            if !known.insert(name.clone()) {
                return Err(fault(format_args!("{} stands there twice", name.shown())));
            }
            all.push(name);
        }
        let used = vec![false; all.len()];
        Ok(Self { all, used })
    }

    /// Returns how many there are.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    fn get(&mut self, cells: &Cells<'_>, column: &'static str, number: i64) -> Result<&Name, Stop> {
        let place = number.checked_sub(1).and_then(|place| usize::try_from(place).ok());
        let found = place.and_then(|place| Some((self.used.get_mut(place)?, self.all.get(place)?)));
        let Some((used, name)) = found else {
            return Err(cells.wrong(column, format_args!("the name {number} is not there")).into());
        };
        *used = true;
        Ok(name)
    }

    /// Returns a name that must be a text.
    pub(super) fn text(
        &mut self,
        cells: &Cells<'_>,
        column: &'static str,
        number: i64,
    ) -> Result<&str, Stop> {
        match self.get(cells, column, number)? {
            Name::Text(text) => Ok(text),
            Name::Id(..) => {
                Err(cells.wrong(column, format_args!("the name {number} is an id")).into())
            }
        }
    }

    /// Returns a name that must be an id.
    pub(super) fn id(
        &mut self,
        cells: &Cells<'_>,
        column: &'static str,
        number: i64,
    ) -> Result<EventId, Stop> {
        match self.get(cells, column, number)? {
            Name::Id(id, _) => Ok(*id),
            Name::Text(_) => {
                Err(cells.wrong(column, format_args!("the name {number} is a text")).into())
            }
        }
    }

    /// Returns the name of a stream, which of an activation is stored as the id.
    pub(super) fn stream(&mut self, cells: &Cells<'_>, number: i64) -> Result<&str, Stop> {
        match self.get(cells, "stream", number)? {
            Name::Text(text) if text.starts_with("activation/") => {
                Err(cells.wrong("stream", format_args!("{text} should be stored as an id")).into())
            }
            Name::Text(text) | Name::Id(_, text) => Ok(text),
        }
    }

    /// Names come with the events that they are for.
    pub(super) fn all_used(&self) -> Result<(), Stop> {
        let Some(place) = self.used.iter().position(|used| !used) else { return Ok(()) };
        let name = self.all[place].shown();
        Err(fault(format_args!("no event has {name}, which stands there")))
    }
}

impl Name {
    fn read(value: ValueRef<'_>) -> Option<Self> {
        match value {
            ValueRef::Text(text) => Some(Self::Text(str::from_utf8(text).ok()?.to_owned())),
            ValueRef::Blob(bytes) => {
                let id = EventId::from_bytes(bytes.try_into().ok()?);
                let stream = StreamId::Activation(ActivationId::new(id.uuid()));
                Some(Self::Id(id, stream.to_string()))
            }
            _ => None,
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Text(text) => format!("{text:?}"),
            Self::Id(id, _) => format!("the id {id}"),
        }
    }
}

fn fault(what: std::fmt::Arguments<'_>) -> Stop {
    Fault::container(format_args!("the table names: {what}")).into()
}
