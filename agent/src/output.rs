//! A deployment's output: one file, which only grows, up to a bound.

use crate::limits::{ERROR_BYTES_MAX, ERROR_LINES_MAX, OUTPUT_POLL, OUTPUT_POLL_FIRST};
use ledger_core::event::{Digest, OutputDigest};
use ledger_core::limits::{OUTPUT_BYTES_MAX, OUTPUT_CHUNK_BYTES_MAX};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

/// The last line of an output that is longer than it may be.
const CUT_LINE: &[u8] = b"\n[the output is longer than 16 MiB; the rest was cut]\n";
/// What comes before it.
const WHOLE_BYTES_MAX: u64 = OUTPUT_BYTES_MAX - CUT_LINE.len() as u64;

/// When to look for new output: for the first of a deployment soon and then
/// ever later, for all that follows at an even pace.
#[derive(Clone, Copy, Debug)]
pub struct Looks {
    first: Duration,
}

impl Default for Looks {
    fn default() -> Self {
        Self { first: OUTPUT_POLL_FIRST }
    }
}

impl Looks {
    /// Returns how long to wait for the next look, by what was found so far.
    pub const fn wait(self, found: u64) -> Duration {
        if found == 0 { self.first } else { OUTPUT_POLL }
    }

    /// Takes note that it was looked.
    pub fn looked(&mut self) {
        self.first = self.first.saturating_mul(2).min(OUTPUT_POLL);
    }
}

/// The writing end. One process at a time writes: the agent, or the supervisor
/// of an activation.
#[derive(Debug)]
pub struct OutputFile {
    file: File,
    bytes: u64,
}

impl OutputFile {
    /// Opens the file to go on with it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { file, bytes })
    }

    /// Returns how long the output is.
    pub const fn len(&self) -> u64 {
        self.bytes
    }

    /// Returns whether there is no output yet.
    pub const fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Appends what fits. The first byte that does not is where it is cut.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let room = WHOLE_BYTES_MAX.saturating_sub(self.bytes);
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        let Some((fits, _)) = bytes.split_at_checked(room) else { return self.put(bytes) };
        if fits.len() == bytes.len() {
            return self.put(bytes);
        }
        let said = self.bytes.saturating_sub(WHOLE_BYTES_MAX);
        let unsaid = usize::try_from(said).ok().and_then(|said| CUT_LINE.get(said..));
        self.put(fits)?;
        self.put(unsaid.unwrap_or_default())
    }

    /// Appends a line of the agent's own.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        self.write(format!("{text}\n").as_bytes())
    }

    /// Returns a handle for a program that writes into the output itself, and
    /// little. [`Self::refresh`] comes after it.
    pub fn handle(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Takes note of what a program wrote.
    pub fn refresh(&mut self) -> io::Result<()> {
        self.bytes = self.file.metadata()?.len();
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        Ok(())
    }
}

/// Returns how long the output is: 0 if there is none.
pub fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// Returns how many bytes the next chunk after `offset` has, synced to disk, so
/// that a power cut takes nothing back that the server has. 0 if there is nothing.
///
/// It ends at a line's end where one is in it.
pub fn seal(path: &Path, offset: u64) -> io::Result<u64> {
    let available = length(path).saturating_sub(offset).min(OUTPUT_CHUNK_BYTES_MAX as u64);
    if available == 0 {
        return Ok(0);
    }
    let bytes = read(path, offset, available)?;
    File::open(path)?.sync_data()?;
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
    Ok(end as u64)
}

/// Reads a chunk.
pub fn read(path: &Path, offset: u64, bytes: u64) -> io::Result<Vec<u8>> {
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).min(OUTPUT_CHUNK_BYTES_MAX);
    let mut buffer = vec![0; bytes];
    File::open(path)?.read_exact_at(&mut buffer, offset)?;
    Ok(buffer)
}

/// Syncs the whole output and digests it. An output that was never begun is empty.
pub fn digest(path: &Path) -> io::Result<OutputDigest> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(OutputDigest { blake3: Digest::of(b""), bytes: 0 });
        }
        Err(error) => return Err(error),
    };
    file.sync_all()?;
    let mut hasher = blake3::Hasher::new();
    let bytes = io::copy(&mut file, &mut hasher)?;
    Ok(OutputDigest { blake3: Digest(*hasher.finalize().as_bytes()), bytes })
}

/// Returns the last lines after `from`, for a report's error.
pub fn last_lines(path: &Path, from: u64) -> io::Result<String> {
    let from = from.max(length(path).saturating_sub(ERROR_BYTES_MAX));
    let mut bytes = vec![0; usize::try_from(ERROR_BYTES_MAX).unwrap_or(0)];
    let read = File::open(path)?.read_at(&mut bytes, from)?;
    bytes.truncate(read);
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|l| !l.is_empty()).collect();
    let first = lines.len().saturating_sub(ERROR_LINES_MAX);
    Ok(lines.get(first..).unwrap_or_default().join("\n"))
}

/// Reads a small file whole; a larger one is an error.
pub fn read_small(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let max = crate::limits::SMALL_FILE_BYTES_MAX;
    let read = File::open(path)?.take(max + 1).read_to_string(&mut text)?;
    if read as u64 > max {
        return Err(io::Error::other(format!("it is larger than {max} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_output_is_looked_for_soon_and_more_at_an_even_pace() {
        let mut looks = Looks::default();
        for wait in [2, 4, 8, 16, 32, 64, 100, 100].map(Duration::from_millis) {
            assert_eq!((looks.wait(0), looks.wait(1)), (wait, OUTPUT_POLL));
            looks.looked();
        }
    }

    #[test]
    fn output_beyond_the_bound_is_cut_once_and_says_so() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("output");
        let mut output = OutputFile::open(&path).expect("it opens");
        let block = vec![b'x'; 1024 * 1024];
        for _ in 0..17 {
            output.write(&block).expect("it is written");
        }
        let mut again = OutputFile::open(&path).expect("it opens");
        again.line("one more").expect("it is left out");
        assert_eq!(length(&path), OUTPUT_BYTES_MAX);
        assert_eq!(
            last_lines(&path, OUTPUT_BYTES_MAX - CUT_LINE.len() as u64).expect("it reads"),
            "[the output is longer than 16 MiB; the rest was cut]"
        );
    }

    #[test]
    fn a_cut_that_a_crash_tore_is_finished() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("output");
        File::create(&path).and_then(|f| f.set_len(WHOLE_BYTES_MAX + 5)).expect("a file");
        OutputFile::open(&path).and_then(|mut o| o.line("more")).expect("it is written");
        assert_eq!(length(&path), OUTPUT_BYTES_MAX);
    }

    #[test]
    fn chunks_end_at_lines_and_never_exceed_their_bound() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("output");
        assert_eq!(seal(&path, 0).expect("nothing"), 0);
        std::fs::write(&path, b"one\ntwo\nthr").expect("written");
        assert_eq!(seal(&path, 0).expect("a chunk"), 8);
        assert_eq!(seal(&path, 8).expect("a chunk"), 3);
        std::fs::write(&path, vec![b'x'; 2 * OUTPUT_CHUNK_BYTES_MAX]).expect("written");
        assert_eq!(seal(&path, 0).expect("a chunk"), OUTPUT_CHUNK_BYTES_MAX as u64);
    }
}
