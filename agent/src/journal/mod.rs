//! The journal: what the agent has decided, on disk before it acts on it.
//!
//! One line per record: 16 hexadecimal digits of the BLAKE3 of the JSON, a
//! space, the JSON. A line is synced before the act that it announces. A last
//! line that a crash tore has no end and is cut off; a whole line that is damaged
//! is an error wherever it stands, for the journal then no longer says what was
//! done to the machine.

pub mod fold;
pub mod record;

use crate::limits;
use fold::State;
use ledger_core::names::AgentName;
use record::{FORMAT, Line, Record};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Digits of a line's checksum.
const CHECKSUM_DIGITS: usize = 16;

/// Why the journal cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk failed.
    #[error("could not {act} the journal {}", path.display())]
    Io {
        /// What was tried.
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A line is not what was written.
    #[error(
        "the journal {} is damaged in line {line}: {what}; what it said of this machine is lost. Check the machine by hand, then move the file away: the agent then reports what ran as lost and goes on with the newest deployment",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
    /// It is another agent's.
    #[error("the journal {} belongs to the agent {owner}; give each agent a --state of its own", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: AgentName,
    },
    /// A newer program wrote it.
    #[error("the journal {} has format {format}, which this version does not read; upgrade the agent", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u32,
    },
}

/// The open journal, and what it says.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    agent: AgentName,
    file: File,
    bytes: u64,
    state: State,
}

impl Journal {
    /// Opens the journal of a state folder, or begins it, and rewrites it to one line.
    pub fn open(folder: &Path, agent: &AgentName) -> Result<Self, JournalError> {
        let path = folder.join("journal");
        let state = read(&path, agent)?.unwrap_or_default();
        let (file, bytes) = rewrite(&path, agent, &state).map_err(|source| JournalError::Io {
            act: "write",
            path: path.clone(),
            source,
        })?;
        Ok(Self { path, agent: agent.clone(), file, bytes, state })
    }

    /// Returns what the journal says.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Appends a record and syncs it, then applies it.
    ///
    /// After an error nothing more may be appended: half a line may be there,
    /// which only the next opening cuts off.
    pub fn append(&mut self, record: Record) -> Result<(), JournalError> {
        let line = Line { cursor: self.state.cursor, record };
        let text = encode(&line);
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(|source| self.io("append to", source))?;
        self.bytes = self.bytes.saturating_add(text.len() as u64);
        self.state.evolve(&line);
        if self.bytes > limits::JOURNAL_BYTES_MAX && self.state.run.is_none() {
            let (file, bytes) = rewrite(&self.path, &self.agent, &self.state)
                .map_err(|source| self.io("rewrite", source))?;
            (self.file, self.bytes) = (file, bytes);
        }
        Ok(())
    }

    /// Notes how much of the stream was seen. The next record carries it to disk.
    pub fn see(&mut self, cursor: Option<ledger_core::Version>) {
        self.state.cursor = self.state.cursor.max(cursor);
    }

    /// Notes how much output the server has. The next chunk carries it to disk;
    /// until then a restart would send a little again, which counts once.
    pub fn acknowledge_output(&mut self, end: u64) {
        if let Some(run) = &mut self.state.run {
            run.acknowledge_to(end);
        }
    }

    fn io(&self, act: &'static str, source: io::Error) -> JournalError {
        JournalError::Io { act, path: self.path.clone(), source }
    }
}

fn encode(line: &Line) -> String {
    // Structs of strings, numbers and sequences cannot fail to encode.
    let json = serde_json::to_string(line).unwrap_or_default();
    format!("{} {json}\n", checksum(&json))
}

fn checksum(json: &str) -> String {
    blake3::hash(json.as_bytes()).to_hex().chars().take(CHECKSUM_DIGITS).collect()
}

fn decode(text: &[u8]) -> Result<Line, String> {
    let text = std::str::from_utf8(text).map_err(|_| "it is no text".to_owned())?;
    let (sum, json) = text.split_once(' ').ok_or("it has no checksum")?;
    if checksum(json) != sum {
        return Err("its checksum is wrong".to_owned());
    }
    serde_json::from_str(json).map_err(|error| format!("it is not understood ({error})"))
}

/// Reads the journal. None if there is none yet.
fn read(path: &Path, agent: &AgentName) -> Result<Option<State>, JournalError> {
    let io = |source| JournalError::Io { act: "read", path: path.to_owned(), source };
    let damaged = |line, what: String| JournalError::Damaged { path: path.to_owned(), line, what };
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => {
            file.take(limits::JOURNAL_READ_BYTES_MAX).read_to_end(&mut bytes).map_err(io)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    }
    let mut state = State::default();
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    for (at, text) in lines.iter().enumerate() {
        let number = at + 1;
        let line = match text.strip_suffix(b"\n").map(decode) {
            Some(Ok(line)) => line,
            Some(Err(what)) => return Err(damaged(number, what)),
            // The end of the file, where a crash tore what was being written. The
            // first line is never written in place, so it is never torn.
            None if at > 0 => break,
            None => return Err(damaged(number, "it is cut off".to_owned())),
        };
        match (&line.record, at) {
            (Record::Snapshot { format, .. }, _) if *format != FORMAT => {
                return Err(JournalError::Newer { path: path.to_owned(), format: *format });
            }
            (Record::Snapshot { agent: owner, .. }, _) if owner != agent => {
                return Err(JournalError::Foreign { path: path.to_owned(), owner: owner.clone() });
            }
            (Record::Snapshot { .. }, _) | (_, 1..) => state.evolve(&line),
            (_, 0) => return Err(damaged(number, "it is no first line".to_owned())),
        }
    }
    if lines.is_empty() {
        return Err(damaged(1, "the file is empty".to_owned()));
    }
    Ok(Some(state))
}

/// Puts a journal of one line in the place of the old one.
fn rewrite(path: &Path, agent: &AgentName, state: &State) -> io::Result<(File, u64)> {
    let record =
        Record::Snapshot { format: FORMAT, agent: agent.clone(), state: Box::new(state.clone()) };
    let text = encode(&Line { cursor: state.cursor, record });
    let new = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    let file = OpenOptions::new().append(true).open(path)?;
    Ok((file, text.len() as u64))
}
