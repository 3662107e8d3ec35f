//! The checker: what is told of a log, one thing after the other.

use super::erasures::Erasures;
use super::fault::Fault;
use super::history::History;
use super::outputs::{Outputs, Piece};
use super::proofs::{Proofs, Trust};
use super::told::{Fact, Told};
use super::{Unknown, Verified};
use crate::ids::Position;
use crate::merkle::{TileId, Tree};
use crate::record::Columns;

/// Which part of a log is told, and how.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// The tree over the events before the first one that is told. Whether it is
    /// the right one shows at the next checkpoint.
    pub before: Tree,
    /// Whether the log may go on behind the last event that is told.
    pub cut: bool,
    /// Whether the full tiles are stored, and so told.
    pub tiles: bool,
    /// Whether event ids that repeat are looked for here, in memory that grows with
    /// the events. A database has an index for it.
    pub ids: bool,
}

/// Checks a log as it is told. After a fault, nothing more is to be told.
#[derive(Debug)]
pub struct Checker {
    first: Position,
    cut: bool,
    history: History,
    erasures: Erasures,
    outputs: Outputs,
    proofs: Proofs,
    unknown: Option<Unknown>,
}

impl Checker {
    /// Begins to check the part of a log.
    pub fn new(trust: Trust, scope: Scope) -> Self {
        let first = Position(scope.before.size()).next();
        Self {
            first,
            cut: scope.cut,
            history: History::new(first, scope.ids),
            erasures: Erasures::new(first),
            outputs: Outputs::default(),
            proofs: Proofs::new(trust, scope.before, scope.tiles),
            unknown: None,
        }
    }

    /// Returns the newest position that was told.
    pub fn position(&self) -> Position {
        self.history.position()
    }

    /// Returns the tree over everything up to the newest event.
    pub fn tree(&self) -> &Tree {
        &self.proofs.tree
    }

    /// Takes the next event.
    pub fn event(&mut self, columns: &Columns<'_>, told: &Told) -> Result<(), Fault> {
        self.take_event(columns, told).map_err(|fault| self.proofs.first(fault))
    }

    fn take_event(&mut self, columns: &Columns<'_>, told: &Told) -> Result<(), Fault> {
        let position = columns.position;
        self.erasures.settled()?;
        self.proofs.settle()?;
        self.history.event(columns)?;
        self.proofs.event(told.leaf)?;
        self.erasures.annex(position, told.annex);
        let mut erased = None;
        match &told.fact {
            Fact::Plain => {}
            Fact::Unknown => self.unknown(position, columns.type_name),
            Fact::KeyAdded(key) => self.proofs.key(key.clone()),
            Fact::ForkAccepted { size, root } => self.proofs.fork(position, *size, *root),
            Fact::AnnexErased(position) => erased = Some(*position),
            Fact::Requested => self.outputs.requested(columns.event_id),
            Fact::Ended(deployment, output) => self.outputs.ended(*deployment, output.clone())?,
            Fact::NeverBegan(deployment) => self.outputs.never_began(*deployment),
        }
        self.erasures.order(position, erased, self.first)
    }

    fn unknown(&mut self, position: Position, type_name: &str) {
        let first = || Unknown { events: 0, first: position, type_name: type_name.to_owned() };
        self.unknown.get_or_insert_with(first).events += 1;
    }

    /// Takes the erasure of the newest event's annex, and the position of the event
    /// that orders it.
    pub fn erasure(&mut self, position: Position, ordered: Position) -> Result<(), Fault> {
        let taken = self.erasures.erasure(position, ordered);
        taken.map_err(|fault| self.proofs.first(fault))
    }

    /// Takes the stored bytes of a tile that the newest event made full; `None` if
    /// it is not there.
    pub fn tile(&mut self, id: TileId, stored: Option<&[u8]>) -> Result<(), Fault> {
        let taken = self.proofs.tile(id, stored);
        taken.map_err(|fault| self.proofs.first(fault))
    }

    /// Takes the stored checkpoint over everything up to the newest event, or, once
    /// all events were told, over more.
    pub fn checkpoint(&mut self, size: u64, note: &str) -> Result<(), Fault> {
        let taken = self.proofs.checkpoint(size, note);
        taken.map_err(|fault| self.proofs.first(fault))
    }

    /// Takes the next piece of output.
    pub fn output(&mut self, piece: &Piece<'_>) -> Result<(), Fault> {
        let taken = self.outputs.piece(piece);
        taken.map_err(|fault| self.proofs.first(fault))
    }

    /// Takes note of something, like "an annex of position 300", that belongs behind
    /// the last event.
    pub fn beyond(&mut self, what: impl Into<String>) -> Fault {
        let head = self.position();
        self.proofs.first(Fault::Tail { what: what.into(), head })
    }

    /// Takes note of something that is wrong with what the log is kept in.
    pub fn container(&mut self, fault: Fault) -> Fault {
        self.proofs.first(fault)
    }

    /// Ends the log.
    pub fn finish(mut self) -> Result<Verified, Fault> {
        self.end().map_err(|fault| self.proofs.first(fault))?;
        let open = self.history.is_open() || self.erasures.open().is_some();
        Ok(Verified {
            first: self.first,
            size: self.position().0,
            root: self.proofs.tree.root(),
            origin: self.proofs.newest.as_ref().map(|newest| newest.key.name.clone()),
            newest: self.proofs.newest,
            checkpoints: self.proofs.held,
            annexes: self.erasures.whole,
            erased: self.erasures.erased,
            outputs: self.outputs.whole,
            unknown: self.unknown,
            open,
        })
    }

    fn end(&mut self) -> Result<(), Fault> {
        let head = self.position();
        self.erasures.settled()?;
        self.proofs.finish()?;
        if self.history.is_open() && !self.cut {
            return Err(Fault::Tail { what: self.history.rest(), head });
        }
        if let Some((ordered, position)) = self.erasures.open().filter(|_| !self.cut) {
            let what =
                format!("the erasure of the annex of position {position}, ordered at {ordered},");
            return Err(Fault::Tail { what, head });
        }
        self.history.repeated()?;
        self.outputs.finish(!self.cut && self.first == Position::ZERO.next())
    }
}
