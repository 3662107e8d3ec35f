//! Signed checkpoints, as other tools write and read them.

use crate::samples::of;
use ed25519_dalek::SigningKey;
use ledger_core::checkpoint::{Checkpoint, Note, NoteKey, sign};
use ledger_core::key::PublicKey;
use ledger_core::merkle::NodeHash;

/// The example of Go's `golang.org/x/mod/sumdb/note`.
const VERIFIER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const SIGNATURE: &str =
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=";
const TEXT: &str = "If you think cryptography is the answer to your problem,\n\
                    then you don't know what your problem is.\n";

fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

fn name(n: u8) -> NoteKey {
    let key = PublicKey::from_bytes(key(n).verifying_key().to_bytes());
    NoteKey { name: of("ledger.example.org/prod"), key }
}

fn checkpoint() -> Checkpoint {
    let root = NodeHash([6; 32]);
    Checkpoint { origin: of("ledger.example.org/prod"), size: 81_234, root }
}

#[test]
fn keys_and_signatures_are_those_of_other_tools() {
    let key: NoteKey = of(VERIFIER);
    assert_eq!(key.to_string(), VERIFIER);
    assert_eq!(key.id().to_string(), "c74f20a3");
    let bytes = data_encoding::BASE64.decode(SIGNATURE.as_bytes()).expect("it is there");
    assert_eq!(bytes[..4], key.id().0);
    assert!(key.key.verifies(TEXT.as_bytes(), &bytes[4..]));
}

#[test]
fn a_note_reads_back_and_holds_only_under_its_key() {
    let note = sign(&checkpoint(), &key(1));
    let text = note.to_string();
    let lines: Vec<&str> = text.split('\n').collect();
    assert_eq!(lines[..2], ["ledger.example.org/prod", "81234"]);
    assert_eq!(lines[2], NodeHash([6; 32]).to_string());
    assert!(lines[3].is_empty() && lines[4].starts_with("— ledger.example.org/prod "));
    let read: Note = of(&text);
    assert_eq!((read.checkpoint(), read.to_string()), (&checkpoint(), text.clone()));
    assert!(read.is_signed_by(&name(1)));
    assert!(!read.is_signed_by(&name(2)));
    // A witness's line beside it does no harm; a false line of the same key does.
    let witness = lines[4].replace("ledger.example.org/prod", "witness.example.org");
    let with_witness: Note = of(&format!("{text}{witness}\n"));
    assert!(with_witness.is_signed_by(&name(1)));
    let other = sign(&Checkpoint { size: 1, ..checkpoint() }, &key(1)).to_string();
    let forged: Note = of(&format!("{text}{}\n", other.split('\n').nth(4).expect("it is there")));
    assert!(!forged.is_signed_by(&name(1)));
}

#[test]
fn every_changed_byte_of_a_note_is_noticed() {
    let text = sign(&checkpoint(), &key(1)).to_string();
    for at in 0..text.len() {
        for bit in [1, 0x20] {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= bit;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            let holds = changed.parse::<Note>().is_ok_and(|note| note.is_signed_by(&name(1)));
            assert!(!holds, "byte {at} changed by {bit:#x} is not noticed");
        }
    }
}

#[test]
fn what_is_no_note_or_key_is_refused() {
    let text = sign(&checkpoint(), &key(1)).to_string();
    for (from, to) in
        [("81234", "081234"), ("81234", "-1"), ("81234", "\u{7}"), ("\n\n", "\n"), ("— ", "- ")]
    {
        let changed = text.replacen(from, to, 1);
        assert!(changed.parse::<Note>().is_err(), "{changed:?} was accepted");
    }
    let long = format!("{text}{}", "— a AAAAAAAA\n".repeat(70));
    assert!(long.parse::<Note>().is_err());
    let key = name(1).to_string();
    for (from, to) in [("ledger", "Ledger"), ("+", " "), ("prod+", "prod+0")] {
        assert!(key.replacen(from, to, 1).parse::<NoteKey>().is_err());
    }
}
