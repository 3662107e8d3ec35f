//! The annex: what a law may make us erase, kept beside the payload.

use crate::limits;
use serde::{Deserialize, Serialize};

/// Facts of an event that folds never read and that can be erased.
///
/// Everything personal belongs here: network addresses, names of people, free
/// text. No key and no plain token may stand in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Annex {
    /// The network address that the request came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The program that sent the request, as it named itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// A description or reason that a person gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What a failing program said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Annex {
    /// Returns whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the bytes that are stored and digested: JSON in the order of the
    /// fields, each text cut at [`limits::TEXT_CHARS_MAX`] characters.
    pub fn encode(&self) -> Vec<u8> {
        let cut = |text: &Option<String>| {
            text.as_ref().map(|text| text.chars().take(limits::TEXT_CHARS_MAX).collect())
        };
        let cut = Self {
            address: cut(&self.address),
            client: cut(&self.client),
            description: cut(&self.description),
            error: cut(&self.error),
        };
        // Four optional strings cannot fail to encode.
        serde_json::to_vec(&cut).unwrap_or_default()
    }
}

/// An annex as it is stored: its bytes, and the salt that hides them.
///
/// Without the salt, a short annex such as an address could be found by
/// digesting every candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedAnnex {
    /// 16 random bytes.
    pub salt: [u8; 16],
    /// What [`Annex::encode`] returned.
    pub bytes: Vec<u8>,
}

impl SealedAnnex {
    /// Returns the digest that the envelope covers: BLAKE3 in key-derivation
    /// mode over salt and bytes.
    pub fn digest(&self) -> AnnexDigest {
        AnnexDigest::over(&self.salt, &self.bytes)
    }

    /// Reads the bytes. `None` when they are no annex.
    pub fn open(&self) -> Option<Annex> {
        serde_json::from_slice(&self.bytes).ok()
    }
}

/// The salted BLAKE3 of an annex, which stays when the annex is erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnnexDigest(pub [u8; 32]);

impl AnnexDigest {
    /// Digests salt and bytes, as [`SealedAnnex::digest`] does.
    pub fn over(salt: &[u8; 16], bytes: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("ledger 2026-11 annex");
        hasher.update(salt);
        hasher.update(bytes);
        Self(*hasher.finalize().as_bytes())
    }
}
