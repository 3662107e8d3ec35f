//! Golden bytes: what was stored once is read, and written, the same for ever.

use crate::samples;
use ledger_core::annex::{Annex, SealedAnnex};
use ledger_core::record::{Actor, ActorKind, Given, Record};
use ledger_core::{Event, Position, Timestamp, Version};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/goldens")
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

/// The record of a sample. What is optional is there or not, and numbers differ,
/// by the sample's name alone: a new sample changes no other's golden.
fn record(name: &str, stream: &ledger_core::StreamId, event: &Event) -> Record {
    let n: usize = name.bytes().map(usize::from).sum();
    let full = n.is_multiple_of(2);
    let annex = full.then(|| SealedAnnex {
        salt: [9; 16],
        bytes: Annex { address: Some("192.0.2.7".to_owned()), ..Annex::default() }.encode(),
    });
    Record {
        position: Position(1_000 + n as u64),
        stream: stream.clone(),
        version: Version(1 + n as u64),
        event_id: samples::of(&samples::id(0x100 + n as u32)),
        type_name: event.type_name().to_owned(),
        occurred_at: Timestamp::from_micros(1_767_225_600_123_456),
        recorded_at: Timestamp::from_micros(1_767_225_601_000_000),
        actor: Actor { kind: ActorKind::ALL[n % 3], id: "web-1".to_owned() },
        correlation_id: full.then(|| samples::of(&samples::id(4))),
        causation_id: n.is_multiple_of(3).then(|| samples::of(&samples::id(5))),
        given: n.is_multiple_of(5).then_some(Given { digest: [8; 8], events: 3 }),
        payload: event.encode(),
        annex_digest: annex.as_ref().map(SealedAnnex::digest),
        annex,
    }
}

fn golden(record: &Record) -> Value {
    json!({
        "type": record.type_name,
        "payload": String::from_utf8(record.payload.clone()).expect("JSON is UTF-8"),
        "payload_blake3": hex(&record.payload_digest()),
        "annex": record.annex.as_ref().map(|a| String::from_utf8(a.bytes.clone()).expect("JSON is UTF-8")),
        "annex_digest": record.annex_digest.map(|d| hex(&d.0)),
        "envelope": hex(&record.envelope()),
        "leaf": hex(&record.leaf_hash().0),
    })
}

#[test]
fn every_shape_keeps_its_bytes() {
    let update = std::env::var_os("UPDATE_GOLDENS").is_some();
    let mut types = BTreeSet::new();
    let mut files = BTreeSet::new();
    for (name, stream, event) in samples::all() {
        let record = record(name, &stream, &event);
        let file = folder().join(format!("{name}.json"));
        if update && !file.exists() {
            let text = serde_json::to_string_pretty(&golden(&record)).unwrap() + "\n";
            std::fs::write(&file, text).unwrap();
        }
        let text = std::fs::read_to_string(&file).unwrap_or_else(|e| {
            panic!("{}: {e}; a new shape is written with UPDATE_GOLDENS=1", file.display())
        });
        let stored: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(stored, golden(&record), "{name}: the bytes of a released shape changed");

        let payload = stored["payload"].as_str().unwrap().as_bytes();
        let read = Event::decode(stored["type"].as_str().unwrap(), payload).unwrap();
        assert_eq!(read, event, "{name}");
        types.insert(event.type_name());
        files.insert(format!("{name}.json"));
    }
    let every: BTreeSet<&str> = Event::TYPE_NAMES.iter().copied().collect();
    assert_eq!(types, every, "every type has a golden");
    let on_disk = std::fs::read_dir(folder()).unwrap();
    let on_disk: BTreeSet<String> =
        on_disk.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(on_disk, files, "no golden is left without its sample");
}

/// A change of any stored column changes the leaf.
#[test]
fn the_envelope_covers_every_column() {
    let (_, stream, event) = samples::all().swap_remove(0);
    // A name whose record has everything: its one letter is a multiple of 2, 3 and 5.
    let base = record("x", &stream, &event);
    type Change = fn(&mut Record);
    let changes: &[(&str, Change)] = &[
        ("position", |r| r.position.0 += 1),
        ("stream", |r| r.stream = samples::of("workspace/other")),
        ("version", |r| r.version.0 += 1),
        ("event_id", |r| r.event_id = samples::of(&samples::id(9))),
        ("type", |r| r.type_name.push('x')),
        ("occurred_at", |r| r.occurred_at = r.occurred_at.plus_micros(1)),
        ("recorded_at", |r| r.recorded_at = r.recorded_at.plus_micros(1)),
        ("actor kind", |r| r.actor.kind = ActorKind::Node),
        ("actor id", |r| r.actor.id.push('x')),
        ("correlation", |r| r.correlation_id = None),
        ("causation", |r| r.causation_id = None),
        ("causation and correlation", |r| {
            std::mem::swap(&mut r.correlation_id, &mut r.causation_id)
        }),
        ("payload", |r| r.payload.push(b' ')),
        ("digest of the request", |r| {
            r.given = r.given.map(|given| Given { digest: [9; 8], ..given })
        }),
        ("events of the request", |r| r.given = r.given.map(|given| Given { events: 4, ..given })),
        ("request", |r| r.given = None),
        ("annex digest", |r| r.annex_digest = None),
    ];
    let mut leaves = BTreeSet::from([base.leaf_hash()]);
    for (column, change) in changes {
        let mut changed = base.clone();
        change(&mut changed);
        assert!(leaves.insert(changed.leaf_hash()), "{column} is not covered");
    }
    let mut sealed = base.annex.clone().unwrap();
    let digest = sealed.digest();
    sealed.salt[0] ^= 1;
    assert_ne!(sealed.digest(), digest, "the salt is not covered");
    let erased = Record { annex: None, ..base.clone() };
    assert_eq!(erased.leaf_hash(), base.leaf_hash(), "an erased annex leaves the proof valid");
}
