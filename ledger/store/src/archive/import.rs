//! From an archive to a log that is empty. Positions, ids, annexes, output and
//! checkpoints are kept; the tree is computed anew.

use super::new_file::{failed, sync_folder_of};
use super::read::ArchiveSource;
use super::{ArchiveError, checker};
use crate::backend::{Bulk, Erasure, Read, Rows, SignedNote};
use crate::open::OpenError;
use crate::read::StoredOutput;
use crate::verify::{Item, Seen, VerifyError, Watch, run};
use crate::{postgres, sqlite, tree};
use ledger_core::merkle::Tree;
use ledger_core::verify::{Fault, Trust, Verified};
use ledger_core::{Position, Record, SealedAnnex};
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use tokio::runtime::Runtime;

/// Events that are inserted at once.
const EVENTS: usize = 4_000;
/// Bytes of payloads, annexes and output that are.
const BYTES: usize = 4 * 1024 * 1024;
/// Where a log is made before it takes its place.
const SCRATCH: &str = "import.partial";

/// Brings an archive into a data folder in which no log is, or an empty one.
///
/// Blocks, and may not be called where a task runs. The log is made beside its place
/// and put there when all of it is verified and durable. What an import left that
/// was broken off is removed by the next one.
pub fn import_sqlite(
    folder: &Path,
    archive: &Path,
    trust: &Trust,
    watch: Watch<'_>,
) -> Result<Verified, ArchiveError> {
    let source = whole(archive)?;
    let runtime = runtime()?;
    make_private(folder).map_err(failed(folder))?;
    // Held until the log is in its place, so that no server makes one meanwhile.
    let lock = sqlite::hold(folder)?;
    if let Some(head) = sqlite::head_of(folder)? {
        return Err(ArchiveError::NotEmpty { head });
    }
    let scratch = Scratch::make(&folder.join(SCRATCH))?;
    let (mut bulk, reader) = runtime.block_on(sqlite::open_bulk(&scratch.0))?;
    let verified = bring(source, trust, watch, &runtime, &mut bulk, &reader);
    // The one that writes is the last, so that it leaves one file.
    runtime.block_on(reader.close());
    runtime.block_on(bulk.close());
    let verified = verified?;
    sqlite::put(&scratch.0, folder)?;
    drop(lock);
    Ok(verified)
}

/// Brings an archive into a PostgreSQL database with an empty log, all of it in one
/// transaction.
///
/// Blocks, and may not be called where a task runs.
pub fn import_postgres(
    url: &str,
    archive: &Path,
    trust: &Trust,
    watch: Watch<'_>,
) -> Result<Verified, ArchiveError> {
    let source = whole(archive)?;
    let runtime = runtime()?;
    let (mut bulk, reader, head) = runtime.block_on(postgres::open_bulk(url))?;
    if head > 0 {
        return Err(ArchiveError::NotEmpty { head });
    }
    let verified = bring(source, trust, watch, &runtime, &mut bulk, &reader);
    runtime.block_on(reader.close());
    verified
}

/// Opens an archive that begins with the first event.
fn whole(archive: &Path) -> Result<ArchiveSource, ArchiveError> {
    let source = ArchiveSource::open(archive).map_err(VerifyError::from)?;
    let first = source.header().first;
    if first > Position(1) {
        return Err(ArchiveError::Part { what: format!("it begins at position {first}") });
    }
    Ok(source)
}

fn runtime() -> Result<Runtime, OpenError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|source| OpenError::Database {
        what: "starting to write it".to_owned(),
        source: Box::new(source),
    })
}

fn make_private(folder: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// A folder that is gone with this value.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn make(path: &Path) -> Result<Self, OpenError> {
        if path.symlink_metadata().is_ok() {
            // An import that was broken off left it.
            fs::remove_dir_all(path).map_err(failed(path))?;
        }
        make_private(path).map_err(failed(path))?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Gone already, or gone now; the next import removes what is left.
        let _ = fs::remove_dir_all(&self.0);
        let _ = sync_folder_of(&self.0);
    }
}

