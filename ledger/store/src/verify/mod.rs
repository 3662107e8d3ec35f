//! Verification of a whole log, as fast as it can be read.
//!
//! A `Source` reads everything that is stored, in one snapshot and in the order in
//! which a [`ledger_core::verify::Checker`] wants it. The `pipeline` lets one thread
//! read, others hash and decode, and one check.

mod batch;
mod pipeline;

pub(crate) use batch::{Batch, Item, Place, Row, Span, TextSpan};
pub(crate) use pipeline::{Seen, run};

use crate::open::OpenError;
use crate::{postgres, sqlite};
use ledger_core::Position;
use ledger_core::checkpoint::{Note, Origin};
use ledger_core::verify::{Checker, Fault, Scope, Trust, Verified};
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// Why a log was not verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Something is wrong with it.
    #[error(transparent)]
    Fault(Fault),
    /// It cannot be read.
    #[error("the log cannot be read")]
    Open(#[source] OpenError),
    /// Whoever asked for it asked to stop.
    #[error("stopped before the end")]
    Stopped,
}

impl From<Fault> for VerifyError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The newest position that was looked at.
    pub position: u64,
    /// The last one.
    pub last: u64,
}

/// Is told how far it is, and says whether to go on.
pub type Watch<'a> = &'a mut (dyn FnMut(Progress) -> bool + Send);

/// Why a source ended before its end.
#[derive(Debug)]
pub(crate) enum Stop {
    /// What is stored is damaged.
    Fault(Fault),
    /// It cannot be read, which says nothing about it.
    Failed(OpenError),
    /// Nobody listens any more.
    Unheard,
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Stop> for VerifyError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Fault(fault) => Self::Fault(fault),
            Stop::Failed(error) => Self::Open(error),
            Stop::Unheard => Self::Stopped,
        }
    }
}

/// Takes what a source reads, and leaves an empty batch. An error says that nobody
/// listens any more.
pub(crate) type Sink<'a> = &'a mut (dyn FnMut(&mut Batch) -> Result<(), Stop> + 'a);

/// The whole log at one moment, or a range of it.
pub(crate) trait Source: Send {
    /// Reads it from the front to the end, in batches. When `stop` is set, it may end.
    fn read(self, stop: &AtomicBool, sink: Sink<'_>) -> Result<(), Stop>;
}

/// Verifies the log in a data folder, also beside a server that uses it.
///
/// Blocks. Nothing is written: not to the database, and not beside it.
pub fn verify_sqlite(
    folder: &Path,
    trust: &Trust,
    watch: Watch<'_>,
) -> Result<Verified, VerifyError> {
    let scope = Scope { tiles: true, ..Scope::default() };
    sqlite::whole::read_stable(folder, |source| {
        let last = source.head();
        let checker = Checker::new(trust.clone(), scope.clone());
        run(source, checker, last, watch, &mut |_| Ok(()))
    })
}

/// Verifies the log in a PostgreSQL database, also beside servers that use it.
///
/// Blocks, and may not be called where a task runs. Nothing is written.
pub fn verify_postgres(
    url: &str,
    trust: &Trust,
    watch: Watch<'_>,
) -> Result<Verified, VerifyError> {
    let source = postgres::whole::WholeSource::begin(url)?;
    // No index of PostgreSQL sees to it that ids differ.
    let scope = Scope { tiles: true, ids: true, ..Scope::default() };
    let (last, checker) = (source.head(), Checker::new(trust.clone(), scope));
    run(source, checker, last, watch, &mut |_| Ok(()))
}

/// Returns the log that a checkpoint is of, as the checkpoint says.
pub(crate) fn origin_of(note: &str) -> Option<Origin> {
    note.parse::<Note>().ok().map(|note| note.checkpoint().origin.clone())
}

/// Tells whoever watches.
fn tell(watch: Watch<'_>, position: Position, last: Position) -> Result<(), VerifyError> {
    let progress = Progress { position: position.0, last: last.0 };
    if watch(progress) { Ok(()) } else { Err(VerifyError::Stopped) }
}
