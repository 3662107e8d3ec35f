//! The right edge of the tree: all that is needed to let it grow.

use super::tile::{TILE_WIDTH, Tile, TileId};
use super::{NodeHash, root_of};

/// A tree that grows by leaves. It holds the hashes of the tiles that are not
/// full yet, so its size is bounded: under 256 hashes a level.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    size: u64,
    /// Of each level, the hashes of its last, not yet full tile.
    levels: Vec<Vec<NodeHash>>,
}

/// Hashes that cannot be the right edge of a tree of that size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a tree of {size} leaves has {expected} hashes in the last tile of level {level}, not {found}"
)]
pub struct InvalidEdge {
    size: u64,
    level: usize,
    expected: usize,
    found: usize,
}

impl Tree {
    /// Makes a tree from its size and the hashes of the last tile of each level,
    /// the lowest first.
    pub fn from_edge(size: u64, mut levels: Vec<Vec<NodeHash>>) -> Result<Self, InvalidEdge> {
        let n_levels = levels.len().max(Self::levels_of(size));
        for level in 0..n_levels {
            let expected = Self::edge_width(size, level);
            let found = levels.get(level).map_or(0, Vec::len);
            if found != expected {
                return Err(InvalidEdge { size, level, expected, found });
            }
        }
        levels.resize(Self::levels_of(size), Vec::new());
        Ok(Self { size, levels })
    }

    /// Returns how many levels of tiles a tree of the size has.
    pub fn levels_of(size: u64) -> usize {
        (64 - size.leading_zeros() as usize).div_ceil(8)
    }

    /// Returns how many hashes the last, not full tile of a level has: 0 to 255.
    pub fn edge_width(size: u64, level: usize) -> usize {
        let shifted = u32::try_from(8 * level).ok().and_then(|bits| size.checked_shr(bits));
        shifted.map_or(0, |hashes| (hashes % TILE_WIDTH as u64) as usize)
    }

    /// Returns how many leaves it has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf, and hands every tile that it makes full to `full`, the lowest first.
    pub fn push(&mut self, leaf: NodeHash, full: &mut impl FnMut(Tile)) {
        let mut hash = leaf;
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let hashes = &mut self.levels[level];
            hashes.push(hash);
            if hashes.len() < TILE_WIDTH {
                break;
            }
            let hashes = std::mem::take(hashes);
            let Some(root) = root_of(&hashes) else { break };
            hash = root;
            let index = self.size >> (8 * (level + 1));
            let level = u8::try_from(level).unwrap_or(u8::MAX);
            full(Tile { id: TileId { level, index }, hashes });
        }
        self.size += 1;
    }

    /// Returns the root.
    pub fn root(&self) -> NodeHash {
        let mut root: Option<NodeHash> = None;
        for hashes in &self.levels {
            // What the levels below amount to stands behind the hashes of this one.
            let hashes: Vec<NodeHash> = hashes.iter().copied().chain(root).collect();
            root = root_of(&hashes);
        }
        root.unwrap_or_else(NodeHash::of_nothing)
    }

    /// Returns the last tile of a level, if it has hashes and is not full.
    pub fn edge(&self, level: u8) -> Option<Tile> {
        let hashes = self.levels.get(usize::from(level))?;
        let index = self.size.checked_shr(8 * (u32::from(level) + 1)).unwrap_or(0);
        let id = TileId { level, index };
        (!hashes.is_empty()).then(|| Tile { id, hashes: hashes.clone() })
    }
}
