//! `ledger verify --server`: what can be verified from outside, with nothing but the
//! public key.
//!
//! The hashes of all events are read, and everything above them is computed. With a
//! token that reads the whole ledger, the events' envelopes are held to them, too.

use super::Failure;
use crate::connection::USER_AGENT;
use crate::failure::Exit;
use crate::screen::doing;
use api_client::http::Mirror;
use api_wire::token::Secret;
use ledger_core::checkpoint::{Checkpoint, Note};
use ledger_core::merkle::{NodeHash, TILE_WIDTH, Tile, TileId, TilePath, Tree};
use ledger_core::verify::Trust;

/// Tiles that are asked for at once.
const TILES_AT_ONCE: u64 = 16;

/// A server that is looked at from outside.
struct Outside {
    mirror: Mirror,
    entries: bool,
    /// What must hold, the oldest first.
    checkpoints: Vec<Checkpoint>,
}

fn fault(what: impl Into<String>) -> Failure {
    Failure::failed(what).exit_as(Exit::Fault)
}

/// Verifies what the server shows, and says what it is.
pub(super) async fn verify(
    server: &str,
    secret: Option<Secret>,
    trust: &Trust,
) -> Result<Vec<String>, Failure> {
    let entries = secret.is_some();
    let mirror =
        Mirror::new(server, USER_AGENT, secret).map_err(|e| Failure::usage(e.to_string()))?;
    let newest = newest(&mirror, trust).await?;
    let (size, root) = (newest.checkpoint().size, newest.checkpoint().root);
    let mut checkpoints = Vec::new();
    for kept in &trust.checkpoints {
        let kept = held_to(kept, newest.checkpoint(), trust)?;
        checkpoints.push(kept);
    }
    checkpoints.push(newest.checkpoint().clone());
    checkpoints.sort_by_key(|checkpoint| checkpoint.size);
    let n_checkpoints = checkpoints.len();
    let outside = Outside { mirror, entries, checkpoints };
    outside.verify(size).await?;
    let what = if entries { "hashes and envelopes of the events" } else { "hashes of the events" };
    let signer = trust.keys.iter().find(|key| newest.is_signed_by(key));
    let signer = signer.map(|key| format!("{}+{}", key.name, key.id())).unwrap_or_default();
    Ok(vec![
        format!("{size} events, root {root}: nothing is wrong"),
        format!("checkpoints that hold: {n_checkpoints}, the newest over {size} by {signer}"),
        format!("seen from outside: the {what}, the tree over them and its checkpoint"),
    ])
}

/// Reads the newest checkpoint, which one of the keys must have signed.
async fn newest(mirror: &Mirror, trust: &Trust) -> Result<Note, Failure> {
    let bytes = mirror.file("/checkpoint").await?.ok_or_else(|| {
        Failure::failed(format!("{} shows no checkpoint yet", mirror.address()))
            .hint("a server signs the first within a second of its first event; try again")
    })?;
    let note = String::from_utf8(bytes).map_err(|_| fault("the checkpoint is no text"))?;
    let note: Note = note.parse().map_err(|error| fault(format!("the checkpoint: {error}")))?;
    is_trusted(&note, trust, "the newest checkpoint")?;
    Ok(note)
}

fn is_trusted(note: &Note, trust: &Trust, what: &str) -> Result<(), Failure> {
    let Checkpoint { origin, size, .. } = note.checkpoint();
    if trust.keys.iter().any(|key| key.name == *origin && note.is_signed_by(key)) {
        return Ok(());
    }
    Err(fault(format!(
        "{what}, over {size} events of {origin}, is signed by none of the keys given; \
         of several servers on one database each signs with a key of its own: give all of them"
    )))
}

/// Makes sure that a checkpoint from elsewhere can hold at all.
fn held_to(kept: &Note, newest: &Checkpoint, trust: &Trust) -> Result<Checkpoint, Failure> {
    is_trusted(kept, trust, "the checkpoint that was kept")?;
    let kept = kept.checkpoint();
    if kept.origin != newest.origin {
        let (was, is) = (&kept.origin, &newest.origin);
        return Err(fault(format!(
            "the checkpoint that was kept is of {was}, and the log is {is}"
        )));
    }
    if kept.size > newest.size {
        let (had, has) = (kept.size, newest.size);
        return Err(fault(format!(
            "the log has {has} events, and a checkpoint that was kept has {had}: its end was removed"
        )));
    }
    Ok(kept.clone())
}

