//! A log in memory, to be changed and told to a checker.

use crate::samples::of;
use ed25519_dalek::SigningKey;
use ledger_core::checkpoint::{Checkpoint, NoteKey, sign};
use ledger_core::event::*;
use ledger_core::ids::*;
use ledger_core::key::PublicKey;
use ledger_core::merkle::{Tile, Tree};
use ledger_core::record::{ActorKind, Columns, Given};
use ledger_core::verify::{Checker, Fault, Piece, Scope, Told, Trust, Verified};
use ledger_core::{Actor, Event, Record, SealedAnnex, StreamId, Timestamp};

/// A log as it might be stored, to be changed.
#[derive(Clone)]
pub(super) struct World {
    pub(super) records: Vec<Record>,
    /// Whose annex is erased, and by which event.
    pub(super) erasures: Vec<(u64, u64)>,
    pub(super) tiles: Vec<Tile>,
    pub(super) notes: Vec<(u64, String)>,
    pub(super) pieces: Vec<(DeploymentId, u64, Vec<u8>)>,
}

pub(super) fn request(n: u64) -> RequestId {
    RequestId::new(uuid::Uuid::from_u128(u128::from(n) << 80 | 7))
}

fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

pub(super) fn note_key(n: u8) -> NoteKey {
    let key = PublicKey::from_bytes(key(n).verifying_key().to_bytes());
    NoteKey { name: of("ledger.example.org/test"), key }
}

impl World {
    /// 600 events in writes of three, with something of everything.
    pub(super) fn new() -> Self {
        let mut world = Self {
            records: Vec::new(),
            erasures: vec![(4, 10)],
            tiles: Vec::new(),
            notes: Vec::new(),
            pieces: Vec::new(),
        };
        let deployment: DeploymentId = EventId::derive(request(6), 0).into();
        world.pieces.push((deployment, 0, b"building\n".to_vec()));
        world.pieces.push((deployment, 9, b"done\n".to_vec()));
        let mut tree = Tree::default();
        for n in 0..600_u64 {
            let record = world.record(n + 1, deployment);
            tree.push(record.leaf_hash(), &mut |tile| world.tiles.push(tile));
            world.records.push(record);
            if [30, 300, 600].contains(&(n + 1)) {
                world.notes.push((n + 1, note(&tree, 1)));
            }
        }
        world
    }

    fn record(&self, position: u64, deployment: DeploymentId) -> Record {
        let (write, ordinal) = ((position - 1) / 3 + 1, (position - 1) % 3);
        let node: StreamId = of("node/0190b1f2-7c1e-7d3a-9f00-5c2d00000001");
        let agent: StreamId = of("agent/default/web-1");
        let (stream, event): (StreamId, Event) = match position {
            1 => (
                node,
                SigningKeyAdded { origin: note_key(1).name, public_key: note_key(1).key }.into(),
            ),
            10 => (node, AnnexErased { position: Position(4) }.into()),
            16 => {
                let activation = of("0190b1f2-7c1e-7d3a-9f00-5c2d00000009");
                let store_path = crate::samples::path("system");
                (
                    agent,
                    DeploymentRequested { activation, store_path, rollback_script: None }.into(),
                )
            }
            22 => {
                let output = OutputDigest { blake3: Digest::of(b"building\ndone\n"), bytes: 14 };
                (agent, DeploymentSucceeded { deployment, output }.into())
            }
            _ => (node, NodeStopped {}.into()),
        };
        let before = self.records.iter().filter(|record| record.stream == stream).count();
        let sealed = [4, 7].contains(&position);
        let annex =
            sealed.then(|| SealedAnnex { salt: [3; 16], bytes: b"{\"address\":\"::1\"}".to_vec() });
        let recorded_at = Timestamp::from_micros(1_000_000 * write as i64);
        Record {
            position: Position(position),
            stream,
            version: Version(before as u64 + 1),
            event_id: EventId::derive(request(write), ordinal as u32),
            type_name: event.type_name().to_owned(),
            occurred_at: recorded_at,
            recorded_at,
            actor: Actor { kind: ActorKind::Node, id: "n".to_owned() },
            correlation_id: None,
            causation_id: None,
            given: (ordinal == 0).then_some(Given { digest: [1; 8], events: 3 }),
            payload: event.encode(),
            annex_digest: annex.as_ref().map(SealedAnnex::digest),
            annex: annex.filter(|_| position != 4),
        }
    }

    /// Tells a checker of all of it, in its order.
    pub(super) fn check(&self, trust: Trust) -> Result<Verified, Fault> {
        let scope = Scope { tiles: true, ids: true, ..Scope::default() };
        let mut checker = Checker::new(trust, scope);
        for (cursor, (deployment, offset, bytes)) in (1..).zip(&self.pieces) {
            let (deployment, offset) = (*deployment, *offset);
            checker.output(&Piece { cursor, deployment, offset, bytes })?;
        }
        let mut tiles = self.tiles.iter();
        for (n, record) in (1..).zip(&self.records) {
            tell(&mut checker, record)?;
            for (position, ordered) in &self.erasures {
                if *position == n {
                    checker.erasure(Position(*position), Position(*ordered))?;
                }
            }
            if n % 256 == 0
                && let Some(tile) = tiles.next()
            {
                checker.tile(tile.id, Some(&tile.bytes()))?;
            }
            for (_, note) in self.notes.iter().filter(|(size, _)| *size == n) {
                checker.checkpoint(n, note)?;
            }
        }
        for tile in tiles {
            checker.tile(tile.id, Some(&tile.bytes()))?;
        }
        for (size, note) in &self.notes {
            if *size > self.records.len() as u64 {
                checker.checkpoint(*size, note)?;
            }
        }
        checker.finish()
    }

    pub(super) fn at(&mut self, position: usize) -> &mut Record {
        &mut self.records[position - 1]
    }

    /// Computes tiles and checkpoints anew from a position on, as who has the key may.
    pub(super) fn rebuild(&mut self, with: u8) {
        self.tiles.clear();
        let mut tree = Tree::default();
        for record in &self.records {
            tree.push(record.leaf_hash(), &mut |tile| self.tiles.push(tile));
            for (size, text) in &mut self.notes {
                if *size == tree.size() {
                    *text = note(&tree, with);
                }
            }
        }
    }
}

fn note(tree: &Tree, with: u8) -> String {
    let origin = note_key(with).name;
    sign(&Checkpoint { origin, size: tree.size(), root: tree.root() }, &key(with)).to_string()
}

fn tell(checker: &mut Checker, record: &Record) -> Result<(), Fault> {
    let stream = record.stream.to_string();
    let mut columns = Columns {
        position: record.position,
        stream: &stream,
        version: record.version,
        event_id: record.event_id,
        type_name: &record.type_name,
        occurred_at: record.occurred_at,
        recorded_at: record.recorded_at,
        actor_kind: record.actor.kind,
        actor: &record.actor.id,
        correlation_id: record.correlation_id,
        causation_id: record.causation_id,
        annex_digest: record.annex_digest,
        given: record.given,
        payload_digest: [0; 32],
    };
    let annex = record.annex.as_ref().map(|annex| (&annex.salt, annex.bytes.as_slice()));
    let told = Told::of_row(&mut columns, &record.payload, annex, &mut Vec::new())?;
    checker.event(&columns, &told)
}
