//! The key that signs checkpoints, in the data folder and nowhere else.

use ed25519_dalek::SigningKey;
use ledger_core::key::PublicKey;

/// The server's signing key.
pub(crate) struct Keys(SigningKey);

impl Keys {
    /// Makes it from the 32 bytes of its file.
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self(SigningKey::from_bytes(&seed))
    }

    pub(crate) fn public(&self) -> PublicKey {
        PublicKey::from_bytes(self.0.verifying_key().to_bytes())
    }

    pub(crate) fn secret(&self) -> &SigningKey {
        &self.0
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the key {}", self.public())
    }
}
