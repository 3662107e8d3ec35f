//! The tree as it is stored: full tiles in the database, and the rest computed.

use crate::backend::Read;
use crate::read::ReadError;
use ledger_core::Position;
use ledger_core::limits::PAGE_RECORDS_MAX;
use ledger_core::merkle::{NodeHash, TILE_WIDTH, Tile, TileId, TileSource, Tree, root_of};
use std::collections::BTreeSet;

/// Makes the tree over the first `size` events from its tiles, and from the
/// events of the last, not yet full one.
pub(crate) async fn edge(reader: &dyn Read, size: u64) -> Result<Tree, ReadError> {
    let mut levels = vec![leaves(reader, size).await?];
    for level in 1..Tree::levels_of(size) {
        let first = (size >> (8 * level)) / TILE_WIDTH as u64 * TILE_WIDTH as u64;
        let mut hashes = Vec::new();
        for index in (first..).take(Tree::edge_width(size, level)) {
            let below = u8::try_from(level - 1).unwrap_or(u8::MAX);
            let tile = full(reader, TileId { level: below, index }).await?;
            hashes.extend(root_of(&tile.hashes));
        }
        levels.push(hashes);
    }
    let id = TileId { level: 0, index: size / TILE_WIDTH as u64 };
    Tree::from_edge(size, levels).map_err(|error| ReadError::Tile { id, what: error.to_string() })
}

/// Hashes the events behind the last full tile.
async fn leaves(reader: &dyn Read, size: u64) -> Result<Vec<NodeHash>, ReadError> {
    let first = Position(size - size % TILE_WIDTH as u64).next();
    let mut hashes = Vec::new();
    let mut next = first;
    while next.0 <= size {
        let limit = usize::try_from(size - next.0 + 1).unwrap_or(PAGE_RECORDS_MAX);
        let records = reader.records(next, limit.min(PAGE_RECORDS_MAX), false).await?;
        let Some(last) = records.last() else {
            return Err(ReadError::Gap { expected: next, found: Position(size) });
        };
        next = last.position.next();
        hashes.extend(records.iter().map(|record| record.leaf_hash()));
    }
    Ok(hashes)
}

/// Reads tiles that a question about a tree needs.
///
/// `tree` must be as large as the largest size of the question: its edge is where
/// those come from that are not full.
pub(crate) async fn tiles(
    reader: &dyn Read,
    tree: &Tree,
    ids: &BTreeSet<TileId>,
) -> Result<TileSource, ReadError> {
    let mut tiles = TileSource::new();
    for id in ids {
        let edge = tree.edge(id.level).filter(|edge| edge.id == *id);
        let tile = match edge {
            Some(edge) => edge,
            None => full(reader, *id).await?,
        };
        tiles.insert(*id, tile);
    }
    Ok(tiles)
}

async fn full(reader: &dyn Read, id: TileId) -> Result<Tile, ReadError> {
    let missing = || ReadError::Tile { id, what: "it is missing".to_owned() };
    reader.tile(id).await?.ok_or_else(missing)
}
