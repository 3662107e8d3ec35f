//! From a log to an archive. The whole log is verified on the way, whichever part
//! of it is written.

use super::ArchiveError;
use super::format::Header;
use super::write::Writer;
use crate::verify::{Item, Seen, VerifyError, Watch, run};
use crate::{postgres, sqlite};
use ledger_core::Position;
use ledger_core::checkpoint::Origin;
use ledger_core::merkle::{NodeHash, Tree};
use ledger_core::verify::{Checker, Scope, Trust, Verified};
use std::path::Path;

/// The positions to export; the whole log if neither is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// The first one.
    pub from: Option<Position>,
    /// The last one.
    pub to: Option<Position>,
}

/// Writes the log in a data folder into a new file, also beside a server that uses
/// it. Returns what the log is.
///
/// Blocks. Without a fault in the log and with every byte durable, the file is there.
pub fn export_sqlite(
    folder: &Path,
    range: Range,
    to: &Path,
    watch: Watch<'_>,
) -> Result<Verified, ArchiveError> {
    let mut written = None;
    let verified = sqlite::whole::read_stable(folder, |source| {
        let (head, origin) = (source.head(), source.origin());
        // What was written of a log that changed meanwhile is dropped first.
        written = None;
        let mut export = Export::new(range, head, origin, to);
        let verified = run(source, checker(), head, watch, &mut |seen| export.take(&seen));
        written = Some(export);
        verified
    });
    finish(verified, written)
}

/// Writes the log in a PostgreSQL database into a new file, as [`export_sqlite`] does.
pub fn export_postgres(
    url: &str,
    range: Range,
    to: &Path,
    watch: Watch<'_>,
) -> Result<Verified, ArchiveError> {
    let source = postgres::whole::WholeSource::begin(url).map_err(VerifyError::from)?;
    let (head, origin) = (source.head(), source.origin());
    let mut export = Export::new(range, head, origin, to);
    let verified = run(source, checker(), head, watch, &mut |seen| export.take(&seen));
    finish(verified, Some(export))
}

fn checker() -> Checker {
    Checker::new(Trust::default(), Scope { tiles: true, ..Scope::default() })
}

fn finish(
    verified: Result<Verified, VerifyError>,
    export: Option<Export<'_>>,
) -> Result<Verified, ArchiveError> {
    let Some(export) = export else { return Ok(verified?) };
    if let Some(refused) = export.refused {
        return Err(refused);
    }
    let verified = verified?;
    match export.writer {
        Some(writer) => {
            writer.finish(export.root.unwrap_or(verified.root))?;
            Ok(verified)
        }
        None => {
            let (from, to, head) = (export.from.0, export.to.0, verified.size);
            Err(ArchiveError::Range { from, to, head })
        }
    }
}

/// An export that is under way.
struct Export<'a> {
    from: Position,
    to: Position,
    head: Position,
    origin: Option<Origin>,
    path: &'a Path,
    writer: Option<Writer>,
    /// The tree before the first position.
    before: Tree,
    /// The root at the last position.
    root: Option<NodeHash>,
    /// Whether an event behind the last position was seen.
    done: bool,
    /// Why the file cannot be written.
    refused: Option<ArchiveError>,
}

impl<'a> Export<'a> {
    fn new(range: Range, head: Position, origin: Option<Origin>, path: &'a Path) -> Self {
        Self {
            from: range.from.unwrap_or(Position(1)),
            to: range.to.unwrap_or(head),
            head,
            origin,
            path,
            writer: None,
            before: Tree::default(),
            root: None,
            done: false,
            refused: None,
        }
    }

    fn take(&mut self, seen: &Seen<'_>) -> Result<(), VerifyError> {
        self.write(seen).map_err(|error| match error {
            ArchiveError::Verify(error) => error,
            refused => {
                self.refused = Some(refused);
                VerifyError::Stopped
            }
        })
    }

    fn write(&mut self, seen: &Seen<'_>) -> Result<(), ArchiveError> {
        let Seen { batch, item, columns, checker } = seen;
        if self.done || self.from > self.to || self.to > self.head {
            return Ok(());
        }
        let position = checker.position();
        match item {
            Item::Event(_) if position > self.to => self.done = true,
            Item::Event(row) => {
                if position.next() == self.from {
                    self.before = checker.tree().clone();
                }
                if position == self.to {
                    self.root = Some(checker.tree().root());
                }
                if let Some(columns) = columns.filter(|_| position >= self.from) {
                    self.begun()?.event(batch, row, &columns)?;
                }
            }
            // Output stands only where all of it before the last event can stand.
            Item::Output(place)
                if self.from == Position(1) && (position < self.to || self.to == self.head) =>
            {
                self.begun()?.output(batch, place)?;
            }
            Item::Erasure { ordered, .. } => {
                if let Some(writer) = &mut self.writer {
                    writer.erasure(*ordered)?;
                }
            }
            Item::Checkpoint { note, .. } => {
                if let Some(writer) = &mut self.writer {
                    writer.checkpoint(batch.bytes(*note))?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns the writer, which begins with what stands before the first event.
    fn begun(&mut self) -> Result<&mut Writer, ArchiveError> {
        let writer = match self.writer.take() {
            Some(writer) => writer,
            None => {
                let (first, last) = (self.from, self.to);
                let (origin, cut) = (self.origin.clone(), self.to < self.head);
                let header = Header { origin, first, last, cut };
                let mut writer = Writer::begin(self.path, &header)?;
                if first > Position(1) {
                    writer.tree(&self.before)?;
                }
                writer
            }
        };
        Ok(self.writer.insert(writer))
    }
}
