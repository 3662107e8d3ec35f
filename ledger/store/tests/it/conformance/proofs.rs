//! The tree over the log, its checkpoints, and erasure.

use crate::support::*;
use ledger_core::checkpoint::Note;
use ledger_core::merkle::*;
use ledger_core::{Position, Record};
use ledger_store::{Log, WriteError};

/// The tree as whoever reads every event computes it.
fn recomputed(records: &[Record]) -> Tree {
    let mut tree = Tree::default();
    records.iter().for_each(|record| tree.push(record.leaf_hash(), &mut |_| {}));
    tree
}

pub(super) async fn the_tree_is_that_of_the_events_also_after_a_restart(place: &Place) {
    let mut old = Tree::default();
    // Full tiles in the middle of a write and at its end, and tiles of one event.
    for n_events in [255, 1, 300, 212, 1] {
        let log = place.open().await;
        assert_eq!(log.tree().await.unwrap(), old, "after a restart");
        write(&log, events((0..n_events).map(|_| one()).collect())).await;
        let records = read_all(&log).await;
        let tree = log.tree().await.unwrap();
        assert_eq!(tree, recomputed(&records));
        check_proofs(&log, &records, &old, &tree).await;
        old = tree;
        log.close().await;
    }
}

/// Proves, from what the log has, that each tree has its events and continues the older one.
async fn check_proofs(log: &Log, records: &[Record], old: &Tree, tree: &Tree) {
    let (size, root) = (tree.size(), tree.root());
    let tiles = log.tiles(tree, &tiles_for_root(size)).await.unwrap();
    assert_eq!(root_at(&tiles, size), Ok(root));
    for index in [0, size / 2, size - 1] {
        let tiles = log.tiles(tree, &tiles_for_inclusion(index, size)).await.unwrap();
        let proof = prove_inclusion(&tiles, index, size).unwrap();
        let leaf = records[index as usize].leaf_hash();
        assert_eq!(verify_inclusion(leaf, index, size, root, &proof), Ok(()));
    }
    let tiles = log.tiles(tree, &tiles_for_consistency(old.size(), size)).await.unwrap();
    let proof = prove_consistency(&tiles, old.size(), size).unwrap();
    assert_eq!(verify_consistency(old.size(), old.root(), size, root, &proof), Ok(()));
}

pub(super) async fn the_newest_checkpoint_is_kept(place: &Place) {
    let log = place.open().await;
    assert_eq!(log.newest_checkpoint().await.unwrap(), None);
    write(&log, one_event()).await;
    let first = signed(&log.tree().await.unwrap());
    write(&log, one_event()).await;
    let second = signed(&log.tree().await.unwrap());
    for note in [&second, &first, &second] {
        log.write_checkpoint(note).await.unwrap();
        let kept: Note = log.newest_checkpoint().await.unwrap().unwrap().parse().unwrap();
        assert_eq!(kept, second, "the older one changes nothing");
    }
    log.close().await;
    let log = place.open().await;
    assert_eq!(log.newest_checkpoint().await.unwrap(), Some(second.to_string()));
}

pub(super) async fn an_erased_annex_is_gone_and_leaves_the_tree_as_it_was(place: &Place) {
    let log = place.open().await;
    write(&log, create_workspace()).await;
    write(&log, connect(1)).await;
    let with_annex = |records: Vec<Record>| {
        records.iter().find(|r| r.annex.is_some()).map(|r| r.position).unwrap()
    };
    let position = with_annex(read_all(&log).await);
    let before = log.tree().await.unwrap();
    write(&log, erase(position.0)).await;
    let records = read_all(&log).await;
    assert_eq!(records[position.0 as usize - 1].annex, None);
    assert!(records[position.0 as usize - 1].annex_digest.is_some());
    assert!(log.annexes(&[position]).await.unwrap().is_empty());
    assert_eq!(recomputed(&records[..before.size() as usize]), before);
    assert_eq!(recomputed(&records), log.tree().await.unwrap());
    let order = records.last().unwrap();
    assert_eq!(order.type_name, "AnnexErased");
    // Once is enough, and what never had one has none to erase.
    for nothing in [position.0, 1, 999] {
        let verdict = log.write(erase(nothing)).await;
        let none = |at: Position| at == Position(nothing);
        assert!(matches!(verdict, Err(WriteError::NoAnnex { position }) if none(position)));
    }
}

pub(super) async fn tiles_fill_at_every_place_of_a_batch(place: &Place) {
    const TILES: u64 = 1 << 16;
    let log = place.open().await;
    let many = |n_events: usize| events((0..n_events).map(|_| one()).collect());
    // The sizes of the requests of a batch, small and large ones, as seen from a full tile.
    let batches: &[&[usize]] = &[
        &[200, 56, 1, 255],
        &[100, 300, 112, 300],
        &[255, 256, 1],
        &[1, 256, 255, 512],
        &[3, 300],
        &[209],
        &[2_000, 3],
        &[500, 500, 300, 500, 500],
    ];
    for batch in batches {
        futures_util::future::join_all(batch.iter().map(|n| write(&log, many(*n)))).await;
        assert_eq!(log.tree().await.unwrap(), recomputed(&read_all(&log).await));
    }
    // A tile of tiles fills in the second request of a batch, whose third is decided by both.
    let n_missing = (TILES - log.head().borrow().0) as usize;
    write(&log, many(n_missing - 300)).await;
    let old = log.tree().await.unwrap();
    let (small, large, command, last) = tokio::join!(
        log.write(many(20)),
        log.write(many(290)),
        log.write(create_workspace()),
        log.write(many(246)),
    );
    assert_eq!(positions(small), (TILES - 299, TILES - 280));
    assert_eq!(positions(large), (TILES - 279, TILES + 10));
    assert_eq!(positions(command), (TILES + 11, TILES + 11));
    assert_eq!(positions(last), (TILES + 12, TILES + 257));
    let (records, tree) = (read_all(&log).await, log.tree().await.unwrap());
    assert_eq!(tree, recomputed(&records));
    check_proofs(&log, &records, &old, &tree).await;
    log.close().await;
    assert_eq!(place.open().await.tree().await.unwrap(), tree);
}
