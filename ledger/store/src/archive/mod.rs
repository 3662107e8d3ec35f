//! Archives: a log, or a range of it, in one file that needs nothing else.
//!
//! `docs/reference/archive.md` says what stands in one. It is written and read from
//! the front to the end, in memory that does not grow with it, and verified both ways.

mod export;
mod format;
mod import;
mod new_file;
mod read;
mod write;

pub(crate) use new_file::NewFile;
pub(crate) use read::ArchiveSource;

pub use export::{Range, export_postgres, export_sqlite};
pub use import::{import_postgres, import_sqlite};

use crate::open::OpenError;
use crate::verify::{VerifyError, Watch, run};
use ledger_core::verify::{Checker, Scope, Trust, Verified};
use std::path::Path;

/// Why an archive was not written, or not brought into a log.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The log or the archive was not verified.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The file is there already.
    #[error("{path} is there already, and nothing is ever written over; give another name")]
    Exists {
        /// Which.
        path: String,
    },
    /// The range has nothing in it.
    #[error("positions {from} to {to} are no range of this log, which ends at {head}")]
    Range {
        /// The first position asked for.
        from: u64,
        /// The last one.
        to: u64,
        /// Where the log ends.
        head: u64,
    },
    /// The log that an archive is to be brought into has something in it.
    #[error(
        "the log ends at position {head}; an archive is brought only into one that is empty, so that positions and ids are kept"
    )]
    NotEmpty {
        /// Where it ends.
        head: u64,
    },
    /// The archive is only a part of a log.
    #[error("the archive cannot become a log: {what}; export the whole log")]
    Part {
        /// Why.
        what: String,
    },
    /// The log came out as another one.
    #[error(
        "the log that was written has the root {found}, the archive has {expected}: nothing of it is kept"
    )]
    OtherRoot {
        /// The archive's.
        expected: String,
        /// The log's.
        found: String,
    },
}

impl From<OpenError> for ArchiveError {
    fn from(error: OpenError) -> Self {
        Self::Verify(VerifyError::Open(error))
    }
}

/// Verifies an archive.
///
/// Blocks.
pub fn verify_archive(
    archive: &Path,
    trust: &Trust,
    watch: Watch<'_>,
) -> Result<Verified, VerifyError> {
    let source = ArchiveSource::open(archive)?;
    let checker = checker(&source, trust);
    let last = source.header().last;
    run(source, checker, last, watch, &mut |_| Ok(()))
}

/// Returns the checker for what an archive has.
fn checker(source: &ArchiveSource, trust: &Trust) -> Checker {
    let (before, cut) = (source.before().clone(), source.header().cut);
    let scope = Scope { before, cut, tiles: false, ids: true };
    Checker::new(trust.clone(), scope)
}
