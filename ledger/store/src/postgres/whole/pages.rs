//! Reads all tables, merged into the order of the log: the events in one answer, what
//! stands beside them in pages.

use super::super::signed;
use super::along::Along;
use super::events::{self, Cells};
use super::rows::{self, Annex, Names, get};
use super::{Head, guards, trouble};
use crate::verify::{Batch, Item, Sink, Stop};
use futures_util::TryStreamExt;
use ledger_core::Position;
use ledger_core::merkle::{TILE_WIDTH, TileId};
use ledger_core::verify::Fault;
use sqlx::postgres::PgRow;
use sqlx::{Connection, PgConnection};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// For how many events what stands beside them is read at once: their tiles have 256 KiB.
const BESIDE: u64 = 8_192;
/// Pieces of output in one page: 2 MiB at most.
const OUTPUTS: i64 = 64;
/// Annexes in one page: 16 MiB at most, and mostly some KiB.
const ANNEXES: i64 = 256;

pub(super) struct Reading<'a> {
    connection: PgConnection,
    stop: &'a AtomicBool,
    sink: Sink<'a>,
    batch: Batch,
    beside: Beside,
    outputs: Along,
    annexes: Along,
}

/// What stands beside some events, by the position of the event that it follows.
#[derive(Default)]
struct Beside {
    /// The positions.
    range: Range<u64>,
    erasures: BTreeMap<u64, i64>,
    notes: BTreeMap<u64, String>,
    tiles: BTreeMap<TileId, Vec<u8>>,
}

/// What was found, to be held against what the database says of itself.
pub(super) struct Found {
    position: i64,
    cursor: i64,
    signed: i64,
    names: Names,
    tiles: i64,
    annexes: i64,
    erasures: i64,
}

impl<'a> Reading<'a> {
    pub(super) fn new(connection: PgConnection, stop: &'a AtomicBool, sink: Sink<'a>) -> Self {
        let (batch, beside) = (Batch::default(), Beside::default());
        // Output is put before the first event that was recorded later.
        let outputs = Along::new(rows::OUTPUTS, OUTPUTS, 3);
        let annexes = Along::new(rows::ANNEXES, ANNEXES, 0);
        Self { connection, stop, sink, batch, beside, outputs, annexes }
    }

    pub(super) fn put(&mut self, item: Item) {
        self.batch.items.push(item);
    }

    pub(super) fn hand_on(&mut self) -> Result<(), Stop> {
        (self.sink)(&mut self.batch)
    }

    /// Keeps a fault of the whole for when nothing else is wrong.
    pub(super) fn afterwards(&mut self, whole: Result<(), Stop>) -> Result<(), Stop> {
        match whole {
            Err(Stop::Fault(fault)) => {
                self.put(Item::Afterwards(fault));
                Ok(())
            }
            other => other,
        }
    }

    async fn all(&mut self, sql: &'static str, from: i64, to: i64) -> Result<Vec<PgRow>, Stop> {
        let query = sqlx::query(sql).bind(from).bind(to);
        query.fetch_all(&mut self.connection).await.map_err(trouble)
    }

    async fn number(&mut self, sql: &'static str) -> Result<i64, Stop> {
        let row = sqlx::query(sql).fetch_one(&mut self.connection).await.map_err(trouble)?;
        get(&row, 0)
    }

    /// Reads everything, the events by a connection of their own.
    pub(super) async fn read(&mut self, mut events: PgConnection) -> Result<Found, Stop> {
        let sql = "SELECT id, name FROM ledger.names ORDER BY id";
        let names = sqlx::query(sql).fetch_all(&mut self.connection).await.map_err(trouble)?;
        let names = Names::new(&names)?;
        let mut found =
            Found { position: 0, cursor: 0, signed: 0, names, tiles: 0, annexes: 0, erasures: 0 };
        events::check_types(&mut events).await?;
        let mut messages = events.copy_out_raw(events::COPY).await.map_err(trouble)?;
        let mut parser = events::Parser::default();
        while let Some(message) = messages.try_next().await.map_err(trouble)? {
            let mut message = &*message;
            while let Some(cells) = parser.next(&mut message)? {
                self.event(&cells, &mut found).await?;
            }
        }
        while let Some(row) = self.outputs.take(&mut self.connection, i64::MAX).await? {
            self.output(&row)?;
        }
        found.cursor = self.outputs.last;
        drop(messages);
        events.close().await.map_err(trouble)?;
        self.rest(&mut found).await?;
        Ok(found)
    }

