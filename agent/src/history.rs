//! What the agent remembers of the log's history, and how it notices that the
//! history was rewritten.
//!
//! It keeps the newest signed checkpoint that it has seen. On every connection,
//! and about once an hour, the server shows its newest one, with the proof that
//! the log it names begins with the one that the agent knows. Without such a proof
//! nothing is deployed any more, and both checkpoints are kept: together they
//! prove to anybody what happened.

use crate::supervisor::write_synced;
use ledger_core::checkpoint::{Checkpoint, Note, NoteKey};
use ledger_core::merkle::{NodeHash, verify_consistency};
use std::io;
use std::path::{Path, PathBuf};

/// The file with the newest checkpoint that the agent has seen.
const SEEN: &str = "checkpoint";
/// The file with the checkpoint that contradicts it.
const CONTRADICTS: &str = "checkpoint.contradicts";

/// What a server shows of its history.
#[derive(Clone, Debug)]
pub struct Shown<'a> {
    /// Its newest signed checkpoint; none before the first.
    pub checkpoint: Option<&'a str>,
    /// How the log that the agent knows leads to it.
    pub proof: &'a [NodeHash],
    /// The keys that sign, as verifier keys.
    pub keys: &'a [String],
}

/// Why the server's history is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// It does not continue what the agent has seen.
    #[error(
        "the server's history was rewritten: {what}. This agent stops deploying. It keeps what it had seen in {}, and what contradicts it in {}, as evidence. If the server was restored from a backup on purpose, check what this machine runs, then move both files away and start the agent again",
        seen.display(), contradicts.display()
    )]
    Rewritten {
        /// How it shows.
        what: String,
        /// The file with what the agent had seen.
        seen: PathBuf,
        /// The file with what the server shows now.
        contradicts: PathBuf,
    },
    /// It cannot be told whether it does.
    #[error("the server does not show its history: {0}")]
    Unreadable(String),
    /// The agent cannot keep what it has seen.
    #[error("could not {act} {}", path.display())]
    Io {
        /// What was tried.
        act: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// What the agent kept is damaged.
    #[error(
        "{} is damaged: it must hold the last checkpoint that this agent has seen; compare with another machine what the server's history was, then remove the file",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

/// The newest checkpoint that the agent has seen, in its state folder.
#[derive(Clone, Debug)]
pub struct History {
    folder: PathBuf,
    seen: Option<Note>,
}

impl History {
    /// Reads what was kept. Evidence of a rewritten history stands in the way until
    /// somebody takes it away.
    pub fn open(folder: &Path) -> Result<Self, HistoryError> {
        let history = Self { folder: folder.to_owned(), seen: read(&folder.join(SEEN))? };
        if let Some(contradicting) = read(&folder.join(CONTRADICTS))? {
            return Err(history.rewritten(contradiction(history.seen.as_ref(), &contradicting)));
        }
        Ok(history)
    }

    /// Returns the size of the log that the agent knows.
    pub fn size(&self) -> Option<u64> {
        self.seen.as_ref().map(|note| note.checkpoint().size)
    }

    /// Accepts what the server shows, and remembers it, or says why not.
    pub fn check(&mut self, shown: &Shown<'_>) -> Result<(), HistoryError> {
        let Some(text) = shown.checkpoint else {
            return match self.size() {
                None => Ok(()),
                Some(size) => Err(self.rewritten(format!(
                    "this agent has seen a log of {size} events, and the server shows no checkpoint at all"
                ))),
            };
        };
        let unreadable = |what: String| HistoryError::Unreadable(what);
        let note: Note = text.parse().map_err(|error| unreadable(format!("{error}")))?;
        let signed = shown
            .keys
            .iter()
            .any(|key| key.parse::<NoteKey>().is_ok_and(|key| note.is_signed_by(&key)));
        if !signed {
            return Err(unreadable("no key of the log signed its checkpoint".to_owned()));
        }
        if let Some(seen) = &self.seen
            && let Err(what) = continues(seen.checkpoint(), note.checkpoint(), shown.proof)
        {
            self.keep(CONTRADICTS, &note)?;
            return Err(self.rewritten(what));
        }
        if self.seen.as_ref() != Some(&note) {
            self.keep(SEEN, &note)?;
            self.seen = Some(note);
        }
        Ok(())
    }

    fn keep(&self, name: &'static str, note: &Note) -> Result<(), HistoryError> {
        let path = self.folder.join(name);
        let kept = write_synced(&self.folder, name, &note.to_string());
        kept.map_err(|source| HistoryError::Io { act: "write", path, source })
    }

    fn rewritten(&self, what: String) -> HistoryError {
        let (seen, contradicts) = (self.folder.join(SEEN), self.folder.join(CONTRADICTS));
        HistoryError::Rewritten { what, seen, contradicts }
    }
}

/// Holds a newer checkpoint to an older one.
fn continues(seen: &Checkpoint, shown: &Checkpoint, proof: &[NodeHash]) -> Result<(), String> {
    if seen.origin != shown.origin {
        return Err(format!("the log was {} and is {} now", seen.origin, shown.origin));
    }
    if shown.size < seen.size {
        let (had, has) = (seen.size, shown.size);
        return Err(format!("this agent has seen {had} events, and the server has only {has}"));
    }
    verify_consistency(seen.size, seen.root, shown.size, shown.root, proof).map_err(|error| {
        format!(
            "the log of {} events does not begin with the {} that this agent has seen ({error})",
            shown.size, seen.size
        )
    })
}

fn contradiction(seen: Option<&Note>, contradicting: &Note) -> String {
    let shown = contradicting.checkpoint();
    match seen.map(Note::checkpoint) {
        Some(seen) => format!(
            "this agent had seen {} events with the root {}, and the server showed {} with the root {}, which do not continue them",
            seen.size, seen.root, shown.size, shown.root
        ),
        None => "the server showed another history before".to_owned(),
    }
}

fn read(path: &Path) -> Result<Option<Note>, HistoryError> {
    match crate::output::read_small(path) {
        Ok(text) => {
            let note = text.parse().map_err(|_| HistoryError::Damaged { path: path.to_owned() });
            note.map(Some)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(HistoryError::Io { act: "read", path: path.to_owned(), source }),
    }
}
