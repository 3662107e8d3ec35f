//! Everything that can be wrong with a log, each by itself.

use crate::samples::of;
use ed25519_dalek::SigningKey;
use ledger_core::checkpoint::{Checkpoint, NoteKey, sign};
use ledger_core::event::*;
use ledger_core::ids::*;
use ledger_core::key::PublicKey;
use ledger_core::merkle::{NodeHash, Tile, Tree};
use ledger_core::record::{ActorKind, Columns, Given};
use ledger_core::verify::{Checker, Fault, Piece, Scope, Told, Trust, Verified};
use ledger_core::{Actor, Event, Record, SealedAnnex, StreamId, Timestamp};

/// A log as it might be stored, to be changed.
#[derive(Clone)]
struct World {
    records: Vec<Record>,
    /// Whose annex is erased, and by which event.
    erasures: Vec<(u64, u64)>,
    tiles: Vec<Tile>,
    notes: Vec<(u64, String)>,
    pieces: Vec<(DeploymentId, u64, Vec<u8>)>,
}

fn request(n: u64) -> RequestId {
    RequestId::new(uuid::Uuid::from_u128(u128::from(n) << 80 | 7))
}

fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

fn note_key(n: u8) -> NoteKey {
    let key = PublicKey::from_bytes(key(n).verifying_key().to_bytes());
    NoteKey { name: of("ledger.example.org/test"), key }
}

