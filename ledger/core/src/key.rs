//! An agent's key, and the words that it signs to prove it.

use crate::ids::NodeId;
use crate::names::{AgentName, WorkspaceName};
use crate::text::as_text;
use data_encoding::BASE64;
use ed25519_dalek::{Signature, VerifyingKey};
use std::fmt;
use std::str::FromStr;

/// An Ed25519 public key (RFC 8032), written as base 64 of its 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

as_text!(PublicKey);

/// Text that is no Ed25519 public key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no public key: it must be base 64 of the 32 bytes of an Ed25519 key")]
pub struct InvalidPublicKey(String);

impl PublicKey {
    /// Takes the 32 bytes. They are checked to be a point when a signature is.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the 32 bytes.
    pub const fn bytes(self) -> [u8; 32] {
        self.0
    }

    /// Returns whether the 64-byte signature over `message` is this key's,
    /// by the strict rules that leave one signature per message.
    pub fn verifies(self, message: &[u8], signature: &[u8]) -> bool {
        let Ok(key) = VerifyingKey::from_bytes(&self.0) else { return false };
        let Ok(signature) = Signature::from_slice(signature) else { return false };
        key.verify_strict(message, &signature).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = InvalidPublicKey;
    fn from_str(text: &str) -> Result<Self, InvalidPublicKey> {
        let error = || InvalidPublicKey(text.chars().take(80).collect());
        let bytes = BASE64.decode(text.as_bytes()).map_err(|_| error())?;
        bytes.try_into().map(Self).map_err(|_| error())
    }
}

/// Returns the bytes that an agent signs to open a session.
///
/// They name what is proven, so that a signature made for one server, session,
/// workspace or name is worth nothing for another: a fixed heading, then node
/// (16 bytes), nonce (32), workspace and agent, each text behind its length in
/// one byte.
pub fn session_proof(
    node: NodeId,
    nonce: &[u8; 32],
    workspace: &WorkspaceName,
    agent: &AgentName,
) -> Vec<u8> {
    let mut bytes = b"ledger 2026-11 agent session\0".to_vec();
    bytes.extend_from_slice(&node.bytes());
    bytes.extend_from_slice(nonce);
    for text in [workspace.as_str(), agent.as_str()] {
        // Both names are under 128 characters of ASCII.
        bytes.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}
