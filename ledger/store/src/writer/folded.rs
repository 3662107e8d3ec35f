//! What the writer knows of the log without asking the database.

use crate::backend::Read;
use crate::read::{ReadError, begun};
use crate::tree;
use foldhash::fast::RandomState;
use imbl::GenericHashMap;
use imbl::shared_ptr::DefaultSharedPtr;
use ledger_core::limits::PAGE_RECORDS_MAX;
use ledger_core::merkle::Tree;
use ledger_core::record::Scratch;
use ledger_core::{Event, EventId, Position, Record, State, StreamId, Timestamp, Version};
use std::ops::Deref;

/// The log, folded to what a verdict depends on.
///
/// Cloning costs nothing that grows: the maps share their structure, and the tree has
/// under 256 hashes a level.
#[derive(Clone, Default)]
pub(crate) struct Folded {
    pub(crate) state: State,
    pub(crate) position: Position,
    /// The newest event.
    pub(crate) last: Option<EventId>,
    /// Of the newest event; never falls.
    pub(crate) recorded_at: Option<Timestamp>,
    /// The right edge of the tree over all of it.
    pub(crate) tree: Tree,
    versions: GenericHashMap<StreamId, Version, RandomState, DefaultSharedPtr>,
    /// The newest moment that the log proves. It falls when somebody vouches for
    /// a clock that was set back.
    proven: Option<Timestamp>,
}

impl Folded {
    /// Folds a log.
    pub(crate) async fn open(reader: &dyn Read, head: Position) -> Result<Self, ReadError> {
        let mut folded = Self::default();
        folded.read(reader, head, false).await?;
        // From the tiles: hashing every event again would take longer than folding it.
        folded.tree = tree::edge(reader, head.0).await?;
        Ok(folded)
    }

    /// Reads and applies what is in the log and not in the fold.
    pub(crate) async fn catch_up(
        &mut self,
        reader: &dyn Read,
        head: Position,
    ) -> Result<(), ReadError> {
        self.read(reader, head, true).await
    }

    /// Returns whether the log still has the newest event that was folded. Another one
    /// in its place, as after a restored backup, is another history.
    pub(crate) async fn stands(&self, reader: &dyn Read) -> Result<bool, ReadError> {
        let Some(last) = self.last else { return Ok(true) };
        let found = reader.records(self.position, 1, false).await?;
        Ok(found.first().is_some_and(|record| record.event_id == last))
    }

    async fn read(
        &mut self,
        reader: &dyn Read,
        head: Position,
        grows: bool,
    ) -> Result<(), ReadError> {
        // No further than asked: without the lock, others append meanwhile.
        let page = |after: Position| {
            let missing = usize::try_from(head.0.saturating_sub(after.0)).unwrap_or(usize::MAX);
            reader.records(after.next(), missing.min(PAGE_RECORDS_MAX), false)
        };
        // Again from the event that is known: what follows another one is no continuation.
        let mut known = self.last.filter(|_| self.position < head);
        let from = known.map_or(self.position, |_| Position(self.position.0 - 1));
        let mut next = (self.position < head).then(|| page(from));
        while let Some(reading) = next.take() {
            let mut records = reading.await?;
            if let Some(known) = known.take()
                && !records.is_empty()
                && records.remove(0).event_id != known
            {
                return Err(replaced(self.position));
            }
            let Some(last) = records.last().map(|record| record.position) else {
                return Err(ReadError::Gap { expected: self.position.next(), found: head });
            };
            if last < head {
                next = Some(begun(page(last)).await);
            }
            let mut scratch = Scratch::default();
            for record in &records {
                self.apply(record)?;
                if grows {
                    // Whoever appended them stored the tiles.
                    self.tree.push(record.leaf_hash_with(&mut scratch), &mut |_| {});
                }
            }
        }
        if self.position > head {
            return Err(ReadError::Gap { expected: self.position, found: head });
        }
        Ok(())
    }