/// Inserts everything, and commits it once all of it was verified.
fn bring<B: Bulk>(
    source: ArchiveSource,
    trust: &Trust,
    watch: Watch<'_>,
    runtime: &Runtime,
    bulk: &mut B,
    reader: &dyn Read,
) -> Result<Verified, ArchiveError> {
    let (checker, last) = (checker(&source, trust), source.header().last);
    let mut import = Import {
        bulk,
        runtime,
        rows: Rows::default(),
        bytes: 0,
        tree: Tree::default(),
        ordered: HashMap::new(),
    };
    let verified = run(source, checker, last, watch, &mut |seen| import.take(&seen))?;
    if verified.open {
        let what = "it ends within a write, or before the event that orders an erasure";
        return Err(ArchiveError::Part { what: what.to_owned() });
    }
    import.flush()?;
    let Import { bulk, tree, .. } = import;
    runtime.block_on(bulk.commit()).map_err(written)?;
    // As the log will give it, from what is stored.
    let size = verified.size;
    let stored = runtime.block_on(tree::edge(reader, size));
    let stored = stored.map_err(OpenError::Read)?;
    if stored.root() != verified.root || stored != tree {
        let (expected, found) = (verified.root.to_string(), stored.root().to_string());
        return Err(ArchiveError::OtherRoot { expected, found });
    }
    Ok(verified)
}

/// Says why something was not written.
fn written(failure: crate::backend::Failure) -> VerifyError {
    let what = format!("writing the log ({})", failure.why);
    VerifyError::Open(OpenError::Database { what, source: failure.source })
}

/// An import that is under way.
struct Import<'a, B> {
    bulk: &'a mut B,
    runtime: &'a Runtime,
    rows: Rows,
    bytes: usize,
    tree: Tree,
    /// Whose annex each event that is to come orders to erase.
    ordered: HashMap<Position, Position>,
}

impl<B: Bulk> Import<'_, B> {
    fn take(&mut self, seen: &Seen<'_>) -> Result<(), VerifyError> {
        let Seen { batch, item, columns, .. } = seen;
        match item {
            Item::Event(row) => {
                let Some(columns) = columns else { return Ok(()) };
                let annex = row
                    .annex
                    .map(|(salt, bytes)| SealedAnnex { salt, bytes: batch.bytes(bytes).to_vec() });
                let record =
                    Record::from_columns(columns, batch.bytes(row.payload).to_vec(), annex);
                let record =
                    record.map_err(|error| Fault::column(columns.position, "stream", error))?;
                self.bytes += crate::read::weight(&record);
                self.tree.push(record.leaf_hash(), &mut |tile| self.rows.tiles.push(tile));
                if let Some(position) = self.ordered.remove(&record.position) {
                    let ordered = record.position;
                    self.rows.erasures.push(Erasure { position, ordered });
                }
                self.rows.records.push(record);
            }
            Item::Erasure { position, ordered } => {
                self.ordered.insert(*ordered, *position);
            }
            Item::Checkpoint { size, note } => {
                let note = String::from_utf8_lossy(batch.bytes(*note)).into_owned();
                self.rows.checkpoints.push(SignedNote { size: *size, note });
            }
            Item::Output(place) => {
                let bytes = batch.bytes(place.bytes).to_vec();
                self.bytes += bytes.len();
                self.rows.outputs.push(StoredOutput {
                    cursor: place.cursor,
                    deployment: place.deployment,
                    offset: place.offset,
                    stored_at: place.stored_at,
                    bytes,
                });
            }
            _ => {}
        }
        // Between events, so that what belongs to one is not torn from it.
        let full = self.rows.records.len() >= EVENTS || self.bytes >= BYTES;
        if full && matches!(item, Item::Output(_) | Item::Event(_)) { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), VerifyError> {
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        self.runtime.block_on(self.bulk.insert(&rows)).map_err(written)
    }
}
