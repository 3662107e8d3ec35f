//! What can be wrong with a log.

use crate::ids::{DeploymentId, Position};
use crate::merkle::TileId;
use std::fmt;

/// The first thing that is wrong. Its text is one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A position is missing, or stands where another should.
    Gap {
        /// The position that should stand there.
        expected: Position,
        /// The one that does.
        found: Position,
    },
    /// A column of an event cannot be what the log wrote there.
    Column {
        /// Where.
        position: Position,
        /// Which column.
        column: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// An event is not the one that was appended: neither its hash in the tree nor a
    /// checkpoint fits it.
    Event {
        /// Which.
        position: Position,
        /// Where its hash stands.
        tile: TileId,
    },
    /// An event and its hash in the tree do not fit together, and no newer
    /// checkpoint tells which of them was changed.
    EventOrTile {
        /// Which event.
        position: Position,
        /// Where its hash stands.
        tile: TileId,
    },
    /// An annex was changed, removed or put there.
    Annex {
        /// Whose.
        position: Position,
        /// What is wrong with it.
        what: String,
    },
    /// An erasure is not what an event of the log orders.
    Erasure {
        /// Whose annex.
        position: Position,
        /// What is wrong with it.
        what: String,
    },
    /// A tile of the tree is missing, too much, or not what its events give.
    Tile {
        /// Which.
        id: TileId,
        /// What is wrong with it.
        what: String,
    },
    /// A checkpoint does not hold.
    Checkpoint {
        /// Over how many events.
        size: u64,
        /// Whether it was given from outside of the log.
        outside: bool,
        /// What is wrong with it.
        what: String,
    },
    /// Two checkpoints were signed for histories of which neither continues the other.
    Fork {
        /// The one that the log does not continue.
        older: u64,
        /// The one that it does.
        newer: u64,
        /// Whether the older one was given from outside of the log.
        outside: bool,
    },
    /// The log ends before something that it must go beyond.
    Tail {
        /// What is there, like "a checkpoint over 300 events".
        what: String,
        /// Where the log ends.
        head: Position,
    },
    /// A deployment's output is not what the event that ends it says.
    Output {
        /// Whose.
        deployment: DeploymentId,
        /// What is wrong with it.
        what: String,
    },
    /// The database or the file around the log is damaged or was changed.
    Container {
        /// What is wrong with it, and where.
        what: String,
    },
}

impl Fault {
    /// Names a column.
    pub fn column(position: Position, column: &'static str, what: impl fmt::Display) -> Self {
        Self::Column { position, column, what: what.to_string() }
    }

    /// Names the database or file.
    pub fn container(what: impl fmt::Display) -> Self {
        Self::Container { what: what.to_string() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gap { expected, found } => {
                write!(f, "position {expected} is missing: {found} stands where it should")
            }
            Self::Column { position, column, what } => {
                write!(f, "position {position}, column {column}: {}", Line(what))
            }
            Self::Event { position, tile } => {
                write!(
                    f,
                    "position {position}: the event was changed: it does not have the hash that stands in {}, and a checkpoint over it does not hold",
                    Place(*tile)
                )
            }
            Self::EventOrTile { position, tile } => {
                write!(
                    f,
                    "position {position}: the event or its hash in {} was changed: they do not fit together",
                    Place(*tile)
                )
            }
            Self::Annex { position, what } => {
                write!(f, "position {position}, annex: {}", Line(what))
            }
            Self::Erasure { position, what } => {
                write!(f, "position {position}, erasure of its annex: {}", Line(what))
            }
            Self::Tile { id, what } => write!(f, "{}: {}", Place(*id), Line(what)),
            Self::Checkpoint { size, outside, what } => {
                write!(f, "{}: {}", Over(*size, *outside), Line(what))
            }
            Self::Fork { older, newer, outside } => write!(
                f,
                "the history was forked: {} and {} are signed, and the log continues only the second",
                Over(*older, *outside),
                Over(*newer, false)
            ),
            Self::Tail { what, head } => {
                write!(
                    f,
                    "the log ends at position {head}, and {} is there: its tail was removed",
                    Line(what)
                )
            }
            Self::Output { deployment, what } => {
                write!(f, "the output of deployment {deployment}: {}", Line(what))
            }
            Self::Container { what } => Line(what).fmt(f),
        }
    }
}

impl std::error::Error for Fault {}

/// A tile as people read it.
struct Place(TileId);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tile {} of level {}", self.0.index, self.0.level)
    }
}

/// A checkpoint as people read it.
struct Over(u64, bool);

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let given = if self.1 { " that was given" } else { "" };
        write!(f, "the checkpoint{given} over {} events", self.0)
    }
}

/// Text that may quote what is stored: without what would begin a line or steer a terminal.
struct Line<'a>(&'a str);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if c.is_control() {
                write!(f, "{}", c.escape_default())?;
            } else {
                fmt::Write::write_char(f, c)?;
            }
        }
        Ok(())
    }
}
