//! Annexes that are gone, and the events that order it.

use super::fault::Fault;
use super::told::AnnexSeen;
use crate::ids::Position;
use std::collections::HashMap;

/// Erasures whose order is still to come.
#[derive(Debug, Default)]
pub(super) struct Erasures {
    /// Whether orders may stand before the first event.
    partial: bool,
    /// An event whose annex is missing, until its erasure is told.
    owed: Option<Position>,
    /// Whose annex each event that is to come orders to erase.
    ordered: HashMap<Position, Position>,
    pub(super) whole: u64,
    pub(super) erased: u64,
}

impl Erasures {
    pub(super) fn new(first: Position) -> Self {
        Self { partial: first > Position::ZERO.next(), ..Self::default() }
    }

    /// What comes next shows whether the erasure of a missing annex was told.
    pub(super) fn settled(&self) -> Result<(), Fault> {
        match self.owed {
            Some(position) => {
                let what = "it was removed, and no erasure is recorded".to_owned();
                Err(Fault::Annex { position, what })
            }
            None => Ok(()),
        }
    }

    pub(super) fn annex(&mut self, position: Position, annex: AnnexSeen) {
        match annex {
            AnnexSeen::Never => {}
            AnnexSeen::Whole => self.whole += 1,
            AnnexSeen::Missing => self.owed = Some(position),
        }
    }

    pub(super) fn erasure(&mut self, position: Position, ordered: Position) -> Result<(), Fault> {
        let fault = |what: String| Err(Fault::Erasure { position, what });
        if self.owed != Some(position) {
            return fault(
                "it is recorded for an event that has its annex, never had one, or is not there"
                    .to_owned(),
            );
        }
        if ordered <= position {
            return fault(format!("position {ordered}, which is to order it, stands before it"));
        }
        if self.ordered.insert(ordered, position).is_some() {
            return fault(format!("position {ordered} orders another one, too"));
        }
        self.owed = None;
        self.erased += 1;
        Ok(())
    }

    /// Takes an event that orders an erasure, or one that does not.
    pub(super) fn order(
        &mut self,
        at: Position,
        erased: Option<Position>,
        first: Position,
    ) -> Result<(), Fault> {
        let told = if self.ordered.is_empty() { None } else { self.ordered.remove(&at) };
        match (told, erased) {
            (None, None) => Ok(()),
            (Some(told), Some(erased)) if told == erased => Ok(()),
            (None, Some(erased)) if self.partial && erased < first => Ok(()),
            (Some(position), _) => {
                let what = format!("position {at} is to order it, and does not");
                Err(Fault::Erasure { position, what })
            }
            (None, Some(position)) => {
                let what = format!("position {at} orders it, and it is not recorded");
                Err(Fault::Erasure { position, what })
            }
        }
    }

    /// Returns an erasure whose order did not come.
    pub(super) fn open(&self) -> Option<(Position, Position)> {
        self.ordered.iter().map(|(ordered, position)| (*ordered, *position)).min()
    }
}