    /// Puts an event into a batch, with what belongs to it.
    async fn event(&mut self, cells: &Cells<'_>, found: &mut Found) -> Result<(), Stop> {
        let (position, recorded_at) = (cells.position, cells.recorded_at());
        let due = !self.beside.range.contains(&position.0)
            || self.outputs.is_due(recorded_at)
            || self.annexes.is_due(signed(position.0));
        // Mostly nothing is, and nothing is waited for.
        let annex = if due { self.before(position, recorded_at).await? } else { None };
        found.annexes += i64::from(annex.is_some());
        found.position = signed(position.0);
        rows::event(cells, annex, &mut found.names, &mut self.batch)?;
        if let Some(ordered) = self.beside.erasures.remove(&position.0) {
            let ordered = Position(u64::try_from(ordered).unwrap_or(0));
            found.erasures += 1;
            self.put(Item::Erasure { position, ordered });
        }
        self.tiles(position.0, &mut found.tiles);
        if let Some(note) = self.beside.notes.remove(&position.0) {
            found.signed = signed(position.0);
            let note = self.batch.keep(note.as_bytes());
            self.put(Item::Checkpoint { size: position.0, note });
        }
        self.hand_on_if_full()
    }

    /// Reads what stands before an event or beside it. Returns its annex.
    async fn before(
        &mut self,
        position: Position,
        recorded_at: i64,
    ) -> Result<Option<Annex>, Stop> {
        if !self.beside.range.contains(&position.0) {
            self.read_beside(position.0).await?;
        }
        while let Some(row) = self.outputs.take(&mut self.connection, recorded_at).await? {
            self.output(&row)?;
        }
        let (mut annex, number) = (None, signed(position.0));
        while let Some(row) = self.annexes.take(&mut self.connection, number).await? {
            // One of no event is counted at the end.
            if get::<i64>(&row, 0)? == number {
                annex = Some(rows::annex(&row, &mut self.batch)?);
            }
        }
        Ok(annex)
    }

    /// Reads what stands beside the events from the position on.
    async fn read_beside(&mut self, position: u64) -> Result<(), Stop> {
        const ERASURES: &str =
            "SELECT position, ordered FROM ledger.erasures WHERE position BETWEEN $1 AND $2";
        const NOTES: &str =
            "SELECT size, note FROM ledger.checkpoints WHERE size BETWEEN $1 AND $2";
        let range = position..position.saturating_add(BESIDE);
        let (from, to) = (signed(range.start), signed(range.end - 1));
        let erasures = keyed(&self.all(ERASURES, from, to).await?)?;
        let notes = keyed(&self.all(NOTES, from, to).await?)?;
        let tiles = self.tiles_within(from.max(1), to).await?;
        self.beside = Beside { range, erasures, notes, tiles };
        Ok(())
    }

    fn output(&mut self, row: &PgRow) -> Result<(), Stop> {
        let place = rows::output(row, &mut self.batch)?;
        self.put(Item::Output(place));
        self.hand_on_if_full()
    }

    fn hand_on_if_full(&mut self) -> Result<(), Stop> {
        if !self.batch.is_full() {
            return Ok(());
        }
        if self.stop.load(Ordering::Relaxed) {
            return Err(Stop::Unheard);
        }
        self.hand_on()
    }

