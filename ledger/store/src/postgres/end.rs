//! What the writer knows of where the log ends, and what a batch must ask first.

use crate::backend::Head;
use crate::limits::DOUBTED_BATCHES;
use ledger_core::Position;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// After another server came in between, so many batches take the lock first. The
/// servers that keep writing so meet at the lock, and one alone soon goes without.
const CROWDED_BATCHES: u32 = 16;
/// For how long an answer of the database holds. After more, the connection may be
/// lost, which a look finds out before anything is in doubt, and the clock was not
/// heard for long.
const FRESH: Duration = Duration::from_secs(1);

/// What comes before a batch is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    /// Nothing: the log ends where this server's last append ended, no request was
    /// written before, and the streams of activations are new. The statement that appends
    /// holds the batch to all of it.
    Presume,
    /// A look, without the lock.
    Look,
    /// The lock.
    Lock,
}

/// Where the log ends, as far as the writer knows.
pub(super) struct End {
    head: Head,
    /// When the database last said so; `None` if that no longer counts.
    told_at: Option<Instant>,
    /// The newest position that a reader of this server heard of.
    heard: Arc<AtomicU64>,
    /// How many more batches take the lock first.
    crowded: u32,
    /// How many more batches look first.
    doubted: u32,
}

impl End {
    pub(super) fn new(heard: Arc<AtomicU64>) -> Self {
        let head = Head { position: Position::ZERO, output: 0, signed: 0 };
        Self { head, told_at: None, heard, crowded: 0, doubted: 0 }
    }

    pub(super) fn head(&self) -> Head {
        self.head
    }

    /// Returns what the next batch must ask first.
    pub(super) fn first(&self) -> First {
        let fresh = self.told_at.is_some_and(|at| at.elapsed() < FRESH);
        let ahead = self.heard.load(Ordering::Relaxed) > self.head.position.0;
        match () {
            () if self.crowded > 0 => First::Lock,
            () if !fresh || ahead || self.doubted > 0 => First::Look,
            () => First::Presume,
        }
    }

    /// Takes what a look or the lock told.
    pub(super) fn told(&mut self, head: Head, by: First) {
        self.crowded = match head.position > self.head.position {
            true if by == First::Lock => CROWDED_BATCHES,
            _ => self.crowded.saturating_sub(1),
        };
        self.doubted = self.doubted.saturating_sub(1);
        self.appended(head);
    }

    /// Takes where the log ends after this server appended.
    pub(super) fn appended(&mut self, head: Head) {
        self.head = head;
        self.told_at = Some(Instant::now());
    }

    /// Notes that an append was refused because this was not so.
    pub(super) fn refused(&mut self, by: First) {
        match by {
            // Who or what it was, the lock tells.
            First::Presume => (self.crowded, self.doubted) = (1, DOUBTED_BATCHES),
            First::Look | First::Lock => self.crowded = CROWDED_BATCHES,
        }
    }

    /// Notes that nothing is sure any more.
    pub(super) fn forget(&mut self) {
        self.told_at = None;
    }
}
