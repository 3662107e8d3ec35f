//! Signed notes (C2SP signed-note) with Ed25519.

use super::{Checkpoint, Origin};
use crate::key::PublicKey;
use data_encoding::{BASE64, HEXLOWER};
use ed25519_dalek::{Signer, SigningKey};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// Bytes of a note: a checkpoint with some twenty signatures of witnesses.
pub const NOTE_BYTES_MAX: usize = 16 * 1024;
/// Signatures of a note that are read.
const SIGNATURES_MAX: usize = 64;
/// What the spec gives Ed25519 as type.
const ED25519: u8 = 1;
/// Begins the line of a signature: an em dash and a space.
const SIGNATURE_PREFIX: &str = "\u{2014} ";

/// Text that is no signed note of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no signed checkpoint: {0}")]
pub struct InvalidNote(pub(super) String);

/// The number that tells keys of one name apart: 4 bytes of a hash over name and key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 4]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A key that verifies notes, with the name that it signs under. Written as
/// `NAME+ID+KEY`, as Go's `note` package and every tool after it writes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NoteKey {
    /// The name: the log's origin.
    pub name: Origin,
    /// The key.
    pub key: PublicKey,
}

/// Text that is no verifier key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no verifier key (NAME+ID+KEY, one line, as signing-key.pub has it): {0}")]
pub struct InvalidKey(String);

impl NoteKey {
    /// Returns the number of the key.
    pub fn id(&self) -> KeyId {
        let mut hasher = Sha256::new();
        hasher.update(self.name.as_str());
        hasher.update([b'\n', ED25519]);
        hasher.update(self.key.bytes());
        let hash: [u8; 32] = hasher.finalize().into();
        KeyId([hash[0], hash[1], hash[2], hash[3]])
    }
}

impl fmt::Display for NoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![ED25519];
        key.extend_from_slice(&self.key.bytes());
        write!(f, "{}+{}+{}", self.name, self.id(), BASE64.encode(&key))
    }
}

impl FromStr for NoteKey {
    type Err = InvalidKey;
    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let invalid = |what: &str| InvalidKey(what.to_owned());
        let mut parts = text.trim_end().splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(invalid("it does not have three parts"));
        };
        let name = name.parse().map_err(|error| InvalidKey(format!("{error}")))?;
        let bytes = BASE64.decode(key.as_bytes()).map_err(|_| invalid("its key is no base 64"))?;
        let key = match bytes.split_first() {
            Some((&ED25519, key)) => key.try_into().map(PublicKey::from_bytes).ok(),
            _ => None,
        };
        let key = key.ok_or_else(|| invalid("its key is no Ed25519 key"))?;
        let read = Self { name, key };
        if read.id().to_string() != id {
            return Err(invalid("its number is not that of its name and key"));
        }
        Ok(read)
    }
}

/// One signature of a note. Whether it holds is not known yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    /// The name of the key.
    pub name: String,
    /// The number of the key.
    pub id: KeyId,
    /// What the key made: 64 bytes for Ed25519.
    pub bytes: Vec<u8>,
}

/// A checkpoint with the signatures under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    checkpoint: Checkpoint,
    signatures: Vec<NoteSignature>,
}

/// Signs a checkpoint. Returns the whole note.
pub fn sign(checkpoint: &Checkpoint, key: &SigningKey) -> Note {
    let text = checkpoint.text();
    let public = PublicKey::from_bytes(key.verifying_key().to_bytes());
    let name = NoteKey { name: checkpoint.origin.clone(), key: public };
    let signature = NoteSignature {
        name: name.name.to_string(),
        id: name.id(),
        bytes: key.sign(text.as_bytes()).to_bytes().to_vec(),
    };
    Note { text, checkpoint: checkpoint.clone(), signatures: vec![signature] }
}

impl Note {
    /// Returns what the note says. Nobody vouches for it until a signature was checked.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Returns the signatures, unchecked.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Returns whether the key signed the note.
    ///
    /// Every signature under the key's name and number must hold: one that does
    /// not is a forgery, whatever stands beside it.
    pub fn is_signed_by(&self, key: &NoteKey) -> bool {
        let id = key.id();
        let mut of_key = self
            .signatures
            .iter()
            .filter(|signature| signature.id == id && signature.name == key.name.as_str())
            .peekable();
        of_key.peek().is_some()
            && of_key.all(|signature| key.key.verifies(self.text.as_bytes(), &signature.bytes))
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        for signature in &self.signatures {
            let mut bytes = signature.id.0.to_vec();
            bytes.extend_from_slice(&signature.bytes);
            writeln!(f, "{SIGNATURE_PREFIX}{} {}", signature.name, BASE64.encode(&bytes))?;
        }
        Ok(())
    }
}

impl FromStr for Note {
    type Err = InvalidNote;
    fn from_str(note: &str) -> Result<Self, InvalidNote> {
        let invalid = |what: &str| InvalidNote(what.to_owned());
        if note.len() > NOTE_BYTES_MAX {
            return Err(invalid("it is too long"));
        }
        if note.chars().any(|c| c.is_control() && c != '\n') {
            return Err(invalid("it has control characters"));
        }
        let (text, signatures) =
            note.rsplit_once("\n\n").ok_or_else(|| invalid("it has no signature"))?;
        let text = format!("{text}\n");
        let checkpoint = Checkpoint::parse(&text)?;
        let signatures = signatures.strip_suffix('\n').unwrap_or(signatures);
        if signatures.is_empty() || signatures.split('\n').count() > SIGNATURES_MAX {
            return Err(invalid("it has no signature, or too many"));
        }
        let signatures: Option<Vec<NoteSignature>> =
            signatures.split('\n').map(parse_signature).collect();
        let signatures = signatures.ok_or_else(|| invalid("a line is no signature"))?;
        Ok(Self { text, checkpoint, signatures })
    }
}

fn parse_signature(line: &str) -> Option<NoteSignature> {
    let (name, signature) = line.strip_prefix(SIGNATURE_PREFIX)?.split_once(' ')?;
    let bytes = BASE64.decode(signature.as_bytes()).ok()?;
    let (id, bytes) = bytes.split_first_chunk::<4>()?;
    let plain = !name.is_empty() && !name.contains(['+', ' ']);
    (plain && !bytes.is_empty()).then(|| NoteSignature {
        name: name.to_owned(),
        id: KeyId(*id),
        bytes: bytes.to_vec(),
    })
}
