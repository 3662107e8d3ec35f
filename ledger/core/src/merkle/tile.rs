//! Tiles: 256 hashes of one level, the unit in which the tree is stored and served.

use super::NodeHash;

/// Hashes of a full tile.
pub const TILE_WIDTH: usize = 256;

/// Which tile: its level (each is 8 levels of the tree) and its place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    /// 0 has the leaves; a tile of level `n + 1` has the roots of 256 tiles of level `n`.
    pub level: u8,
    /// From 0.
    pub index: u64,
}

/// The hashes of a tile: 256, or fewer at the right edge of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Which.
    pub id: TileId,
    /// What it has, in their order.
    pub hashes: Vec<NodeHash>,
}

impl TileId {
    /// The highest level of a tile in a tree of at most 2^64 leaves.
    pub const LEVEL_MAX: u8 = 7;

    /// Returns how many hashes the tile has in a tree of the size: 0 to 256.
    pub fn width_at(self, size: u64) -> usize {
        let hashes = size.checked_shr(8 * u32::from(self.level)).unwrap_or(0);
        let before = self.index.saturating_mul(TILE_WIDTH as u64);
        usize::try_from(hashes.saturating_sub(before)).unwrap_or(usize::MAX).min(TILE_WIDTH)
    }
}

impl Tile {
    /// Returns the bytes that are stored and served: the hashes, one after the other.
    pub fn bytes(&self) -> Vec<u8> {
        self.hashes.iter().flat_map(|hash| hash.0).collect()
    }

    /// Reads the bytes. `None` if they are no whole number of 1 to 256 hashes.
    pub fn from_bytes(id: TileId, bytes: &[u8]) -> Option<Self> {
        let (hashes, rest) = bytes.as_chunks::<32>();
        let whole = rest.is_empty() && (1..=TILE_WIDTH).contains(&hashes.len());
        whole.then(|| Self { id, hashes: hashes.iter().map(|hash| NodeHash(*hash)).collect() })
    }
}
