//! From a row to what a checker wants. Whatever the store cannot have written is a
//! fault, with its place.

use super::super::row::{VERSION_BITS, VERSION_MAX};
use super::events::{self, Cells, Column};
use super::trouble;
use crate::verify::{Batch, Item, Place, Row, Span, Stop, TextSpan};
use ledger_core::record::{ActorKind, Given};
use ledger_core::verify::Fault;
use ledger_core::{AnnexDigest, DeploymentId, EventId, Position, Timestamp, Version};
use sqlx::postgres::PgRow;
use sqlx::{Decode, Postgres, Row as _, Type};
use std::collections::HashSet;

/// The columns of an annex, as [`annex`] reads them.
pub(super) const ANNEXES: &str = "SELECT position, salt, bytes FROM ledger.annexes \
     WHERE position >= $1 ORDER BY position LIMIT $2";

/// The columns of a piece of output, as [`output`] reads them.
pub(super) const OUTPUTS: &str = "SELECT cursor, deployment, start, stored_at, bytes \
     FROM ledger.outputs WHERE cursor >= $1 ORDER BY cursor LIMIT $2";

/// Reads a column.
pub(super) fn get<'r, T>(row: &'r PgRow, idx: usize) -> Result<T, Stop>
where
    T: Decode<'r, Postgres> + Type<Postgres>,
{
    row.try_get(idx).map_err(trouble)
}

/// The table `names`, by the numbers.
pub(super) struct Names {
    all: Vec<String>,
    used: Vec<bool>,
}

impl Names {
    /// Takes rows of number and name, in their order.
    pub(super) fn new(rows: &[PgRow]) -> Result<Self, Stop> {
        let fault = |what: String| Fault::container(format!("the table names: {what}"));
        let mut all = Vec::with_capacity(rows.len());
        let mut known = HashSet::new();
        for (row, expected) in rows.iter().zip(1..) {
            let (id, name): (i32, &str) = (get(row, 0)?, get(row, 1)?);
            if id != expected {
                return Err(fault(format!("{id} stands where {expected} should")).into());
            }
            if !known.insert(name) {
                return Err(fault(format!("{name:?} stands there twice")).into());
            }
            all.push(name.to_owned());
        }
        let used = vec![false; all.len()];
        Ok(Self { all, used })
    }

    pub(super) fn count(&self) -> i64 {
        self.all.len() as i64
    }

    fn get(&mut self, position: Position, column: &'static str, id: i64) -> Result<&str, Fault> {
        let place = id.checked_sub(1).and_then(|place| usize::try_from(place).ok());
        let found = place.and_then(|place| Some((self.used.get_mut(place)?, self.all.get(place)?)));
        let Some((used, name)) = found else {
            let what = format!("the name {id} is not there");
            return Err(Fault::column(position, column, what));
        };
        *used = true;
        Ok(name)
    }

    /// Names come with the events that they are for.
    pub(super) fn all_used(&self) -> Result<(), Fault> {
        let unused = self.used.iter().zip(&self.all).find(|(used, _)| !**used);
        match unused {
            Some((_, name)) => Err(Fault::container(format_args!(
                "the table names: no event has {name:?}, which stands there"
            ))),
            None => Ok(()),
        }
    }
}

