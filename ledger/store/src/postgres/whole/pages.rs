//! Reads the tables in pages, merged into the order of the log.

use super::rows::{self, Names, get};
use super::{Head, guards, trouble};
use crate::verify::{Batch, Item, Sink, Stop};
use ledger_core::Position;
use ledger_core::merkle::{TILE_WIDTH, TileId};
use ledger_core::verify::Fault;
use sqlx::PgConnection;
use sqlx::postgres::PgRow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};

/// Events in one page.
const EVENTS: usize = 2_000;
/// Pieces of output in one page: 2 MiB at most.
const OUTPUTS: usize = 64;

/// Keys with values that stand beside a page of events.
type Beside<T> = BTreeMap<u64, T>;

pub(super) struct Reading<'a> {
    connection: PgConnection,
    stop: &'a AtomicBool,
    sink: Sink<'a>,
    batch: Batch,
    /// Rows of output that were read and not put into a batch.
    outputs: VecDeque<PgRow>,
    /// The newest cursor that was read.
    cursor: i64,
    outputs_end: bool,
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
        let (batch, outputs) = (Batch::default(), VecDeque::new());
        Self { connection, stop, sink, batch, outputs, cursor: 0, outputs_end: false }
    }

    pub(super) fn put(&mut self, item: Item) {
        self.batch.items.push(item);
    }

    pub(super) fn hand_on(&mut self) -> Result<(), Stop> {
        (self.sink)(std::mem::take(&mut self.batch))
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

    pub(super) async fn read(&mut self) -> Result<Found, Stop> {
        let sql = "SELECT id, name FROM ledger.names ORDER BY id";
        let names = sqlx::query(sql).fetch_all(&mut self.connection).await.map_err(trouble)?;
        let names = Names::new(&names)?;
        let mut found =
            Found { position: 0, cursor: 0, signed: 0, names, tiles: 0, annexes: 0, erasures: 0 };
        let mut before_first = true;
        loop {
            // From whatever is there: a position below 1 is a fault, too.
            let from = if before_first { i64::MIN } else { found.position.saturating_add(1) };
            let page = self.all(rows::EVENTS, from, EVENTS as i64).await?;
            let Some(last) = page.last() else { break };
            let (first, last) = (from, get(last, 0)?);
            self.page(&page, (first, last), &mut found).await?;
            (found.position, before_first) = (last, false);
        }
        while let Some(row) = self.next_output().await? {
            self.output(&row)?;
        }
        found.cursor = self.cursor;
        self.rest(&mut found).await?;
        Ok(found)
    }

    /// Puts a page of events into batches, with what belongs to them.
    async fn page(
        &mut self,
        page: &[PgRow],
        range: (i64, i64),
        found: &mut Found,
    ) -> Result<(), Stop> {
        const ERASURES: &str =
            "SELECT position, ordered FROM ledger.erasures WHERE position BETWEEN $1 AND $2";
        const NOTES: &str =
            "SELECT size, note FROM ledger.checkpoints WHERE size BETWEEN $1 AND $2";
        let (from, to) = range;
        let mut erasures: Beside<i64> = keyed(&self.all(ERASURES, from, to).await?)?;
        let mut notes: Beside<String> = keyed(&self.all(NOTES, from, to).await?)?;
        let mut tiles = self.tiles_within(from.max(1), to).await?;
        for row in page {
            let event = rows::event(row, &mut found.names, &mut self.batch)?;
            let position = event.position;
            while let Some(row) = self.next_output().await? {
                if get::<i64>(&row, 3)? > event.recorded_at.micros() {
                    self.outputs.push_front(row);
                    break;
                }
                let place = rows::output(&row, &mut self.batch)?;
                self.put(Item::Output(place));
            }
            found.annexes += i64::from(event.annex.is_some());
            self.put(Item::Event(Box::new(event)));
            if let Some(ordered) = erasures.remove(&position.0) {
                let ordered = Position(u64::try_from(ordered).unwrap_or(0));
                found.erasures += 1;
                self.put(Item::Erasure { position, ordered });
            }
            self.tiles(position.0, &mut tiles, &mut found.tiles);
            if let Some(note) = notes.remove(&position.0) {
                found.signed = position.0 as i64;
                let note = self.batch.keep(note.as_bytes());
                self.put(Item::Checkpoint { size: position.0, note });
            }
            self.hand_on_if_full()?;
        }
        Ok(())
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
    fn tiles(&mut self, position: u64, tiles: &mut BTreeMap<TileId, Vec<u8>>, count: &mut i64) {
        let mut index = position;
        for level in 0..=TileId::LEVEL_MAX {
            if index == 0 || !index.is_multiple_of(TILE_WIDTH as u64) {
                return;
            }
            index /= TILE_WIDTH as u64;
            let id = TileId { level, index: index - 1 };
            let hashes = tiles.remove(&id).map(|hashes| self.batch.keep(&hashes));
            *count += i64::from(hashes.is_some());
            self.put(Item::Tile { id, hashes });
        }
    }

    async fn next_output(&mut self) -> Result<Option<PgRow>, Stop> {
        if self.outputs.is_empty() && !self.outputs_end {
            let from = if self.cursor == 0 { i64::MIN } else { self.cursor.saturating_add(1) };
            let page = self.all(rows::OUTPUTS, from, OUTPUTS as i64).await?;
            self.outputs_end = page.is_empty();
            if let Some(last) = page.last() {
                self.cursor = get(last, 0)?;
            }
            self.outputs = page.into();
        }
        Ok(self.outputs.pop_front())
    }

    fn output(&mut self, row: &PgRow) -> Result<(), Stop> {
        let place = rows::output(row, &mut self.batch)?;
        self.put(Item::Output(place));
        self.hand_on_if_full()
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
fn keyed<'r, T>(rows: &'r [PgRow]) -> Result<Beside<T>, Stop>
where
    T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    let pair = |row| Ok((u64::try_from(get::<i64>(row, 0)?).unwrap_or(0), get(row, 1)?));
    rows.iter().map(pair).collect()
}
