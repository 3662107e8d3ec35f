//! Looking where the log ends, and which requests wrote something.

use crate::backend::{Head, Request};
use ledger_core::record::Given;
use ledger_core::{Position, RequestId, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::types::Uuid;
use sqlx::{Error, Row};
use std::collections::HashMap;

/// What `ledger.lock` tells, without the lock: all of it as of one moment.
pub(super) const LOOK: &str = "SELECT h.position, h.output, h.signed, \
     (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS clock, \
     e.event_id, e.position AS first, e.given, e.events \
     FROM ledger.head h LEFT JOIN (unnest($1::uuid[]) f (id) \
     JOIN ledger.events e ON ledger.id_key(e.event_id) = ledger.id_key(f.id) AND e.event_id = f.id) \
     ON true WHERE h.id = 1";

/// One round trip for both. PostgreSQL takes several statements only as text, and
/// all that stands in it are UUIDs.
pub(super) fn begin_and_lock<'a>(firsts: impl Iterator<Item = &'a Uuid>) -> String {
    let firsts: Vec<String> = firsts.map(Uuid::to_string).collect();
    let firsts = firsts.join(",");
    format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SELECT * FROM ledger.lock('{{{firsts}}}')"
    )
}

pub(super) fn head(row: &PgRow) -> Result<(Head, Timestamp), Error> {
    let number = |column: &str| {
        let value: i64 = row.try_get(column)?;
        u64::try_from(value).map_err(|error| Error::Decode(Box::new(error)))
    };
    let head = Head {
        position: Position(number("position")?),
        output: number("output")?,
        signed: number("signed")?,
    };
    Ok((head, Timestamp::from_micros(row.try_get("clock")?)))
}

/// Reads which request a row is about; `None` if it is about none.
pub(super) fn request(
    row: &PgRow,
    firsts: &HashMap<Uuid, RequestId>,
) -> Result<Option<(RequestId, Request)>, Error> {
    let found: Option<Uuid> = row.try_get("event_id")?;
    let Some(id) = found.and_then(|found| firsts.get(&found)) else { return Ok(None) };
    let damaged = |what: &str| Error::Decode(what.into());
    let digest: Vec<u8> = row.try_get("given")?;
    let digest = digest.try_into().map_err(|_| damaged("given has not 8 bytes"))?;
    let (first, events): (i64, Option<i32>) = (row.try_get("first")?, row.try_get("events")?);
    let first = u64::try_from(first).map_err(|_| damaged("a position is negative"))?;
    let events = u32::try_from(events.unwrap_or(1))
        .map_err(|_| damaged("a number of events is negative"))?;
    let given = Given { digest, events };
    Ok(Some((*id, Request { first: Position(first), given })))
}
