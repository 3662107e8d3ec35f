//! Reading an archive, as a source of what a checker wants.

use super::format::{Counts, DIGEST_BYTES, FRAME_BYTES_MAX, HEADER_BYTES_MAX, Header, Kind};
use super::new_file::failed;
use crate::open::OpenError;
use crate::verify::{Batch, Item, Place, Row, Sink, Source, Span, Stop};
use ledger_core::merkle::{NodeHash, Tree};
use ledger_core::record::Columns;
use ledger_core::verify::Fault;
use ledger_core::{DeploymentId, Position, Timestamp};
use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// An archive that is being read.
pub(crate) struct ArchiveSource {
    path: PathBuf,
    header: Header,
    before: Tree,
    frames: zstd::Decoder<'static, Digesting>,
    /// The frame that was read last.
    frame: Vec<u8>,
}

/// Digests what is taken from the file.
struct Digesting {
    file: BufReader<File>,
    hasher: blake3::Hasher,
}

impl Read for Digesting {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(bytes)?;
        self.hasher.update(&bytes[..read]);
        Ok(read)
    }
}

impl BufRead for Digesting {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.file.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.hasher.update(&self.file.buffer()[..amount]);
        self.file.consume(amount);
    }
}

/// Says that the archive is not what was written.
fn damaged(what: impl Display) -> Stop {
    Fault::container(format_args!("the archive is damaged: {what}")).into()
}

