//! The Merkle tree over the log, as RFC 6962 hashes it, cut into the tiles of
//! C2SP tlog-tiles.
//!
//! The leaf of the event at position `p` has the index `p - 1`. What is stored of
//! the tree are its full tiles: 256 hashes of one level each. Everything else (the
//! hashes between, the root at any size, proofs) is computed from them and from
//! the few hashes at the right edge, which [`Tree`] holds.
//!
//! Nothing here reads a database: functions like [`tiles_for_root`] say which tiles
//! an answer needs, and whoever has them hands them in.

mod nodes;
mod path;
mod proof;
mod tile;
mod tree;

pub use nodes::{
    Missing, TileSource, root_at, tiles_for_consistency, tiles_for_inclusion, tiles_for_root,
};
pub use path::{InvalidTilePath, TilePath};
pub use proof::{
    ProofError, prove_consistency, prove_inclusion, verify_consistency, verify_inclusion,
};
pub use tile::{TILE_WIDTH, Tile, TileId};
pub use tree::Tree;

use crate::text::as_text;
use data_encoding::BASE64;
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// One hash of the tree: SHA-256, written as base 64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeHash(pub [u8; 32]);

as_text!(NodeHash);

/// Text that is no hash.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no hash: it must be base 64 of 32 bytes")]
pub struct InvalidHash(String);

impl NodeHash {
    /// The root of the empty tree: the hash of nothing.
    pub fn of_nothing() -> Self {
        Self(Sha256::digest([]).into())
    }

    /// Returns the hash of a leaf: `SHA-256(0x00 ‖ entry)`.
    pub fn leaf(entry: &[u8]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update([0]);
        hasher.update(entry);
        Self(hasher.finalize().into())
    }

    /// Returns the hash over two others: `SHA-256(0x01 ‖ left ‖ right)`.
    pub fn node(left: Self, right: Self) -> Self {
        let mut bytes = [1; 65];
        bytes[1..33].copy_from_slice(&left.0);
        bytes[33..].copy_from_slice(&right.0);
        Self(Sha256::digest(bytes).into())
    }
}

/// Returns the root over hashes of one level, in their order; `None` for none.
///
/// The last one may stand for an incomplete subtree: RFC 6962 cuts at the largest
/// power of two below the size, which never cuts through the others.
pub fn root_of(hashes: &[NodeHash]) -> Option<NodeHash> {
    match hashes {
        [] => None,
        [hash] => Some(*hash),
        more => {
            let half = more.len().next_power_of_two() / 2;
            let (left, right) = more.split_at(half);
            Some(NodeHash::node(root_of(left)?, root_of(right)?))
        }
    }
}

impl fmt::Display for NodeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(&self.0))
    }
}

impl fmt::Debug for NodeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for NodeHash {
    type Err = InvalidHash;
    fn from_str(text: &str) -> Result<Self, InvalidHash> {
        let error = || InvalidHash(text.chars().take(80).collect());
        let bytes = BASE64.decode(text.as_bytes()).map_err(|_| error())?;
        bytes.try_into().map(Self).map_err(|_| error())
    }
}
