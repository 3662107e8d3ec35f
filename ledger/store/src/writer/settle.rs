//! Settling: what a batch places becomes part of what the writer knows.
//!
//! A decision needs it, and a full tile needs the hashes in it. All else waits until
//! the database has the batch, so that nobody waits for it.

use super::batch::Batch;
use super::folded::{Fold, Folded};
use ledger_core::merkle::{TILE_WIDTH, Tile};
use ledger_core::record::Scratch;
use ledger_core::{NewEvent, Record};
use std::collections::VecDeque;
use std::sync::Arc;

/// Events that are settled before others get their turn.
const AT_ONCE: usize = 64;

/// What is placed and not settled.
#[derive(Default)]
pub(super) struct Unsettled {
    /// The requests that are not folded, in order.
    requests: VecDeque<Arc<Vec<NewEvent>>>,
    /// How many events of the first of them are.
    n_begun: usize,
    /// How many of the batch's rows have their hashes in the tree.
    n_hashed: usize,
    /// How many of them are folded.
    n_folded: usize,
}

impl Unsettled {
    /// Adds the events of a request.
    pub(super) fn placed(&mut self, events: Arc<Vec<NewEvent>>) {
        self.requests.push_back(events);
    }

    /// Puts the hashes of the first so many rows into the tree.
    fn hash(
        &mut self,
        folded: &mut Folded,
        records: &[Record],
        upto: usize,
        tiles: &mut Vec<Tile>,
    ) {
        let mut scratch = Scratch::default();
        for record in records.iter().take(upto).skip(self.n_hashed) {
            folded.tree.push(record.leaf_hash_with(&mut scratch), &mut |tile| tiles.push(tile));
        }
        self.n_hashed = self.n_hashed.max(upto);
    }

    /// Folds the first so many rows.
    fn fold(&mut self, folded: &mut Folded, records: &[Record], upto: usize) {
        for record in records.iter().take(upto).skip(self.n_folded) {
            while let Some(events) = self.requests.front() {
                if let Some(new) = events.get(self.n_begun) {
                    folded.advance(record, &new.event);
                    self.n_begun += 1;
                    break;
                }
                self.requests.pop_front();
                self.n_begun = 0;
            }
        }
        self.n_folded = self.n_folded.max(upto);
    }
}

impl Batch {
    /// Settles everything, before it is committed: for a decision, or because the
    /// database is busy with it.
    pub(super) fn settle(&mut self, fold: &mut Fold) {
        let n_rows = self.rows.records.len();
        if self.handed.is_empty() && self.unsettled.n_folded == n_rows {
            return;
        }
        // If something was handed over, the other thread takes longer.
        fold.let_go();
        let folded = fold.tentative();
        for records in std::mem::take(&mut self.handed) {
            self.unsettled.hash(folded, &records, records.len(), &mut self.rows.tiles);
            self.unsettled.fold(folded, &records, records.len());
            (self.unsettled.n_hashed, self.unsettled.n_folded) = (0, 0);
        }
        self.settle_rows(folded, n_rows);
    }

    /// Settles everything that was committed.
    pub(super) fn settle_committed(&mut self, fold: &mut Fold) {
        fold.keep();
        let n_rows = self.rows.records.len();
        if self.unsettled.n_folded < n_rows {
            fold.let_go();
            self.settle_rows(fold.committed(), n_rows);
        }
    }

    /// Settles everything a few events at a time, while something else is waited for.
    pub(super) async fn settle_meanwhile(&mut self, fold: &mut Fold) {
        fold.let_go();
        let n_rows = self.rows.records.len();
        while self.unsettled.n_folded < n_rows {
            let upto = (self.unsettled.n_folded + AT_ONCE).min(n_rows);
            self.settle_rows(fold.tentative(), upto);
            tokio::task::yield_now().await;
        }
        // The database has them.
        self.rows.records = Vec::new();
        self.unsettled = Unsettled::default();
    }

    /// Makes the tiles that the batch fills.
    pub(super) fn fill_tiles(&mut self, fold: &mut Fold) {
        let n_behind = usize::try_from(self.position.0 % TILE_WIDTH as u64).unwrap_or_default();
        let upto = self.rows.records.len().saturating_sub(n_behind);
        if upto > self.unsettled.n_hashed {
            let tiles = &mut self.rows.tiles;
            self.unsettled.hash(fold.tentative(), &self.rows.records, upto, tiles);
        }
    }

    fn settle_rows(&mut self, folded: &mut Folded, upto: usize) {
        self.unsettled.hash(folded, &self.rows.records, upto, &mut self.rows.tiles);
        self.unsettled.fold(folded, &self.rows.records, upto);
    }
}