/// Puts an event into a batch.
pub(super) fn event(
    cells: &Cells<'_>,
    annex: Option<Annex>,
    names: &mut Names,
    batch: &mut Batch,
) -> Result<(), Stop> {
    let position = cells.position;
    let mut name = |column: Column, id: i64| -> Result<TextSpan, Stop> {
        Ok(batch.keep_text(names.get(position, column.1, id)?))
    };
    let place = i64::from_be_bytes(cells.array(events::PLACE)?);
    let stream = name(events::STREAM, place >> VERSION_BITS)?;
    let number = |column| cells.array(column).map(i32::from_be_bytes);
    let type_name = name(events::TYPE, number(events::TYPE)?.into())?;
    let actor = name(events::ACTOR, number(events::ACTOR)?.into())?;
    let recorded_at = i64::from_be_bytes(cells.array(events::RECORDED_AT)?);
    let recorded_at = time(position, "recorded_at", Some(recorded_at))?;
    // Nothing stands for 0: as 0 it would be another form of the same.
    let lag = cells.maybe_array(events::LAG)?.map(i64::from_be_bytes);
    if lag == Some(0) {
        return Err(cells.fault(events::LAG, "0 stands where nothing should").into());
    }
    let occurred_at = recorded_at.micros().checked_sub(lag.unwrap_or_default());
    let code = i16::from_be_bytes(cells.array(events::ACTOR_KIND)?);
    let kind = u8::try_from(code).ok().and_then(ActorKind::from_code);
    let unknown = || cells.fault(events::ACTOR_KIND, format_args!("{code} is no kind"));
    let id = |column| Ok::<_, Fault>(cells.maybe_array(column)?.map(EventId::from_bytes));
    let payload = batch.keep(cells.bytes(events::PAYLOAD)?);
    batch.items.push(Item::Event(Row {
        position,
        stream,
        version: Version(place.cast_unsigned() & VERSION_MAX),
        event_id: EventId::from_bytes(cells.array(events::EVENT_ID)?),
        type_name,
        occurred_at: time(position, "lag", occurred_at)?,
        recorded_at,
        actor_kind: kind.ok_or_else(unknown)?,
        actor,
        correlation_id: id(events::CORRELATION_ID)?,
        causation_id: id(events::CAUSATION_ID)?,
        annex_digest: cells.maybe_array(events::ANNEX_DIGEST)?.map(AnnexDigest),
        given: given(cells)?,
        payload,
        payload_digest: None,
        annex,
    }));
    Ok(())
}

/// The salt and the bytes.
pub(super) type Annex = ([u8; 16], Span);

/// Reads a row of [`ANNEXES`].
pub(super) fn annex(row: &PgRow, batch: &mut Batch) -> Result<Annex, Stop> {
    let (salt, bytes): (&[u8], &[u8]) = (get(row, 1)?, get(row, 2)?);
    let wrong = |_| {
        let position = get::<i64>(row, 0).ok().and_then(|position| u64::try_from(position).ok());
        let what = format_args!("{} bytes where 16 should stand", salt.len());
        Fault::column(Position(position.unwrap_or(0)), "annex", what)
    };
    Ok((salt.try_into().map_err(wrong)?, batch.keep(bytes)))
}

fn time(position: Position, column: &'static str, micros: Option<i64>) -> Result<Timestamp, Fault> {
    let time = micros.map(Timestamp::from_micros).filter(|time| Some(time.micros()) == micros);
    time.ok_or_else(|| Fault::column(position, column, "it is outside of the years 1 to 9999"))
}

fn given(cells: &Cells<'_>) -> Result<Option<Given>, Fault> {
    let events = cells.maybe_array(events::EVENTS_OF_WRITE)?.map(i32::from_be_bytes);
    match (cells.maybe_array(events::GIVEN)?, events) {
        (None, None) => Ok(None),
        // Nothing stands for 1: as 1 it would be another form of the same.
        (Some(digest), None) => Ok(Some(Given { digest, events: 1 })),
        (Some(digest), Some(events)) if events > 1 => {
            Ok(Some(Given { digest, events: events.unsigned_abs() }))
        }
        _ => {
            let what = "it is none, or stands without the digest of its write";
            Err(cells.fault(events::EVENTS_OF_WRITE, what))
        }
    }
}

/// Reads a row of [`OUTPUTS`].
pub(super) fn output(row: &PgRow, batch: &mut Batch) -> Result<Place, Stop> {
    let fault = |cursor: i64| {
        Fault::container(format_args!("the table outputs, cursor {cursor}: a number is impossible"))
    };
    let cursor: i64 = get(row, 0)?;
    let number = |value: i64| u64::try_from(value).map_err(|_| fault(cursor));
    let stored_at: i64 = get(row, 3)?;
    Ok(Place {
        cursor: number(cursor)?,
        deployment: DeploymentId::new(get(row, 1)?),
        offset: number(get(row, 2)?)?,
        stored_at: time(Position::ZERO, "stored_at", Some(stored_at)).map_err(|_| fault(cursor))?,
        bytes: batch.keep(get(row, 4)?),
    })
}
