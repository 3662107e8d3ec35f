//! The tree, held against RFC 6962's own vectors and another implementation.

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ledger_core::merkle::*;
use proptest::prelude::*;
use sha2::Sha256;

/// The entries and roots of Certificate Transparency's reference implementation.
const ENTRIES: [&str; 8] = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
];
const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

fn hex(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).expect("it is there")
}

/// Entries that differ.
fn entry(n: u64) -> Vec<u8> {
    format!("entry {n}").into_bytes()
}

/// A tree of so many entries, every tile of it, and the same in the other implementation.
struct Both {
    tree: Tree,
    tiles: TileSource,
    other: MemoryBackedTree<Sha256, Vec<u8>>,
}

fn grown(size: u64) -> Both {
    let (mut tree, mut tiles, mut other) =
        (Tree::default(), TileSource::new(), MemoryBackedTree::new());
    for n in 0..size {
        tree.push(NodeHash::leaf(&entry(n)), &mut |tile| {
            assert_eq!(tile.hashes.len(), TILE_WIDTH);
            assert!(tiles.insert(tile.id, tile).is_none(), "a tile became full twice");
        });
        other.push(entry(n));
    }
    tiles.extend((0..=TileId::LEVEL_MAX).filter_map(|level| tree.edge(level)).map(|t| (t.id, t)));
    for (id, tile) in &tiles {
        assert_eq!(tile.hashes.len(), id.width_at(size), "{id:?}");
        assert_eq!(Tile::from_bytes(*id, &tile.bytes()).as_ref(), Some(tile));
    }
    Both { tree, tiles, other }
}

fn digests(hashes: &[NodeHash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

#[test]
fn the_roots_are_those_of_rfc_6962() {
    let mut tree = Tree::default();
    assert_eq!(tree.root().0.to_vec(), hex(ROOTS[0]));
    for (entry, root) in ENTRIES.iter().zip(&ROOTS[1..]) {
        tree.push(NodeHash::leaf(&hex(entry)), &mut |_| panic!("no tile is full yet"));
        assert_eq!(tree.root().0.to_vec(), hex(root));
    }
}

/// Sizes around every border: of a power of two, of a tile, of a tile of tiles.
const SIZES: [u64; 14] = [0, 1, 2, 3, 7, 8, 255, 256, 257, 511, 513, 65_535, 65_536, 65_793];

#[test]
fn the_root_is_the_same_from_the_edge_from_the_tiles_and_elsewhere() {
    for size in SIZES {
        let Both { tree, tiles, other } = grown(size);
        assert_eq!(tree.size(), size);
        assert_eq!(root_at(&tiles, size), Ok(tree.root()), "{size}");
        assert_eq!(other.root().as_bytes().as_slice(), tree.root().0, "{size}");
        let needed = tiles_for_root(size);
        let only: TileSource = tiles
            .iter()
            .filter(|(id, _)| needed.contains(id))
            .map(|(i, t)| (*i, t.clone()))
            .collect();
        assert_eq!(root_at(&only, size), Ok(tree.root()), "{size}: a tile was not named");
        let edge = (0..Tree::levels_of(size))
            .map(|level| tree.edge(level as u8).map_or(Vec::new(), |tile| tile.hashes))
            .collect();
        assert_eq!(Tree::from_edge(size, edge).map(|t| t.root()), Ok(tree.root()));
    }
    assert!(Tree::from_edge(3, vec![vec![NodeHash([0; 32]); 2]]).is_err());
}

#[test]
fn tiles_that_are_no_tiles_are_refused() {
    let id = TileId { level: 0, index: 0 };
    for length in [0, 31, 33, 257 * 32] {
        assert_eq!(Tile::from_bytes(id, &vec![0; length]), None, "{length} bytes");
    }
    let Both { mut tiles, .. } = grown(300);
    tiles.remove(&TileId { level: 0, index: 0 });
    assert!(prove_inclusion(&tiles, 3, 300).is_err());
}

/// What is checked of one pair of sizes and one leaf.
fn check(both: &Both, index: u64, old: u64) {
    let size = both.tree.size();
    let root = both.tree.root();
    let proof = prove_inclusion(&both.tiles, index, size).expect("it is there");
    assert_eq!(digests(&proof), both.other.prove_inclusion(index as usize).as_bytes());
    let leaf = NodeHash::leaf(&entry(index));
    assert_eq!(verify_inclusion(leaf, index, size, root, &proof), Ok(()));
    assert!(verify_inclusion(NodeHash::leaf(b"x"), index, size, root, &proof).is_err());
    assert!(verify_inclusion(leaf, index, size, NodeHash([0; 32]), &proof).is_err());
    assert!(verify_inclusion(leaf, size, size, root, &proof).is_err());

    let old_root = root_at(&both.tiles, old).expect("it is there");
    let proof = prove_consistency(&both.tiles, old, size).expect("it is there");
    if old > 0 && old < size {
        let theirs = both.other.prove_consistency((size - old) as usize);
        assert_eq!(digests(&proof), theirs.as_bytes(), "{old} to {size}");
    }
    assert_eq!(verify_consistency(old, old_root, size, root, &proof), Ok(()), "{old} to {size}");
    let wrong = NodeHash([0; 32]);
    assert!(verify_consistency(old, wrong, size, root, &proof).is_err());
    if old > 0 {
        assert!(verify_consistency(old, old_root, size, wrong, &proof).is_err());
    }
    assert!(verify_consistency(size + 1, old_root, size, root, &proof).is_err());
    for idx in 0..proof.len() {
        let mut bent = proof.clone();
        bent[idx].0[7] ^= 1;
        assert!(verify_consistency(old, old_root, size, root, &bent).is_err());
        let mut short = proof.clone();
        short.remove(idx);
        assert!(verify_consistency(old, old_root, size, root, &short).is_err());
    }
}

#[test]
fn every_proof_of_small_trees_is_that_of_the_other_implementation() {
    for size in 1..=40 {
        let both = grown(size);
        for n in 0..size {
            check(&both, n, n);
            check(&both, n, size - n);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn proofs_of_large_trees_hold_and_are_those_of_the_other_implementation(
        size in 1_u64..5_000, index in any::<prop::sample::Index>(), old in any::<prop::sample::Index>(),
    ) {
        let both = grown(size);
        check(&both, index.index(size as usize) as u64, old.index(size as usize + 1) as u64);
    }
}
