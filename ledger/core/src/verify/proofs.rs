//! The tree over the events, against the tiles and checkpoints that are stored.

use super::fault::Fault;
use crate::checkpoint::{Checkpoint, Note, NoteKey, Origin};
use crate::ids::Position;
use crate::merkle::{NodeHash, TILE_WIDTH, Tile, TileId, Tree};
use std::collections::VecDeque;

/// What is known from outside of the log.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// The keys that alone may sign. Without any, those count that the log names.
    pub keys: Vec<NoteKey>,
    /// Checkpoints that were kept elsewhere, and must hold.
    pub checkpoints: Vec<Note>,
}

/// A checkpoint that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Over how many events.
    pub size: u64,
    /// The key that signed it.
    pub key: NoteKey,
}

/// The tree so far, and who may sign it.
#[derive(Debug)]
pub(super) struct Proofs {
    trusted: Vec<NoteKey>,
    /// Checkpoints from outside, the smallest last.
    outside: Vec<Note>,
    /// The keys that the log has named so far.
    named: Vec<NoteKey>,
    pub(super) origin: Option<Origin>,
    /// Forks that an operator let happen: where, and what was signed before.
    forks: Vec<(Position, u64, NodeHash)>,
    pub(super) tree: Tree,
    /// Whether the tiles are stored, and so must be told.
    tiles: bool,
    /// The tiles that the newest event made full, and that were not told yet.
    due: VecDeque<Tile>,
    /// The first event whose hash in its tile is another one. The next checkpoint
    /// tells which of the two was changed.
    suspect: Option<(Position, TileId)>,
    /// The first checkpoint with another root. One behind it that holds tells
    /// that the history was forked, and a tile which event was changed.
    broken: Option<Broken>,
    pub(super) newest: Option<Signed>,
    pub(super) held: u64,
}

#[derive(Clone, Debug)]
struct Broken {
    size: u64,
    outside: bool,
    what: String,
}

impl Proofs {
    pub(super) fn new(trust: Trust, tree: Tree, tiles: bool) -> Self {
        let Trust { keys, mut checkpoints } = trust;
        checkpoints.sort_by_key(|note| std::cmp::Reverse(note.checkpoint().size));
        Self {
            trusted: keys,
            outside: checkpoints,
            named: Vec::new(),
            origin: None,
            forks: Vec::new(),
            tree,
            tiles,
            due: VecDeque::new(),
            suspect: None,
            broken: None,
            newest: None,
            held: 0,
        }
    }

    /// Returns what is wrong first: this, or what was seen before and kept back.
    pub(super) fn first(&self, fault: Fault) -> Fault {
        if let Some((position, tile)) = self.suspect {
            return Fault::EventOrTile { position, tile };
        }
        match (&self.broken, fault) {
            // These tell more of the same.
            (_, fault @ (Fault::Fork { .. } | Fault::Event { .. })) => fault,
            (Some(Broken { size, outside, what }), _) => {
                Fault::Checkpoint { size: *size, outside: *outside, what: what.clone() }
            }
            (None, fault) => fault,
        }
    }

    pub(super) fn event(&mut self, leaf: NodeHash) -> Result<(), Fault> {
        self.settle()?;
        let (due, tiles) = (&mut self.due, self.tiles);
        self.tree.push(leaf, &mut |tile| {
            if tiles {
                due.push_back(tile);
            }
        });
        Ok(())
    }

    pub(super) fn key(&mut self, key: NoteKey) {
        self.origin.get_or_insert_with(|| key.name.clone());
        self.named.push(key);
    }

    pub(super) fn fork(&mut self, at: Position, size: u64, root: NodeHash) {
        self.forks.push((at, size, root));
    }

    /// Ends what belongs to the newest event: its tiles must be told by now, and
    /// the checkpoints from outside over it must hold.
    pub(super) fn settle(&mut self) -> Result<(), Fault> {
        if let Some(tile) = self.due.front() {
            return Err(Fault::Tile { id: tile.id, what: "it is missing".to_owned() });
        }
        while let Some(note) = self.outside.pop_if(|n| n.checkpoint().size <= self.tree.size()) {
            self.judge(&note, true)?;
        }
        Ok(())
    }

    pub(super) fn tile(&mut self, id: TileId, stored: Option<&[u8]>) -> Result<(), Fault> {
        let fault = |id, what: &str| Err(Fault::Tile { id, what: what.to_owned() });
        let Some(tile) = self.due.pop_front() else {
            return fault(id, "it is too much: no such tile is full");
        };
        let Some(stored) = stored.filter(|_| tile.id == id) else {
            return fault(tile.id, "it is missing");
        };
        let Some(found) = Tile::from_bytes(id, stored).filter(|t| t.hashes.len() == TILE_WIDTH)
        else {
            return fault(id, "it does not have 256 hashes");
        };
        let Some(at) = found.hashes.iter().zip(&tile.hashes).position(|(a, b)| a != b) else {
            return Ok(());
        };
        if id.level > 0 {
            // Below a changed event every hash is another one.
            return match self.suspect {
                Some(_) => Ok(()),
                None => fault(id, "it was changed: it is not what the tiles below it give"),
            };
        }
        let position = Position(id.index * TILE_WIDTH as u64 + at as u64 + 1);
        if self.broken.as_ref().is_some_and(|broken| position.0 <= broken.size) {
            return Err(Fault::Event { position, tile: id });
        }
        self.suspect.get_or_insert((position, id));
        Ok(())
    }

