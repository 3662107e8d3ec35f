//! What stands in an archive. `docs/reference/archive.md` says it for people.

use ledger_core::Position;
use ledger_core::checkpoint::Origin;
use std::fmt;
use std::str::FromStr;

/// The first line of every archive of this format.
pub(super) const MAGIC: &str = "LEDGER-ARCHIVE 1";
/// Bytes of the header: six short lines.
pub(super) const HEADER_BYTES_MAX: usize = 1024;
/// Bytes of a frame: the largest payload and annex, and what names them.
pub(super) const FRAME_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of the BLAKE3 over everything before it, with which an archive ends.
pub(super) const DIGEST_BYTES: usize = 32;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The right edge of the tree over what stands before the range.
    Tree,
    Event,
    /// The annex of the event before was erased.
    Erasure,
    /// A checkpoint over everything up to the event before.
    Checkpoint,
    Output,
    End,
}

impl Kind {
    const ALL: [Self; 6] =
        [Self::Tree, Self::Event, Self::Erasure, Self::Checkpoint, Self::Output, Self::End];

    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Tree => b'T',
            Self::Event => b'E',
            Self::Erasure => b'X',
            Self::Checkpoint => b'C',
            Self::Output => b'O',
            Self::End => b'Z',
        }
    }

    pub(super) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

/// What an archive says of itself before anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The log's name, if something had signed it.
    pub(crate) origin: Option<Origin>,
    pub(crate) first: Position,
    pub(crate) last: Position,
    /// Whether the log went on behind the last position.
    pub(crate) cut: bool,
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = self.origin.as_ref().map_or("-", Origin::as_str);
        let end = if self.cut { "goes on" } else { "ends" };
        let Self { first, last, .. } = self;
        write!(f, "{MAGIC}\norigin {origin}\nfirst {first}\nlast {last}\nthe log {end}\n\n")
    }
}

impl FromStr for Header {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "its header is none of an archive of this format";
        let mut lines = text.lines();
        let mut line = || lines.next().ok_or(wrong);
        if line()? != MAGIC {
            return Err("it is no archive of a log, or one that a newer Ledger wrote");
        }
        let origin = match line()?.strip_prefix("origin ").ok_or(wrong)? {
            "-" => None,
            origin => Some(origin.parse().map_err(|_| wrong)?),
        };
        let first = line()?.strip_prefix("first ").and_then(|n| n.parse().ok()).ok_or(wrong)?;
        let last = line()?.strip_prefix("last ").and_then(|n| n.parse().ok()).ok_or(wrong)?;
        let cut = match line()? {
            "the log ends" => false,
            "the log goes on" => true,
            _ => return Err(wrong),
        };
        let header = Self { origin, first, last, cut };
        // Written one way only, so that nothing can be changed in it unseen.
        if header.to_string() == text && first > Position::ZERO { Ok(header) } else { Err(wrong) }
    }
}

/// How much an archive has, as its end says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) events: u64,
    pub(super) erasures: u64,
    pub(super) checkpoints: u64,
    pub(super) outputs: u64,
}

impl Counts {
    /// Counts a frame.
    pub(super) fn count(&mut self, kind: Kind) {
        match kind {
            Kind::Event => self.events += 1,
            Kind::Erasure => self.erasures += 1,
            Kind::Checkpoint => self.checkpoints += 1,
            Kind::Output => self.outputs += 1,
            Kind::Tree | Kind::End => {}
        }
    }

    pub(super) fn numbers(self) -> [u64; 4] {
        [self.events, self.erasures, self.checkpoints, self.outputs]
    }
}