    /// Reads the tiles that end within the positions.
    async fn tiles_within(
        &mut self,
        from: i64,
        to: i64,
    ) -> Result<BTreeMap<TileId, Vec<u8>>, Stop> {
        const SQL: &str =
            "SELECT idx, hashes FROM ledger.tiles WHERE level = $1 AND idx BETWEEN $2 AND $3";
        let mut tiles = BTreeMap::new();
        for level in 0..=TileId::LEVEL_MAX {
            let full = |leaves: i64| leaves.checked_shr(8 * (u32::from(level) + 1)).unwrap_or(0);
            let (before, last) = (full(from - 1), full(to));
            if before >= last {
                break;
            }
            let query = sqlx::query(SQL).bind(i16::from(level)).bind(before).bind(last - 1);
            for row in query.fetch_all(&mut self.connection).await.map_err(trouble)? {
                let index = u64::try_from(get::<i64>(&row, 0)?).unwrap_or(u64::MAX);
                tiles.insert(TileId { level, index }, get(&row, 1)?);
            }
        }
        Ok(tiles)
    }

    /// Puts the tiles that end with the event.
    fn tiles(&mut self, position: u64, count: &mut i64) {
        let mut index = position;
        for level in 0..=TileId::LEVEL_MAX {
            if index == 0 || !index.is_multiple_of(TILE_WIDTH as u64) {
                return;
            }
            index /= TILE_WIDTH as u64;
            let id = TileId { level, index: index - 1 };
            let hashes = self.beside.tiles.remove(&id).map(|hashes| self.batch.keep(&hashes));
            *count += i64::from(hashes.is_some());
            self.put(Item::Tile { id, hashes });
        }
    }

    /// Reads what belongs to no event that is there.
    async fn rest(&mut self, found: &mut Found) -> Result<(), Stop> {
        const ANNEXES: &str = "SELECT position, position FROM ledger.annexes \
             WHERE position > $1 ORDER BY 1 LIMIT $2";
        const ERASURES: &str = "SELECT position, position FROM ledger.erasures \
             WHERE position > $1 ORDER BY 1 LIMIT $2";
        const NOTES: &str =
            "SELECT size, note FROM ledger.checkpoints WHERE size > $1 ORDER BY size LIMIT $2";
        for (sql, what) in [(ANNEXES, "an annex"), (ERASURES, "an erasure of the annex")] {
            if let Some(row) = self.all(sql, found.position, 1).await?.first() {
                let position: i64 = get(row, 0)?;
                self.put(Item::Beyond(format!("{what} of position {position}")));
            }
        }
        for row in self.all(NOTES, found.position, i64::MAX).await? {
            let (size, note): (i64, &str) = (get(&row, 0)?, get(&row, 1)?);
            let note = self.batch.keep(note.as_bytes());
            self.put(Item::Checkpoint { size: u64::try_from(size).unwrap_or(0), note });
        }
        Ok(())
    }

    /// Holds what was found against what the database says of itself.
    pub(super) async fn whole(&mut self, head: Head, found: Found) -> Result<(), Stop> {
        for (table, sql, expected) in [
            ("tiles", "SELECT count(*) FROM ledger.tiles", found.tiles),
            ("annexes", "SELECT count(*) FROM ledger.annexes", found.annexes),
            ("erasures", "SELECT count(*) FROM ledger.erasures", found.erasures),
        ] {
            let rows = self.number(sql).await?;
            if rows != expected {
                let what =
                    format_args!("the table {table} has {rows} rows; the log has {expected}");
                return Err(Fault::container(what).into());
            }
        }
        for (column, says, is) in [
            ("position", head.position, found.position),
            ("output", head.output, found.cursor),
            ("signed", head.signed, found.signed),
            ("names", head.names, found.names.count()),
        ] {
            if says != is {
                let what =
                    format_args!("the table head, {column}: it says {says}, the log has {is}");
                return Err(Fault::container(what).into());
            }
        }
        found.names.all_used()?;
        guards::check(&mut self.connection).await
    }
}

/// Takes rows of key and value.
fn keyed<'r, T>(rows: &'r [PgRow]) -> Result<BTreeMap<u64, T>, Stop>
where
    T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    let pair = |row| Ok((u64::try_from(get::<i64>(row, 0)?).unwrap_or(0), get(row, 1)?));
    rows.iter().map(pair).collect()
}
