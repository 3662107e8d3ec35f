//! Verification: recomputes everything that can be recomputed of a log, and names
//! the first thing that is wrong.
//!
//! A [`Checker`] is fed in the order of the log. After an event come, where there
//! are any, in this order: the erasure of its annex, the full tiles that end with
//! it (the lower levels first), and the checkpoint over what it ends. Pieces of
//! output stand before the event that ends their deployment, but need not: they
//! carry the clock's moments, and a clock may step back.
//!
//! What costs the most, hashing and decoding, is [`Told::of_row`]. It looks at one
//! event alone, so that many threads can do it.

mod checker;
mod erasures;
mod fault;
mod history;
mod outputs;
mod proofs;
mod told;

pub use checker::{Checker, Scope};
pub use fault::Fault;
pub use outputs::Piece;
pub use proofs::{Signed, Trust};
pub use told::Told;

use crate::checkpoint::Origin;
use crate::ids::Position;
use crate::merkle::NodeHash;

/// What a log was found to be in which nothing is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The first position that was looked at.
    pub first: Position,
    /// The size of the log; its newest position.
    pub size: u64,
    /// The root of its tree.
    pub root: NodeHash,
    /// Its name, once something signed it.
    pub origin: Option<Origin>,
    /// The newest checkpoint that holds, and who signed it.
    pub newest: Option<Signed>,
    /// How many checkpoints hold, those from outside included.
    pub checkpoints: u64,
    /// How many annexes are whole.
    pub annexes: u64,
    /// How many annexes were erased, each by an event of the log.
    pub erased: u64,
    /// How many deployments' output is what the event that ends them says.
    pub outputs: u64,
    /// Events that only a newer program can read.
    pub unknown: Option<Unknown>,
    /// Whether it ends in the middle of a write, or before the event that orders an
    /// erasure. Only the part of a log may.
    pub open: bool,
}

/// Events of types that this program does not know. Their hashes are verified as
/// those of all others are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// How many.
    pub events: u64,
    /// The first of them.
    pub first: Position,
    /// Its type.
    pub type_name: String,
}
