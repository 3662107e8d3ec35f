//! The server's own key, under which the secrets of tokens are hashed.

use api_wire::token::Secret;
use ledger_core::event::{Digest, SecretHash};

/// 32 random bytes that never leave the data folder. Whoever reads the log
/// cannot try out secrets without them.
#[derive(Clone)]
pub(crate) struct TokenKey([u8; 32]);

impl TokenKey {
    pub(crate) fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Hashes a secret, as the log stores it.
    pub(crate) fn hash(&self, secret: &Secret) -> SecretHash {
        Digest(*blake3::keyed_hash(&self.0, secret.reveal().as_bytes()).as_bytes())
    }
}
