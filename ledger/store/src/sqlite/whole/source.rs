//! Reads everything that is stored, merged into the order of the log.

use super::super::cells::{Cells, EventRow, event_columns};
use super::super::signed;
use super::indexes::{self, Ends, Sums};
use super::merge::{self, Along};
use super::names::Names;
use super::{schema, trouble};
use crate::verify::{Batch, Item, Row, Sink, Source, Stop, origin_of};
use ledger_core::checkpoint::Origin;
use ledger_core::merkle::{TILE_WIDTH, TileId};
use ledger_core::verify::Fault;
use ledger_core::{EventId, Position};
use rusqlite::{Connection, OptionalExtension, Statement};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};

const EVENTS: &str =
    concat!("SELECT ", event_columns!(), " FROM events e NOT INDEXED ORDER BY e.position");

/// One snapshot of a database.
pub(crate) struct WholeSource {
    connection: Connection,
    /// Reads the indexes meanwhile. Its snapshot may be a newer one.
    again: Connection,
    ends: Ends,
    names: Names,
    sums: Sums,
    origin: Option<Origin>,
}

impl WholeSource {
    /// Begins the snapshot.
    pub(super) fn begin(connection: Connection, again: Connection) -> Result<Self, Stop> {
        connection.execute_batch("BEGIN").map_err(trouble)?;
        schema::check(&connection)?;
        let head = |sql: &str| -> Result<i64, Stop> {
            connection.query_row(sql, [], |row| row.get(0)).map_err(trouble)
        };
        let mut sums = Sums::new();
        let names = Names::read(&connection, &mut sums)?;
        let ends = Ends {
            position: head("SELECT coalesce(max(position), 0) FROM events NOT INDEXED")?,
            cursor: head("SELECT coalesce(max(cursor), 0) FROM outputs NOT INDEXED")?,
            name: names.len() as i64,
        };
        // Only after the first: so nothing is missing from its snapshot.
        again.execute_batch("BEGIN").map_err(trouble)?;
        let note = "SELECT note FROM checkpoints ORDER BY size LIMIT 1";
        let note: Option<Result<String, _>> =
            connection.query_row(note, [], |row| Ok(row.get(0))).optional().map_err(trouble)?;
        // What cannot be read there is found when all of it is read.
        let origin = note.and_then(Result::ok).and_then(|note| origin_of(&note));
        Ok(Self { connection, again, ends, names, sums, origin })
    }

    /// Returns the log's name, as its checkpoints say.
    pub(crate) fn origin(&self) -> Option<Origin> {
        self.origin.clone()
    }

    /// Returns the newest position.
    pub(crate) fn head(&self) -> Position {
        Position(u64::try_from(self.ends.position).unwrap_or(0))
    }
}

impl Source for WholeSource {
    fn read(self, stop: &AtomicBool, sink: Sink<'_>) -> Result<(), Stop> {
        let Self { connection, again, ends, names, sums, .. } = self;
        let others = sums.others();
        thread::scope(|scope| {
            let interrupt = again.get_interrupt_handle();
            let indexes = scope.spawn(move || indexes::read(&again, others, ends));
            let mut reading = Reading { names, sums, batch: Batch::default(), sink };
            let mut read = reading.read(&connection, stop).and_then(|head| {
                let whole = indexes::tiles(&connection, head)
                    .and_then(|()| reading.names.all_used())
                    .and_then(|()| reading.compare(indexes));
                reading.afterwards(whole)
            });
            if read.is_err() {
                interrupt.interrupt();
            }
            // In its place: behind what was read before it.
            if let Err(Stop::Fault(fault)) = read {
                reading.batch.items.push(Item::Fault(fault));
                read = Ok(());
            }
            read.and_then(|()| reading.hand_on())
        })
    }
}

struct Reading<'a> {
    names: Names,
    sums: Sums,
    batch: Batch,
    sink: Sink<'a>,
}

