//! Identifiers: one newtype per thing, so that no bare UUID crosses a function.

use blake3::hazmat::{ContextKey, HasherExt, hash_derive_key_context};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;
use uuid::Uuid;

/// Text that is not the identifier that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {what} (a UUID, like 0190b1f2-7c1e-7d3a-9f00-5c2d6e1a4b90)")]
pub struct InvalidId {
    what: &'static str,
    text: String,
}

macro_rules! uuid_ids {
    ($($(#[$doc:meta])* $name:ident $what:literal,)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID that the caller made or read.
            pub const fn new(id: Uuid) -> Self {
                Self(id)
            }

            /// Returns the UUID.
            pub const fn uuid(self) -> Uuid {
                self.0
            }

            /// Returns the 16 bytes in network order.
            pub const fn bytes(self) -> [u8; 16] {
                self.0.into_bytes()
            }

            /// Reads the 16 bytes in network order.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Uuid::try_parse(text)
                    .map(Self)
                    .map_err(|_| InvalidId { what: $what, text: text.chars().take(80).collect() })
            }
        }
    )*};
}

uuid_ids! {
    /// One event, derived from the request that wrote it and its place in it.
    EventId "event id",
    /// One write, made by the client (UUIDv7) and kept through every retry.
    RequestId "request id",
    /// One `ledger activate`, for many agents.
    ActivationId "activation id",
    /// An activation's part for one agent: the event id of its DeploymentRequested.
    DeploymentId "deployment id",
    /// One connection of one agent.
    SessionId "session id",
    /// One server, as its data folder names it.
    NodeId "node id",
    /// One token, without its secret.
    TokenId "token id",
}

impl EventId {
    /// Returns the id of the event with the given ordinal (from 0) of a write.
    ///
    /// The request's first 6 bytes, its time in milliseconds, are kept, so that
    /// ids made in order stay in order and the index over them grows at its
    /// right edge. The rest is BLAKE3 over request id and ordinal, shaped as a
    /// UUIDv7.
    pub fn derive(request: RequestId, ordinal: u32) -> Self {
        // Every event has one, and deriving the key takes longer than the hash.
        static KEY: LazyLock<ContextKey> =
            LazyLock::new(|| hash_derive_key_context("ledger 2026-11 event id"));
        let mut hasher = blake3::Hasher::new_from_context_key(&KEY);
        hasher.update(&request.bytes());
        hasher.update(&ordinal.to_be_bytes());
        let mut bytes = request.bytes();
        bytes[6..].copy_from_slice(&hasher.finalize().as_bytes()[..10]);
        bytes[6] = 0x70 | (bytes[6] & 0x0f);
        bytes[8] = 0x80 | (bytes[8] & 0x3f);
        Self::from_bytes(bytes)
    }
}

impl From<EventId> for DeploymentId {
    fn from(id: EventId) -> Self {
        Self(id.0)
    }
}

impl From<DeploymentId> for EventId {
    fn from(id: DeploymentId) -> Self {
        Self(id.0)
    }
}

impl From<ActivationId> for RequestId {
    fn from(id: ActivationId) -> Self {
        Self(id.0)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {$(
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// Before the first.
            pub const ZERO: Self = Self(0);

            /// Returns the one that follows.
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<u64> for $name {
            fn from(number: u64) -> Self {
                Self(number)
            }
        }

        impl FromStr for $name {
            type Err = std::num::ParseIntError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    )*};
}

counters! {
    /// A place in the whole log, from 1 and gapless; 0 is before the first.
    Position,
    /// A place in one stream, from 1 and gapless; 0 is before the first.
    Version,
}
