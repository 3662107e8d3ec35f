//! Hashes of the tree between its tiles: which tiles they need, and what they are.

use super::proof::{consistency_ranges, inclusion_ranges};
use super::tile::{TILE_WIDTH, Tile, TileId};
use super::{NodeHash, root_of};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Tiles by their id.
pub type TileSource = BTreeMap<TileId, Tile>;

/// A tile that is needed was not handed in, or has too few hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the tile {index} of level {level} is missing or too short", index = .0.index, level = .0.level)]
pub struct Missing(pub TileId);

/// A complete subtree: 2^height leaves, the n-th such one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Subtree {
    height: u32,
    index: u64,
}

impl Subtree {
    /// Where its hashes stand: in which tile, and at which places of it.
    fn place(self) -> (TileId, Range<usize>) {
        let level = (self.height / 8) as u8;
        let n_hashes = 1_u64 << (self.height % 8);
        let first = self.index * n_hashes;
        let width = TILE_WIDTH as u64;
        let start = (first % width) as usize;
        (TileId { level, index: first / width }, start..start + n_hashes as usize)
    }
}

/// Cuts leaves into the largest complete subtrees, from left to right.
///
/// `leaves` must begin at a multiple of the largest power of two in it, as the
/// ranges of proofs and roots do.
fn subtrees(leaves: Range<u64>) -> Vec<Subtree> {
    let mut cut = Vec::new();
    let mut start = leaves.start;
    while start < leaves.end {
        let height = (leaves.end - start).ilog2();
        cut.push(Subtree { height, index: start >> height });
        start += 1 << height;
    }
    cut
}

/// Returns the hash over leaves, as RFC 6962 hashes them.
pub(super) fn hash_of(tiles: &TileSource, leaves: Range<u64>) -> Result<NodeHash, Missing> {
    let mut hash: Option<NodeHash> = None;
    // From the right: each complete subtree stands to the left of what is right of it.
    for subtree in subtrees(leaves).into_iter().rev() {
        let (id, places) = subtree.place();
        let hashes = tiles.get(&id).and_then(|tile| tile.hashes.get(places));
        let left = hashes.and_then(root_of).ok_or(Missing(id))?;
        hash = Some(hash.map_or(left, |right| NodeHash::node(left, right)));
    }
    Ok(hash.unwrap_or_else(NodeHash::of_nothing))
}

/// Returns the root at a size.
pub fn root_at(tiles: &TileSource, size: u64) -> Result<NodeHash, Missing> {
    hash_of(tiles, 0..size)
}

fn tiles_for(ranges: impl IntoIterator<Item = Range<u64>>) -> BTreeSet<TileId> {
    ranges.into_iter().flat_map(subtrees).map(|subtree| subtree.place().0).collect()
}

/// Returns the tiles that [`root_at`] needs.
pub fn tiles_for_root(size: u64) -> BTreeSet<TileId> {
    tiles_for(std::iter::once(0..size))
}

/// Returns the tiles that [`super::prove_inclusion`] needs.
pub fn tiles_for_inclusion(index: u64, size: u64) -> BTreeSet<TileId> {
    tiles_for(inclusion_ranges(index, size))
}

/// Returns the tiles that [`super::prove_consistency`] needs.
pub fn tiles_for_consistency(old: u64, new: u64) -> BTreeSet<TileId> {
    tiles_for(consistency_ranges(old, new))
}