impl Outside {
    async fn verify(&self, size: u64) -> Result<(), Failure> {
        let mut tree = Tree::default();
        self.hold(&tree)?;
        let n_tiles = size.div_ceil(TILE_WIDTH as u64);
        let mut index = 0;
        while index < n_tiles {
            let end = n_tiles.min(index + TILES_AT_ONCE);
            let leaves = self.leaves(index..end, size).await?;
            let mut full = Vec::new();
            for leaf in leaves {
                tree.push(leaf, &mut |tile| full.push(tile));
                self.hold(&tree)?;
            }
            self.compare(full).await?;
            doing(format!("verifying: {} of {size} events", tree.size()));
            index = end;
        }
        Ok(())
    }

    /// Holds the tree to the checkpoints of its size.
    fn hold(&self, tree: &Tree) -> Result<(), Failure> {
        for checkpoint in self.checkpoints.iter().filter(|c| c.size == tree.size()) {
            let (size, found, signed) = (tree.size(), tree.root(), checkpoint.root);
            if found != signed {
                return Err(fault(format!(
                    "the root over the first {size} events is {found}, and a signed checkpoint says {signed}: history was rewritten"
                )));
            }
        }
        Ok(())
    }

    /// Reads the hashes of events, and holds their envelopes to them.
    async fn leaves(
        &self,
        indexes: std::ops::Range<u64>,
        size: u64,
    ) -> Result<Vec<NodeHash>, Failure> {
        let path = |index| TilePath { index, width: TileId { level: 0, index }.width_at(size) };
        let paths: Vec<TilePath> = indexes.map(path).collect();
        let of = |part: &str| paths.iter().map(|path| format!("/tile/{part}/{path}")).collect();
        let tiles: Vec<String> = of("0");
        let mut leaves = Vec::new();
        for (path, bytes) in paths.iter().zip(self.mirror.files(&tiles).await?) {
            let tile = read(TileId { level: 0, index: path.index }, path.width, bytes)?;
            leaves.push(tile.hashes);
        }
        if self.entries {
            let bundles: Vec<String> = of("entries");
            for ((path, bytes), leaves) in
                paths.iter().zip(self.mirror.files(&bundles).await?).zip(&leaves)
            {
                check_entries(path.index, &bytes.unwrap_or_default(), leaves)?;
            }
        }
        Ok(leaves.concat())
    }

    /// Holds the tiles that the server shows above the lowest level to what was computed.
    async fn compare(&self, full: Vec<Tile>) -> Result<(), Failure> {
        let above: Vec<Tile> = full.into_iter().filter(|tile| tile.id.level > 0).collect();
        let path = |tile: &Tile| {
            let path = TilePath { index: tile.id.index, width: TILE_WIDTH };
            format!("/tile/{}/{path}", tile.id.level)
        };
        let paths: Vec<String> = above.iter().map(path).collect();
        for (tile, bytes) in above.iter().zip(self.mirror.files(&paths).await?) {
            if read(tile.id, TILE_WIDTH, bytes)? != *tile {
                return Err(fault(format!(
                    "the tile {} of level {} is not made of what stands below it",
                    tile.id.index, tile.id.level
                )));
            }
        }
        Ok(())
    }
}

fn read(id: TileId, width: usize, bytes: Option<Vec<u8>>) -> Result<Tile, Failure> {
    let tile = bytes.and_then(|bytes| Tile::from_bytes(id, &bytes));
    tile.filter(|tile| tile.hashes.len() == width).ok_or_else(|| {
        let TileId { level, index } = id;
        fault(format!("the tile {index} of level {level} is missing, or has not {width} hashes"))
    })
}

/// Holds a bundle of entries to the hashes of its tile.
fn check_entries(index: u64, bundle: &[u8], leaves: &[NodeHash]) -> Result<(), Failure> {
    let mut rest = bundle;
    for (n, leaf) in (1..).zip(leaves) {
        let position = index * TILE_WIDTH as u64 + n;
        let entry = rest.split_first_chunk::<2>().and_then(|(length, more)| {
            more.split_at_checked(usize::from(u16::from_be_bytes(*length)))
        });
        let (entry, more) =
            entry.ok_or_else(|| fault(format!("the entry of position {position} is missing")))?;
        if NodeHash::leaf(entry) != *leaf {
            return Err(fault(format!(
                "position {position}: the entry does not have the hash that stands in the tree"
            )));
        }
        rest = more;
    }
    if rest.is_empty() {
        return Ok(());
    }
    Err(fault(format!("the bundle of entries {index} goes on where it should end")))
}