impl ArchiveSource {
    /// Opens an archive and reads how it begins.
    pub(crate) fn open(path: &Path) -> Result<Self, Stop> {
        let file = File::open(path).map_err(failed(path)).map_err(Stop::Failed)?;
        let file = BufReader::with_capacity(1 << 18, file);
        let mut file = Digesting { file, hasher: blake3::Hasher::new() };
        let begun = begin(&mut file).map_err(|error| trouble(path, error))?;
        let text = String::from_utf8(begun).map_err(|_| damaged("its header is no text"))?;
        let header: Header = text.parse().map_err(|why: &str| -> Stop {
            Fault::container(format_args!("{}: {why}", path.display())).into()
        })?;
        let frames = zstd::Decoder::with_buffer(file).map_err(|error| trouble(path, error))?;
        let mut source = Self {
            path: path.to_owned(),
            header,
            before: Tree::default(),
            frames: frames.single_frame(),
            frame: Vec::new(),
        };
        if source.header.first > Position::ZERO.next() {
            source.read_tree()?;
        }
        Ok(source)
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// Returns the tree over what stands before the first event.
    pub(crate) fn before(&self) -> &Tree {
        &self.before
    }

    /// Reads the next frame.
    fn next(&mut self) -> Result<Kind, Stop> {
        let mut head = [0; 5];
        let read = self.frames.read_exact(&mut head);
        read.map_err(|error| trouble(&self.path, error))?;
        let [code, length @ ..] = head;
        let length = u32::from_be_bytes(length) as usize;
        let kind = Kind::from_code(code).ok_or_else(|| damaged("it has a part of no kind"))?;
        if length > FRAME_BYTES_MAX {
            return Err(damaged(format_args!("it has a part of {length} bytes")));
        }
        self.frame.resize(length, 0);
        let read = self.frames.read_exact(&mut self.frame);
        read.map_err(|error| trouble(&self.path, error))?;
        Ok(kind)
    }

    fn read_tree(&mut self) -> Result<(), Stop> {
        let wrong = || damaged("the tree before its first event is none");
        if self.next()? != Kind::Tree {
            return Err(wrong());
        }
        let (size, hashes) = self.frame.split_first_chunk().ok_or_else(wrong)?;
        let size = u64::from_be_bytes(*size);
        let (hashes, rest) = hashes.as_chunks::<32>();
        let mut hashes = hashes.iter().map(|hash| NodeHash(*hash));
        let levels = 0..Tree::levels_of(size);
        let edge = levels.map(|l| hashes.by_ref().take(Tree::edge_width(size, l)).collect());
        let before = Tree::from_edge(size, edge.collect()).map_err(|_| wrong())?;
        if size + 1 != self.header.first.0 || !rest.is_empty() || hashes.next().is_some() {
            return Err(wrong());
        }
        self.before = before;
        Ok(())
    }

    /// Reads the frames up to the end, and says what the end says.
    fn read_frames(
        &mut self,
        batch: &mut Batch,
        stop: &AtomicBool,
        sink: Sink<'_>,
    ) -> Result<(), Stop> {
        let mut counts = Counts::default();
        let mut position = Position(self.before.size());
        loop {
            let kind = self.next()?;
            let item = match kind {
                Kind::End => break,
                Kind::Tree => return Err(damaged("it has a tree in its middle")),
                Kind::Event => {
                    let row = event(&self.frame, position.next(), batch)?;
                    position = row.position;
                    Item::Event(row)
                }
                Kind::Erasure => {
                    let ordered = self.frame.as_slice().try_into().map(u64::from_be_bytes);
                    let ordered = ordered.map_err(|_| damaged("an erasure has no position"))?;
                    Item::Erasure { position, ordered: Position(ordered) }
                }
                Kind::Checkpoint => {
                    Item::Checkpoint { size: position.0, note: batch.keep(&self.frame) }
                }
                Kind::Output => Item::Output(output(&self.frame, batch)?),
            };
            counts.count(kind);
            batch.items.push(item);
            if batch.is_full() {
                sink(batch)?;
                if stop.load(Ordering::Relaxed) {
                    return Err(Stop::Unheard);
                }
            }
        }
        let said: Vec<u8> = counts.numbers().into_iter().flat_map(u64::to_be_bytes).collect();
        let root = self.frame.strip_prefix(said.as_slice());
        let root = root.and_then(|root| root.try_into().ok()).map(NodeHash);
        let root = root.ok_or_else(|| damaged("it does not have as much as its end says"))?;
        if position != self.header.last {
            let last = self.header.last;
            return Err(damaged(format_args!("it ends at {position}, its header says {last}")));
        }
        batch.items.push(Item::Root(root));
        Ok(())
    }

    /// Holds the whole file against the digest that it ends with.
    fn check_digest(mut self) -> Result<(), Stop> {
        let failed = |error| trouble(&self.path, error);
        if self.frames.read(&mut [0]).map_err(failed)? != 0 {
            return Err(damaged("something stands behind its end"));
        }
        let rest = self.frames.finish();
        let digest = rest.hasher.finalize();
        let mut said = Vec::with_capacity(DIGEST_BYTES + 1);
        let read = rest.file.take(DIGEST_BYTES as u64 + 1).read_to_end(&mut said);
        read.map_err(failed)?;
        if said == digest.as_bytes() {
            Ok(())
        } else {
            Err(damaged("it does not have the digest that it ends with"))
        }
    }
}

impl Source for ArchiveSource {
    fn read(mut self, stop: &AtomicBool, sink: Sink<'_>) -> Result<(), Stop> {
        let mut batch = Batch::default();
        let read = self.read_frames(&mut batch, stop, sink);
        match read.and_then(|()| self.check_digest()) {
            Err(Stop::Fault(fault)) => batch.items.push(Item::Fault(fault)),
            other => other?,
        }
        sink(&mut batch)
    }
}

/// Reads the header, up to its empty line.
fn begin(file: &mut Digesting) -> io::Result<Vec<u8>> {
    let mut header = Vec::new();
    while !header.ends_with(b"\n\n") && header.len() < HEADER_BYTES_MAX {
        let before = header.len();
        let left = HEADER_BYTES_MAX - before;
        file.by_ref().take(left as u64).read_until(b'\n', &mut header)?;
        if header.len() == before {
            break;
        }
    }
    Ok(header)
}

/// Tells damage from surroundings that hinder.
fn trouble(path: &Path, error: io::Error) -> Stop {
    if error.raw_os_error().is_some() {
        let path = path.display().to_string();
        return Stop::Failed(OpenError::File { path, source: error });
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof => damaged("it is cut off"),
        _ => damaged(error),
    }
}

/// Reads an event.
fn event(frame: &[u8], expected: Position, batch: &mut Batch) -> Result<Row, Stop> {
    let short = || damaged(format_args!("the event at position {expected} is cut off"));
    let (length, rest) = frame.split_first_chunk().ok_or_else(short)?;
    let length = usize::from(u16::from_be_bytes(*length));
    let (envelope, rest) = rest.split_at_checked(length).ok_or_else(short)?;
    let (length, rest) = rest.split_first_chunk().ok_or_else(short)?;
    let length = u32::from_be_bytes(*length) as usize;
    let (payload, rest) = rest.split_at_checked(length).ok_or_else(short)?;
    let annex = match rest {
        [] => None,
        rest => Some(rest.split_first_chunk().ok_or_else(short)?),
    };
    let columns = Columns::parse(envelope)
        .map_err(|wrong| Fault::column(expected, wrong.column, wrong.what))?;
    Ok(Row {
        position: columns.position,
        stream: batch.keep_text(columns.stream),
        version: columns.version,
        event_id: columns.event_id,
        type_name: batch.keep_text(columns.type_name),
        occurred_at: columns.occurred_at,
        recorded_at: columns.recorded_at,
        actor_kind: columns.actor_kind,
        actor: batch.keep_text(columns.actor),
        correlation_id: columns.correlation_id,
        causation_id: columns.causation_id,
        given: columns.given,
        payload: batch.keep(payload),
        payload_digest: Some(columns.payload_digest),
        annex_digest: columns.annex_digest,
        annex: annex.map(|(salt, bytes)| (*salt, batch.keep(bytes))),
    })
}

/// Reads a piece of output.
fn output(frame: &[u8], batch: &mut Batch) -> Result<Place, Stop> {
    let read = || {
        let (cursor, rest) = frame.split_first_chunk()?;
        let (deployment, rest) = rest.split_first_chunk()?;
        let (offset, rest) = rest.split_first_chunk()?;
        let (micros, bytes) = rest.split_first_chunk()?;
        let micros = i64::from_be_bytes(*micros);
        let stored_at = Timestamp::from_micros(micros);
        let place = Place {
            cursor: u64::from_be_bytes(*cursor),
            deployment: DeploymentId::from_bytes(*deployment),
            offset: u64::from_be_bytes(*offset),
            stored_at,
            bytes: Span::default(),
        };
        (stored_at.micros() == micros).then_some((place, bytes))
    };
    let (place, bytes) = read().ok_or_else(|| damaged("a piece of output is none"))?;
    Ok(Place { bytes: batch.keep(bytes), ..place })
}
