//! Writing an archive.

use super::ArchiveError;
use super::format::{Counts, Header, Kind};
use super::new_file::{NewFile, failed};
use crate::open::OpenError;
use crate::verify::{Batch, Place, Row};
use ledger_core::Position;
use ledger_core::merkle::{NodeHash, TileId, Tree};
use ledger_core::record::Columns;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// How hard it is compressed: what is written as fast as a disk takes it.
const LEVEL: i32 = 3;

/// An archive that is being written.
pub(super) struct Writer {
    path: PathBuf,
    file: NewFile,
    frames: zstd::Encoder<'static, Digesting>,
    frame: Vec<u8>,
    counts: Counts,
}

/// Digests what passes to the file.
struct Digesting {
    file: BufWriter<File>,
    hasher: blake3::Hasher,
}

impl Write for Digesting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Writer {
    pub(super) fn begin(path: &Path, header: &Header) -> Result<Self, ArchiveError> {
        let file = NewFile::begin(path)?;
        let out = BufWriter::with_capacity(1 << 18, file.file()?);
        let mut out = Digesting { file: out, hasher: blake3::Hasher::new() };
        let begun = out.write_all(header.to_string().as_bytes());
        let frames = begun.and_then(|()| zstd::Encoder::new(out, LEVEL)).map_err(failed(path))?;
        let (path, frame) = (path.to_owned(), Vec::with_capacity(4096));
        Ok(Self { path, file, frames, frame, counts: Counts::default() })
    }

    fn put(&mut self, kind: Kind) -> Result<(), OpenError> {
        self.counts.count(kind);
        let length = u32::try_from(self.frame.len()).unwrap_or(u32::MAX).to_be_bytes();
        let [a, b, c, d] = length;
        let written = self
            .frames
            .write_all(&[kind.code(), a, b, c, d])
            .and_then(|()| self.frames.write_all(&self.frame));
        self.frame.clear();
        written.map_err(failed(&self.path))
    }

    /// Writes the edge of the tree over what stands before the range.
    pub(super) fn tree(&mut self, tree: &Tree) -> Result<(), OpenError> {
        self.frame.extend_from_slice(&tree.size().to_be_bytes());
        for level in 0..Tree::levels_of(tree.size()) {
            let level = u8::try_from(level).unwrap_or(TileId::LEVEL_MAX);
            for hash in tree.edge(level).into_iter().flat_map(|tile| tile.hashes) {
                self.frame.extend_from_slice(&hash.0);
            }
        }
        self.put(Kind::Tree)
    }

    pub(super) fn event(
        &mut self,
        batch: &Batch,
        row: &Row,
        columns: &Columns<'_>,
    ) -> Result<(), OpenError> {
        self.frame.extend_from_slice(&[0; 2]);
        columns.put_envelope(&mut self.frame);
        // An envelope has some 600 bytes at most.
        let length = u16::try_from(self.frame.len() - 2).unwrap_or(u16::MAX);
        self.frame[..2].copy_from_slice(&length.to_be_bytes());
        let payload = batch.bytes(row.payload);
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        self.frame.extend_from_slice(&length.to_be_bytes());
        self.frame.extend_from_slice(payload);
        if let Some((salt, bytes)) = &row.annex {
            self.frame.extend_from_slice(salt);
            self.frame.extend_from_slice(batch.bytes(*bytes));
        }
        self.put(Kind::Event)
    }

    pub(super) fn erasure(&mut self, ordered: Position) -> Result<(), OpenError> {
        self.frame.extend_from_slice(&ordered.0.to_be_bytes());
        self.put(Kind::Erasure)
    }

    pub(super) fn checkpoint(&mut self, note: &[u8]) -> Result<(), OpenError> {
        self.frame.extend_from_slice(note);
        self.put(Kind::Checkpoint)
    }

    pub(super) fn output(&mut self, batch: &Batch, place: &Place) -> Result<(), OpenError> {
        self.frame.extend_from_slice(&place.cursor.to_be_bytes());
        self.frame.extend_from_slice(&place.deployment.bytes());
        self.frame.extend_from_slice(&place.offset.to_be_bytes());
        self.frame.extend_from_slice(&place.stored_at.micros().to_be_bytes());
        self.frame.extend_from_slice(batch.bytes(place.bytes));
        self.put(Kind::Output)
    }

    /// Writes the end, and puts the file in its place.
    pub(super) fn finish(mut self, root: NodeHash) -> Result<(), ArchiveError> {
        for number in self.counts.numbers() {
            self.frame.extend_from_slice(&number.to_be_bytes());
        }
        self.frame.extend_from_slice(&root.0);
        self.put(Kind::End)?;
        let ended = self.frames.finish().and_then(|mut out| {
            let digest = out.hasher.finalize();
            out.file.write_all(digest.as_bytes())?;
            out.file.flush()
        });
        ended.map_err(failed(&self.path))?;
        self.file.keep()
    }
}
