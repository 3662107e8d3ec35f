//! A history to show: as many leaves as a test wants, signed.

use api_wire::agent::FromServer;
use ed25519_dalek::SigningKey;
use ledger_core::checkpoint::{Checkpoint, NoteKey, sign};
use ledger_core::key::PublicKey;
use ledger_core::merkle::{NodeHash, TileSource, Tree, prove_consistency, root_at};

/// The leaves of the log, and how it is shown.
pub struct History {
    pub leaves: Vec<NodeHash>,
    /// Whether no checkpoint is shown at all.
    pub hidden: bool,
    /// The name that it is signed as.
    pub origin: &'static str,
    /// The seed of the key that signs, and of the one that is named.
    pub keys: [u8; 2],
}

impl Default for History {
    fn default() -> Self {
        Self { leaves: leaves(1, 5), hidden: false, origin: "ledger.example.org/a", keys: [1, 1] }
    }
}

/// Leaves of one history; another seed makes another one.
pub fn leaves(seed: u8, n: u8) -> Vec<NodeHash> {
    (0..n).map(|n| NodeHash::leaf(&[seed, n])).collect()
}

impl History {
    pub fn show(&self, size: Option<u64>) -> FromServer {
        let (mut tree, mut tiles) = (Tree::default(), TileSource::new());
        for leaf in &self.leaves {
            tree.push(*leaf, &mut |_| panic!("a small tree has no full tile"));
        }
        tiles.extend(tree.edge(0).map(|tile| (tile.id, tile)));
        let to = tree.size();
        let proof = size.filter(|from| *from <= to).map(|from| prove_consistency(&tiles, from, to));
        let proof = proof.map_or(Vec::new(), |proof| proof.expect("every hash is there"));
        let origin = self.origin.parse().expect("an origin");
        let root = root_at(&tiles, to).expect("every hash is there");
        let [signing, named] = self.keys.map(|seed| SigningKey::from_bytes(&[seed; 32]));
        let note = sign(&Checkpoint { origin, size: to, root }, &signing);
        let key = PublicKey::from_bytes(named.verifying_key().to_bytes());
        let key = NoteKey { name: self.origin.parse().expect("an origin"), key };
        FromServer::History {
            checkpoint: (!self.hidden).then(|| note.to_string()),
            proof,
            keys: vec![key.to_string()],
        }
    }
}