impl World {
    /// 600 events in writes of three, with something of everything.
    fn new() -> Self {
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
    fn check(&self, trust: Trust) -> Result<Verified, Fault> {
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

    fn at(&mut self, position: usize) -> &mut Record {
        &mut self.records[position - 1]
    }

    /// Computes tiles and checkpoints anew from a position on, as who has the key may.
    fn rebuild(&mut self, with: u8) {
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

type Change = fn(&mut World);

#[test]
fn each_fault_is_named_with_its_place() {
    assert!(World::new().check(Trust::default()).is_ok());
    let table: &[(Change, &str)] = &[
        // What an event contradicts by itself.
        (|w| drop(w.records.remove(99)), "position 100 is missing: 101 stands where it should"),
        (|w| w.records.swap(99, 100), "position 100 is missing: 101"),
        (
            |w| w.at(100).version = Version(7),
            "position 100, column version: 7 stands where 98 should",
        ),
        (|w| w.at(16).version = Version(2), "position 16, column version: 2 stands where 1 should"),
        (|w| w.at(100).recorded_at = Timestamp::from_micros(5), "position 100, column recorded_at"),
        (
            |w| w.at(101).recorded_at = w.at(103).recorded_at,
            "position 101, column recorded_at: it is not that of",
        ),
        (|w| w.at(101).actor.id = "m".to_owned(), "position 101, column actor"),
        (
            |w| w.at(101).given = w.at(100).given,
            "position 101, column given: a write begins here, while 2",
        ),
        (|w| w.at(100).given = None, "position 100, column given: the event belongs to no write"),
        (
            |w| w.at(100).event_id = EventId::from_bytes([1; 16]),
            "position 100, column event_id: 01010101",
        ),
        (
            |w| w.at(101).event_id = EventId::derive(request(3), 1),
            "position 101, column event_id: it is not derived",
        ),
        (
            |w| w.at(100).payload = b"[".to_vec(),
            "position 100, column payload: it is no NodeStopped",
        ),
        (|w| w.at(100).actor.id = "a".repeat(300), "position 100, column actor: it has 300 bytes"),
        (|w| w.at(100).type_name = String::new(), "position 100, column type: it has 0 bytes"),
        // What only the tree tells.
        (|w| w.at(100).payload = b"{ }".to_vec(), "position 100: the event was changed"),
        (
            |w| w.at(270).occurred_at = Timestamp::from_micros(1),
            "position 270: the event was changed",
        ),
        (
            |w| w.at(590).occurred_at = Timestamp::from_micros(1),
            "the checkpoint over 600 events: it does not hold: history was rewritten at or before position 600 and after 300",
        ),
        (
            |w| {
                w.at(590).occurred_at = Timestamp::from_micros(1);
                w.notes.pop();
                w.records.truncate(597);
                w.records.drain(..0);
            },
            "",
        ),
        (
            |w| w.tiles[0].hashes[4] = NodeHash([0; 32]),
            "tile 0 of level 0: the hash of position 5 in it was changed",
        ),
        (
            |w| {
                w.tiles[1].hashes[4] = NodeHash([0; 32]);
                w.notes.pop();
            },
            "position 261: the event or its hash in tile 1 of level 0 was changed",
        ),
        (|w| drop(w.tiles.remove(0)), "tile 0 of level 0: it is missing"),
        (|w| drop(w.tiles.pop()), "tile 1 of level 0: it is missing"),
        (|w| w.tiles.push(w.tiles[1].clone()), "tile 1 of level 0: it is too much"),
        (|w| w.tiles[0].hashes.truncate(255), "tile 0 of level 0: it does not have 256 hashes"),
        // The end.
        (
            |w| w.records.truncate(597),
            "the log ends at position 597, and a checkpoint over 600 events is there",
        ),
        (
            |w| {
                w.records.truncate(598);
                w.notes.pop();
            },
            "the log ends at position 598, and the write that begins at position 598, 2 events of which are missing is there",
        ),
        // Annexes and erasures.
        (|w| w.at(7).annex = None, "position 7, annex: it was removed, and no erasure is recorded"),
        (
            |w| w.at(7).annex = Some(SealedAnnex { salt: [0; 16], bytes: vec![] }),
            "position 7, annex: it was changed",
        ),
        (|w| w.at(8).annex = w.at(7).annex.clone(), "position 8, annex: it was put there"),
        (|w| w.erasures.clear(), "position 4, annex: it was removed"),
        (
            |w| w.erasures.push((7, 20)),
            "position 7, erasure of its annex: it is recorded for an event that has",
        ),
        (
            |w| w.erasures[0].1 = 11,
            "position 4, erasure of its annex: position 10 orders it, and it is not recorded",
        ),
        (
            |w| w.erasures[0].1 = 3,
            "position 4, erasure of its annex: position 3, which is to order it, stands before it",
        ),
        (
            |w| {
                w.at(7).annex = None;
                w.erasures.push((7, 20))
            },
            "position 7, erasure of its annex: position 20 is to order it, and does not",
        ),
        (
            |w| {
                w.at(7).annex = None;
                w.erasures.push((7, 10))
            },
            "position 7, erasure of its annex: position 10 orders another one, too",
        ),
        (
            |w| {
                w.at(7).annex = None;
                w.erasures.push((7, 700))
            },
            "the log ends at position 600, and the erasure of the annex of position 7",
        ),
        // Checkpoints.
        (
            |w| w.notes[1].1 = w.notes[1].1.replace("test\n300", "test\n301"),
            "the checkpoint over 300 events: it was changed or moved",
        ),
        (
            |w| w.notes[1].1 = w.notes[0].1.clone(),
            "the checkpoint over 300 events: it was changed or moved",
        ),
        (|w| w.notes[1].1.push('\n'), "the checkpoint over 300 events: "),
        (
            |w| w.notes[1].1 = w.notes[1].1.replace("\n300\n", "\n300\n\n"),
            "the checkpoint over 300 events: this is no signed checkpoint",
        ),
        (
            |w| w.notes[1].1 = w.notes[1].1.replace("/test", "/best"),
            "the checkpoint over 300 events: it is signed by another key",
        ),
        (|w| w.rebuild(2), "the checkpoint over 30 events: it is signed by another key"),
        (
            |w| {
                let old = w.notes[1].clone();
                w.at(200).occurred_at = Timestamp::from_micros(1);
                w.rebuild(1);
                w.notes[1] = old;
            },
            "the history was forked: the checkpoint over 300 events and the checkpoint over 600 events",
        ),
        (
            |w| {
                let old = w.notes[2].clone();
                w.at(400).occurred_at = Timestamp::from_micros(1);
                w.rebuild(1);
                w.notes[2] = old;
            },
            "the checkpoint over 600 events: it does not hold",
        ),
        // Output.
        (|w| w.pieces[0].2[0] = b'B', "the output of deployment"),
        (|w| drop(w.pieces.pop()), "9 bytes are stored; the event that ends it says 14"),
        (|w| w.pieces[1].1 = 10, "a piece of 5 bytes begins at byte 10 where byte 9 should follow"),
        (
            |w| w.pieces.push((w.pieces[0].0, 14, vec![1])),
            "15 bytes are stored; the event that ends it says 14",
        ),
        (
            |w| w.pieces.push((of("0190b1f2-7c1e-7d3a-9f00-5c2d00000001"), 0, vec![1])),
            "no such deployment that runs",
        ),
    ];
    for (change, says) in table {
        let mut world = World::new();
        change(&mut world);
        let found = world.check(Trust::default());
        if says.is_empty() {
            // What nothing signs, and no tile has, can be changed unseen: verify says how far it is signed.
            let verified = found.expect("nothing tells");
            assert_eq!(verified.newest.map(|signed| signed.size), Some(300));
            continue;
        }
        let line = found.err().map(|fault| fault.to_string());
        assert!(
            line.as_ref().is_some_and(|line| line.contains(says) && !line.contains('\n')),
            "{says}\nis told as {line:?}"
        );
    }
}

#[test]
fn checkpoints_and_keys_from_outside_count() {
    let world = World::new();
    let note = |at: usize| world.notes[at].1.parse().expect("a note");
    let outside = |keys: Vec<NoteKey>, at: &[usize]| Trust {
        keys,
        checkpoints: at.iter().map(|at| note(*at)).collect(),
    };
    let verified = world.check(outside(vec![note_key(1)], &[2, 0])).expect("whole");
    assert_eq!(verified.checkpoints, 5);
    let line =
        |world: &World, trust| world.check(trust).map_err(|fault| fault.to_string()).unwrap_err();
    // A key from outside alone counts.
    assert!(line(&world, outside(vec![note_key(2)], &[])).contains("none that was given"));
    // History rewritten by who has the key: consistent by itself, and not with what was kept.
    let mut rewritten = world.clone();
    rewritten.at(200).occurred_at = Timestamp::from_micros(1);
    rewritten.rebuild(1);
    assert!(rewritten.check(Trust::default()).is_ok());
    let told = line(&rewritten, outside(vec![], &[1]));
    assert!(
        told.starts_with("the history was forked: the checkpoint that was given over 300"),
        "{told}"
    );
    let told = line(&rewritten, outside(vec![], &[2]));
    assert!(
        told.starts_with("the checkpoint that was given over 600 events: it does not hold"),
        "{told}"
    );
    // The tail and every newer checkpoint removed.
    let mut shorter = world.clone();
    shorter.records.truncate(300);
    shorter.notes.truncate(2);
    shorter.tiles.truncate(1);
    assert!(shorter.check(Trust::default()).is_ok());
    let told = line(&shorter, outside(vec![], &[2]));
    assert!(told.contains("a checkpoint that was given over 600 events is there"), "{told}");
}

#[test]
fn a_type_of_a_newer_program_is_no_fault() {
    let mut world = World::new();
    world.at(200).type_name = "MoonLanded".to_owned();
    world.at(200).payload = b"{\"unknown\":true}".to_vec();
    world.rebuild(1);
    let verified = world.check(Trust::default()).expect("whole");
    let unknown = verified.unknown.expect("told");
    assert_eq!((unknown.events, unknown.first.0, &*unknown.type_name), (1, 200, "MoonLanded"));
}

#[test]
fn an_id_that_repeats_is_found_where_no_index_does() {
    let mut world = World::new();
    // A whole write once more, under its ids.
    for position in 100..103 {
        world.at(position).event_id = EventId::derive(request(3), position as u32 - 100);
    }
    world.rebuild(1);
    let told = world.check(Trust::default()).unwrap_err().to_string();
    assert!(told.contains("column event_id: it is that of position"), "{told}");
}
