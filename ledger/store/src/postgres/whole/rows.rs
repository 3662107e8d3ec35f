//! From a row to what a checker wants. Whatever the store cannot have written is a
//! fault, with its place.

use super::trouble;
use crate::verify::{Batch, Place, Row, Span, Stop};
use ledger_core::record::{ActorKind, Given};
use ledger_core::verify::Fault;
use ledger_core::{AnnexDigest, DeploymentId, EventId, Position, Timestamp, Version};
use sqlx::postgres::PgRow;
use sqlx::types::Uuid;
use sqlx::{Decode, Postgres, Row as _, Type};
use std::collections::HashSet;

/// The columns of an event, as [`event`] reads them.
pub(super) const EVENTS: &str = "SELECT e.position, e.place >> 33, e.place & 8589934591, e.event_id, e.type, \
     e.recorded_at, e.lag, e.actor_kind, e.actor, e.correlation_id, e.causation_id, \
     e.annex_digest, e.given, e.events, e.payload, x.salt, x.bytes \
     FROM ledger.events e LEFT JOIN ledger.annexes x ON x.position = e.position \
     WHERE e.position >= $1 ORDER BY e.position LIMIT $2";

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

/// Reads a row of [`EVENTS`].
pub(super) fn event(row: &PgRow, names: &mut Names, batch: &mut Batch) -> Result<Row, Stop> {
    let position: i64 = get(row, 0)?;
    let position = Position(u64::try_from(position).unwrap_or(0));
    let fault = |column, what: &dyn std::fmt::Display| Fault::column(position, column, what);
    let mut name = |column, id: i64| -> Result<Span, Stop> {
        Ok(batch.keep(names.get(position, column, id)?.as_bytes()))
    };
    let stream = name("stream", get(row, 1)?)?;
    let type_name = name("type", get::<i32>(row, 4)?.into())?;
    let actor = name("actor", get::<i32>(row, 8)?.into())?;
    let version = u64::try_from(get::<i64>(row, 2)?);
    let version = Version(version.map_err(|error| fault("version", &error))?);
    let recorded_at = time(position, "recorded_at", Some(get(row, 5)?))?;
    // Nothing stands for 0: as 0 it would be another form of the same.
    let lag = get::<Option<i64>>(row, 6)?;
    if lag == Some(0) {
        return Err(fault("lag", &"0 stands where nothing should").into());
    }
    let occurred_at = recorded_at.micros().checked_sub(lag.unwrap_or_default());
    let code: i16 = get(row, 7)?;
    let kind = u8::try_from(code).ok().and_then(ActorKind::from_code);
    let id = |idx| Ok::<_, Stop>(get::<Option<Uuid>>(row, idx)?.map(EventId::new));
    let salt = bytes::<16>(row, 15, position, "annex")?;
    let sealed = salt.map(|salt| Ok::<_, Stop>((salt, batch.keep(get(row, 16)?)))).transpose()?;
    Ok(Row {
        position,
        stream,
        version,
        event_id: EventId::new(get(row, 3)?),
        type_name,
        occurred_at: time(position, "lag", occurred_at)?,
        recorded_at,
        actor_kind: kind.ok_or_else(|| fault("actor_kind", &format_args!("{code} is no kind")))?,
        actor,
        correlation_id: id(9)?,
        causation_id: id(10)?,
        annex_digest: bytes(row, 11, position, "annex_digest")?.map(AnnexDigest),
        given: given(row, position)?,
        payload: batch.keep(get(row, 14)?),
        payload_digest: None,
        annex: sealed,
    })
}

fn time(position: Position, column: &'static str, micros: Option<i64>) -> Result<Timestamp, Fault> {
    let time = micros.map(Timestamp::from_micros).filter(|time| Some(time.micros()) == micros);
    time.ok_or_else(|| Fault::column(position, column, "it is outside of the years 1 to 9999"))
}

fn bytes<const N: usize>(
    row: &PgRow,
    idx: usize,
    position: Position,
    column: &'static str,
) -> Result<Option<[u8; N]>, Stop> {
    let Some(bytes) = get::<Option<&[u8]>>(row, idx)? else { return Ok(None) };
    let wrong = |_| {
        let what = format_args!("{} bytes where {N} should stand", bytes.len());
        Fault::column(position, column, what)
    };
    Ok(Some(bytes.try_into().map_err(wrong)?))
}

fn given(row: &PgRow, position: Position) -> Result<Option<Given>, Stop> {
    let events = get::<Option<i32>>(row, 13)?;
    match (bytes(row, 12, position, "given")?, events) {
        (None, None) => Ok(None),
        // Nothing stands for 1: as 1 it would be another form of the same.
        (Some(digest), None) => Ok(Some(Given { digest, events: 1 })),
        (Some(digest), Some(events)) if events > 1 => {
            Ok(Some(Given { digest, events: events.unsigned_abs() }))
        }
        _ => {
            let what = "it is none, or stands without the digest of its write";
            Err(Fault::column(position, "events", what).into())
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