impl Reading<'_> {
    fn hand_on(&mut self) -> Result<(), Stop> {
        (self.sink)(&mut self.batch)
    }

    /// Compares what the indexes have with what was read.
    fn compare(&self, indexes: ScopedJoinHandle<'_, Result<Sums, Stop>>) -> Result<(), Stop> {
        let lost = |_| Err(Fault::container("the indexes could not be read").into());
        let indexes = indexes.join().unwrap_or_else(lost)?;
        Ok(self.sums.compare(&indexes)?)
    }

    /// Keeps a fault of the whole for when nothing else is wrong.
    fn afterwards(&mut self, whole: Result<(), Stop>) -> Result<(), Stop> {
        match whole {
            Err(Stop::Fault(fault)) => {
                self.batch.items.push(Item::Afterwards(fault));
                Ok(())
            }
            other => other,
        }
    }

    /// Reads the log, and returns its newest position.
    fn read(&mut self, connection: &Connection, stop: &AtomicBool) -> Result<u64, Stop> {
        let prepare = |sql: &str| connection.prepare(sql).map_err(trouble);
        let (mut annexes, mut erasures) = (prepare(merge::ANNEXES)?, prepare(merge::ERASURES)?);
        let (mut notes, mut outputs) = (prepare(merge::CHECKPOINTS)?, prepare(merge::OUTPUTS)?);
        let annexes = annexes.query([0]).map_err(trouble)?;
        let mut annexes = Along::new(annexes, "annexes", merge::annex)?;
        let erasures = erasures.query([0]).map_err(trouble)?;
        let mut erasures = Along::new(erasures, "erasures", merge::erasure)?;
        let notes = notes.query([0]).map_err(trouble)?;
        let mut notes = Along::new(notes, "checkpoints", merge::checkpoint)?;
        let outputs = outputs.query([]).map_err(trouble)?;
        let mut outputs = Along::new(outputs, "outputs", merge::output)?;
        let mut tiles = prepare("SELECT hashes FROM tiles WHERE level = ? AND idx = ?")?;
        let mut events = prepare(EVENTS)?;
        let mut events = events.query([]).map_err(trouble)?;
        let mut head = 0;
        while let Some(row) = events.next().map_err(trouble)? {
            let event = self.event(row, &mut annexes)?;
            let position = event.position;
            while let Some((_, Ok(piece))) = outputs.peek()
                && piece.stored_at() <= event.recorded_at
            {
                self.output(&mut outputs)?;
            }
            self.batch.items.push(Item::Event(event));
            if let Some(ordered) = erasures.take(position.0)? {
                self.batch.items.push(Item::Erasure { position, ordered });
            }
            self.tiles(&mut tiles, position.0)?;
            if let Some(note) = notes.take(position.0)? {
                let note = self.batch.keep(&note);
                self.batch.items.push(Item::Checkpoint { size: position.0, note });
            }
            head = position.0;
            if self.batch.is_full() {
                self.hand_on()?;
                if stop.load(Ordering::Relaxed) {
                    return Err(Stop::Unheard);
                }
            }
        }
        while outputs.peek().is_some() {
            self.output(&mut outputs)?;
            if self.batch.is_full() {
                self.hand_on()?;
            }
        }
        self.rest(&mut annexes, &mut erasures, &mut notes)?;
        Ok(head)
    }

    fn event(
        &mut self,
        row: &rusqlite::Row<'_>,
        annexes: &mut Along<'_, merge::Annex>,
    ) -> Result<Row, Stop> {
        let position = Cells { row, position: Position::ZERO }.integer(0, "position")?;
        let number = u64::try_from(position).unwrap_or(0);
        let cells = Cells { row, position: Position(number) };
        let event = cells.event()?;
        let EventRow { stream, version, event_id, type_name, actor, payload, .. } = event;
        self.sums.event(position, &event_id, stream, signed(version.0));
        let annex = annexes.take(number)?;
        let (names, batch) = (&mut self.names, &mut self.batch);
        let stream = batch.keep_text(names.stream(&cells, stream)?);
        let type_name = batch.keep_text(names.text(&cells, "type", type_name)?);
        let actor = batch.keep_text(names.text(&cells, "actor", actor)?);
        let correlation = event.correlation.map(|number| names.id(&cells, "correlation", number));
        Ok(Row {
            position: cells.position,
            stream,
            version,
            event_id: EventId::from_bytes(event_id),
            type_name,
            occurred_at: event.occurred_at,
            recorded_at: event.recorded_at,
            actor_kind: event.actor_kind,
            actor,
            correlation_id: correlation.transpose()?,
            causation_id: event.causation_id,
            annex_digest: event.annex_digest,
            given: event.given,
            payload: batch.keep(payload),
            payload_digest: None,
            annex: annex.map(|(salt, bytes)| (salt, batch.keep(&bytes))),
        })
    }

    fn output(&mut self, outputs: &mut Along<'_, merge::Piece>) -> Result<(), Stop> {
        if let Some((_, piece)) = outputs.take_next()? {
            let place = piece?.put(&mut self.batch);
            let length = self.batch.bytes(place.bytes).len() as u64;
            self.sums.output(place.cursor, &place.deployment.bytes(), place.offset, length);
            self.batch.items.push(Item::Output(place));
        }
        Ok(())
    }

    /// Reads the tiles that end with the event.
    fn tiles(&mut self, tiles: &mut Statement<'_>, position: u64) -> Result<(), Stop> {
        let mut index = position;
        for level in 0..=TileId::LEVEL_MAX {
            if index == 0 || !index.is_multiple_of(TILE_WIDTH as u64) {
                return Ok(());
            }
            index /= TILE_WIDTH as u64;
            let id = TileId { level, index: index - 1 };
            let place = (i64::from(level), i64::try_from(id.index).unwrap_or(i64::MAX));
            let mut found = tiles.query(place).map_err(trouble)?;
            let hashes = match found.next().map_err(trouble)? {
                Some(row) => {
                    let cells = Cells { row, position: Position::ZERO };
                    // Whatever else stands there is no tile.
                    let hashes = cells.maybe_blob(0, "hashes").ok().flatten();
                    Some(self.batch.keep(hashes.unwrap_or_default()))
                }
                None => None,
            };
            self.batch.items.push(Item::Tile { id, hashes });
        }
        Ok(())
    }

    /// Reads what belongs to no event that is there.
    fn rest(
        &mut self,
        annexes: &mut Along<'_, merge::Annex>,
        erasures: &mut Along<'_, Position>,
        notes: &mut Along<'_, Vec<u8>>,
    ) -> Result<(), Stop> {
        if let Some((position, _)) = annexes.peek() {
            self.batch.items.push(Item::Beyond(format!("an annex of position {position}")));
        }
        if let Some((position, _)) = erasures.peek() {
            let what = format!("an erasure of the annex of position {position}");
            self.batch.items.push(Item::Beyond(what));
        }
        while let Some((size, note)) = notes.take_next()? {
            let note = self.batch.keep(&note?);
            self.batch.items.push(Item::Checkpoint { size, note });
        }
        Ok(())
    }
}
