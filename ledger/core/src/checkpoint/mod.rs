//! Checkpoints: what the log was at one moment, signed (C2SP tlog-checkpoint).
//!
//! A checkpoint names the log, its size and the root of its tree. Whoever keeps
//! one can hold every later state of the log to it.

mod note;

pub use note::{
    InvalidKey, InvalidNote, KeyId, NOTE_BYTES_MAX, Note, NoteKey, NoteSignature, sign,
};

use crate::merkle::NodeHash;
use std::fmt;

/// The size of a log and the root of its tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Names the log: no two logs share it.
    pub origin: Origin,
    /// How many events; the newest position.
    pub size: u64,
    /// The root of the tree over them.
    pub root: NodeHash,
}

/// The name of a log, like `ledger.example.org/prod`: 1 to 255 printable
/// characters of ASCII without spaces and plus signs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Origin(String);

/// Text that names no log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no origin: it must be 1 to 255 printable characters of ASCII without spaces and plus signs, best a name of yours like ledger.example.org/prod"
)]
pub struct InvalidOrigin(String);

impl Origin {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Origin {
    type Error = InvalidOrigin;
    fn try_from(text: String) -> Result<Self, InvalidOrigin> {
        let printable = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'+');
        if (1..=255).contains(&text.len()) && printable {
            Ok(Self(text))
        } else {
            Err(InvalidOrigin(text.chars().take(80).collect()))
        }
    }
}

impl std::str::FromStr for Origin {
    type Err = InvalidOrigin;
    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        text.to_owned().try_into()
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> String {
        origin.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Checkpoint {
    /// Returns the text that is signed.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, self.root)
    }

    /// Reads the text of a note. Lines after the third are extensions, which are
    /// signed and otherwise ignored.
    pub fn parse(text: &str) -> Result<Self, InvalidNote> {
        let invalid = |what: &str| InvalidNote(what.to_owned());
        let mut lines = text.strip_suffix('\n').unwrap_or(text).split('\n');
        let mut line = || lines.next().ok_or_else(|| invalid("it has fewer than three lines"));
        let origin = line()?.parse().map_err(|error| InvalidNote(format!("{error}")))?;
        let size = line()?;
        let canonical =
            size == "0" || size.bytes().next().is_some_and(|b| (b'1'..=b'9').contains(&b));
        let number = size.parse().ok().filter(|_| canonical);
        let size = number.ok_or_else(|| invalid("its second line is no size"))?;
        let root = line()?.parse().map_err(|_| invalid("its third line is no root"))?;
        if lines.any(str::is_empty) {
            return Err(invalid("it has an empty line"));
        }
        Ok(Self { origin, size, root })
    }
}
