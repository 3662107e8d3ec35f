//! What a batch presumes instead of asking: that its requests, and the streams of its
//! activations, are new. Guards and indexes hold it to that where it appends; where a request
//! appends nothing, it is asked for at the end.

use crate::limits::DOUBTED_BATCHES;
use ledger_core::{EventId, Record, RequestId};
use std::collections::HashSet;

/// What the open batch presumes.
#[derive(Default)]
pub(super) struct Presumed {
    holds: bool,
    /// Of which it does.
    requests: Vec<RequestId>,
    /// The first events of those that are inserted, each once.
    firsts: Vec<EventId>,
    /// How many more batches ask first.
    doubted: u32,
}

impl Presumed {
    /// Begins a batch of the requests, and returns whether it presumes anything.
    pub(super) fn begin(&mut self, requests: &[RequestId]) -> bool {
        self.requests.clear();
        self.firsts.clear();
        self.holds = self.doubted == 0;
        if self.holds {
            self.requests.extend(requests);
        } else if !requests.is_empty() {
            self.doubted -= 1;
        }
        self.holds
    }

    /// Returns whether the batch presumes anything.
    pub(super) fn holds(&self) -> bool {
        self.holds
    }

    /// Notes which events were inserted.
    pub(super) fn inserted(&mut self, records: &[Record]) {
        if self.requests.is_empty() {
            return;
        }
        let firsts = records.iter().filter(|record| record.given.is_some());
        self.firsts.extend(firsts.map(|record| record.event_id));
    }

    /// Returns what the first events would be of the requests that inserted nothing.
    pub(super) fn absent(&mut self) -> Vec<EventId> {
        let requests = std::mem::take(&mut self.requests);
        if self.firsts.len() == requests.len() {
            return Vec::new();
        }
        let inserted: HashSet<EventId> = self.firsts.drain(..).collect();
        let firsts = requests.into_iter().map(|id| EventId::derive(id, 0));
        firsts.filter(|first| !inserted.contains(first)).collect()
    }

    /// Notes that the database refused the batch, and returns whether that may be for
    /// what it presumed.
    pub(super) fn refused(&mut self) -> bool {
        if self.holds {
            self.doubted = DOUBTED_BATCHES;
        }
        self.holds
    }
}
