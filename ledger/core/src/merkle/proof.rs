//! Proofs of RFC 6962, section 2.1: that a leaf is in a tree, and that a tree
//! begins with another one.

use super::NodeHash;
use super::nodes::{Missing, TileSource, hash_of};
use std::ops::Range;

/// Why a proof does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The sizes or the index contradict each other.
    #[error("there is no such proof: {0}")]
    OutOfRange(String),
    /// It has too many or too few hashes.
    #[error("the proof has {found} hashes where {expected} belong")]
    Length {
        /// How many there should be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// It leads to another root.
    #[error("the proof leads to the root {found}, not {expected}")]
    Root {
        /// The root that was to be shown.
        expected: NodeHash,
        /// Where it leads.
        found: NodeHash,
    },
}

/// The largest power of two below a size of at least 2.
fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

/// Leaves whose hashes are the proof that the leaf `index` is in a tree of the
/// size: PATH of RFC 6962, from the leaf to the root. Empty if it is not in it.
pub(super) fn inclusion_ranges(index: u64, size: u64) -> Vec<Range<u64>> {
    let mut ranges = Vec::new();
    let mut tree = 0..size;
    while index < size && tree.end - tree.start > 1 {
        let middle = tree.start + split(tree.end - tree.start);
        let (inside, beside) = if index < middle {
            (tree.start..middle, middle..tree.end)
        } else {
            (middle..tree.end, tree.start..middle)
        };
        ranges.push(beside);
        tree = inside;
    }
    ranges.reverse();
    ranges
}

/// Leaves whose hashes are the proof that a tree of `new` leaves begins with one
/// of `old`: PROOF of RFC 6962. Empty if there is nothing to prove.
pub(super) fn consistency_ranges(old: u64, new: u64) -> Vec<Range<u64>> {
    let mut ranges = Vec::new();
    if old == 0 || old >= new {
        return ranges;
    }
    let mut tree = 0..new;
    while tree.end != old {
        let middle = tree.start + split(tree.end - tree.start);
        if old <= middle {
            ranges.push(middle..tree.end);
            tree.end = middle;
        } else {
            ranges.push(tree.start..middle);
            tree.start = middle;
        }
    }
    // The old tree's own root is known to who asks.
    if tree.start != 0 {
        ranges.push(tree);
    }
    ranges.reverse();
    ranges
}

/// Returns the proof that the leaf `index` is in the tree of the size.
pub fn prove_inclusion(
    tiles: &TileSource,
    index: u64,
    size: u64,
) -> Result<Vec<NodeHash>, Missing> {
    inclusion_ranges(index, size).into_iter().map(|range| hash_of(tiles, range)).collect()
}

/// Returns the proof that the tree of `new` leaves begins with the one of `old`.
pub fn prove_consistency(tiles: &TileSource, old: u64, new: u64) -> Result<Vec<NodeHash>, Missing> {
    consistency_ranges(old, new).into_iter().map(|range| hash_of(tiles, range)).collect()
}

/// Checks that `leaf` is the leaf `index` of the tree with the size and root.
pub fn verify_inclusion(
    leaf: NodeHash,
    index: u64,
    size: u64,
    root: NodeHash,
    proof: &[NodeHash],
) -> Result<(), ProofError> {
    if index >= size {
        let what = format!("the leaf {index} in a tree of {size}");
        return Err(ProofError::OutOfRange(what));
    }
    let ranges = inclusion_ranges(index, size);
    check_length(ranges.len(), proof)?;
    let mut hash = leaf;
    for (range, other) in ranges.into_iter().zip(proof) {
        hash = if range.start > index {
            NodeHash::node(hash, *other)
        } else {
            NodeHash::node(*other, hash)
        };
    }
    check_root(root, hash)
}

/// Checks that the tree of `new` leaves with `new_root` begins with the one of
/// `old` leaves with `old_root`.
pub fn verify_consistency(
    old: u64,
    old_root: NodeHash,
    new: u64,
    new_root: NodeHash,
    proof: &[NodeHash],
) -> Result<(), ProofError> {
    if old > new {
        return Err(ProofError::OutOfRange(format!(
            "a tree of {new} that begins with one of {old}"
        )));
    }
    let ranges = consistency_ranges(old, new);
    check_length(ranges.len(), proof)?;
    if old == new {
        return check_root(old_root, new_root);
    }
    if old == 0 {
        // Every tree begins with nothing.
        return check_root(old_root, NodeHash::of_nothing());
    }
    // The innermost subtree ends where the old tree ends. If it is the whole old
    // tree, its hash is known and not in the proof.
    let whole = ranges.first().is_none_or(|range| range.end != old);
    let (mut old_hash, rest) = match (whole, proof.split_first()) {
        (false, Some((seed, rest))) => (*seed, rest),
        _ => (old_root, proof),
    };
    let mut new_hash = old_hash;
    let skipped = usize::from(!whole);
    for (range, other) in ranges.into_iter().skip(skipped).zip(rest) {
        if range.start >= old {
            new_hash = NodeHash::node(new_hash, *other);
        } else {
            old_hash = NodeHash::node(*other, old_hash);
            new_hash = NodeHash::node(*other, new_hash);
        }
    }
    check_root(old_root, old_hash)?;
    check_root(new_root, new_hash)
}

fn check_length(expected: usize, proof: &[NodeHash]) -> Result<(), ProofError> {
    let found = proof.len();
    if found == expected { Ok(()) } else { Err(ProofError::Length { expected, found }) }
}

fn check_root(expected: NodeHash, found: NodeHash) -> Result<(), ProofError> {
    if found == expected { Ok(()) } else { Err(ProofError::Root { expected, found }) }
}