    /// Takes a stored checkpoint.
    pub(super) fn checkpoint(&mut self, size: u64, text: &str) -> Result<(), Fault> {
        let fault = |what: String| Err(Fault::Checkpoint { size, outside: false, what });
        let note: Note = match text.parse() {
            Ok(note) => note,
            Err(error) => return fault(format!("{error}")),
        };
        if note.to_string() != text {
            return fault("it is not written as a checkpoint is".to_owned());
        }
        if note.checkpoint().size != size {
            let said = note.checkpoint().size;
            return fault(format!("it was changed or moved: it is one over {said}"));
        }
        self.judge(&note, false)
    }

    fn judge(&mut self, note: &Note, outside: bool) -> Result<(), Fault> {
        let Checkpoint { origin, size, root } = note.checkpoint().clone();
        let fault = |what: String| Err(Fault::Checkpoint { size, outside, what });
        let signer = match self.signer(note) {
            Ok(signer) => signer,
            Err(what) => return fault(what),
        };
        if self.origin.as_ref().is_some_and(|known| *known != origin) {
            return fault(format!("it is one of another log, {origin}"));
        }
        let head = Position(self.tree.size());
        if size > self.tree.size() {
            let over = if outside { " that was given" } else { "" };
            let what =
                format!("a checkpoint{over} over {size} events{}", self.accepted(size, root));
            return Err(Fault::Tail { what, head });
        }
        if size < self.tree.size() {
            return fault("what is looked at begins behind it, or it stands twice".to_owned());
        }
        let found = self.tree.root();
        if let Some((position, tile)) = self.suspect.take() {
            return Err(if found == root {
                let what = format!("the hash of position {position} in it was changed");
                Fault::Tile { id: tile, what }
            } else {
                Fault::Event { position, tile }
            });
        }
        if found == root {
            if let Some(broken) = &self.broken {
                let (older, newer) = (broken.size, size);
                return Err(Fault::Fork { older, newer, outside: broken.outside });
            }
            self.held += 1;
            self.newest = Some(Signed { size, key: signer });
        } else if self.broken.is_none() {
            let since = self.newest.as_ref().map_or(0, |signed| signed.size);
            let what = format!(
                "it does not hold: history was rewritten at or before position {size} and after {since}; it is signed for the root {root}, the events have {found}{}",
                self.accepted(size, root)
            );
            self.broken = Some(Broken { size, outside, what });
        }
        Ok(())
    }

    /// Says whether the log itself tells that this was signed on a branch that it left.
    fn accepted(&self, size: u64, root: NodeHash) -> String {
        let accepted = self.forks.iter().find(|(_, s, r)| (*s, *r) == (size, root));
        accepted.map_or_else(String::new, |(at, ..)| {
            format!(" (position {at} records that an operator gave that history up)")
        })
    }

    /// Returns the key that signed the note, or why none that counts did.
    fn signer(&self, note: &Note) -> Result<NoteKey, String> {
        let (keys, whose) = if self.trusted.is_empty() {
            (&self.named, "the log has named up to there")
        } else {
            (&self.trusted, "was given")
        };
        if let Some(key) = keys.iter().find(|key| note.is_signed_by(key)) {
            return Ok(key.clone());
        }
        let under = |s: &crate::checkpoint::NoteSignature| {
            keys.iter().any(|key| key.id() == s.id && key.name.as_str() == s.name)
        };
        if note.signatures().iter().any(under) {
            return Err("it was changed: its signature does not hold".to_owned());
        }
        let ids: Vec<String> = note.signatures().iter().map(|s| s.id.to_string()).collect();
        Err(format!("it is signed by another key ({}): none that {whose}", ids.join(", ")))
    }

    /// Looks at what is left when the log ended.
    pub(super) fn finish(&mut self) -> Result<(), Fault> {
        self.settle()?;
        while let Some(note) = self.outside.pop() {
            self.judge(&note, true)?;
        }
        if let Some((position, tile)) = self.suspect.take() {
            return Err(Fault::EventOrTile { position, tile });
        }
        match self.broken.take() {
            Some(Broken { size, outside, what }) => Err(Fault::Checkpoint { size, outside, what }),
            None => Ok(()),
        }
    }
}