    /// Applies a record that was read, if it can follow what was read before.
    ///
    /// A record of a type that only a newer program knows is refused: to decide
    /// without it would be to decide from another history.
    fn apply(&mut self, record: &Record) -> Result<(), ReadError> {
        let position = record.position;
        let corrupt = |column, what| ReadError::Corrupt { position, column, what };
        let event = record.event().map_err(|error| corrupt("payload", error_chain(&error)))?;
        let (version, before) = (record.version, self.version(&record.stream));
        if before.is_some_and(|before| before.next() != version) {
            let what = format!("version {version} does not follow what the stream had");
            return Err(corrupt("version", what));
        }
        if Some(record.recorded_at) < self.recorded_at {
            let what = format!("{} lies before the event before it", record.recorded_at);
            return Err(corrupt("recorded_at", what));
        }
        self.advance(record, &event);
        Ok(())
    }

    /// Applies a record whose event is at hand.
    pub(crate) fn advance(&mut self, record: &Record, event: &Event) {
        self.position = record.position;
        self.last = Some(record.event_id);
        if is_remembered(&record.stream) {
            match self.versions.get_mut(&record.stream) {
                Some(version) => *version = record.version,
                None => drop(self.versions.insert(record.stream.clone(), record.version)),
            }
        }
        match event {
            Event::ClockConfirmed(confirmed) => self.proven = Some(confirmed.clock),
            // While the clock lies behind, recorded_at stands still and proves nothing.
            _ if Some(record.recorded_at) > self.recorded_at => {
                self.proven = Some(record.recorded_at);
            }
            _ => {}
        }
        self.recorded_at = self.recorded_at.max(Some(record.recorded_at));
        self.state.evolve(&record.stream, record.event_id, record.recorded_at, event);
    }

    /// Returns a stream's version; `None` if only the database knows it.
    pub(crate) fn version(&self, stream: &StreamId) -> Option<Version> {
        is_remembered(stream).then(|| self.versions.get(stream).copied().unwrap_or(Version::ZERO))
    }

    /// Returns the newest moment that the log proves to have been.
    pub(crate) fn proven(&self) -> Option<Timestamp> {
        self.proven
    }

    /// Trusts a clock that somebody vouched for.
    pub(crate) fn vouch(&mut self, clock: Timestamp) {
        self.proven = Some(clock);
    }
}

/// The fold, with a way back while a batch is not committed.
///
/// Whoever changes it meanwhile leaves a copy behind, whose parts are then copied as
/// they change. So it is left alone for as long as nothing is decided from it.
#[derive(Default)]
pub(crate) struct Fold {
    folded: Folded,
    /// What it was before the batch, if the batch changed it.
    before: Option<Folded>,
    /// What it was before the last batch that changed it: to let go of it takes as long
    /// as the changes did.
    spent: Option<Folded>,
}

impl Fold {
    pub(crate) fn new(folded: Folded) -> Self {
        Self { folded, ..Self::default() }
    }

    /// Returns it to be changed by what is committed.
    pub(crate) fn committed(&mut self) -> &mut Folded {
        &mut self.folded
    }

    /// Returns it to be changed by what is not committed yet.
    pub(crate) fn tentative(&mut self) -> &mut Folded {
        self.before.get_or_insert_with(|| self.folded.clone());
        &mut self.folded
    }

    /// Notes that the batch was committed.
    pub(crate) fn keep(&mut self) {
        if let Some(before) = self.before.take() {
            self.spent = Some(before);
        }
    }

    /// Lets go of what no batch needs any more.
    pub(crate) fn let_go(&mut self) {
        self.spent = None;
    }

    /// Takes back what the batch changed.
    pub(crate) fn take_back(&mut self) {
        if let Some(before) = self.before.take() {
            self.folded = before;
        }
    }
}

impl Deref for Fold {
    type Target = Folded;
    fn deref(&self) -> &Folded {
        &self.folded
    }
}

/// What a log is refused with that is another one than was read.
fn replaced(position: Position) -> ReadError {
    let what = "another event stands there than this server has read: the log was replaced, \
                as by a restored backup; start the server again";
    ReadError::Corrupt { position, column: "event_id", what: what.to_owned() }
}

/// Streams of activations come and go with the history; all others are bounded by the fleet.
pub(super) fn is_remembered(stream: &StreamId) -> bool {
    !matches!(stream, StreamId::Activation(_))
}

/// Joins an error and its sources, for a message that keeps no source.
fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
