//! The record: one event as it stands in the log, and the bytes that prove it.

mod envelope;

pub use envelope::{Columns, InvalidEnvelope};

use crate::annex::{AnnexDigest, SealedAnnex};
use crate::event::Digest as ContentDigest;
use crate::event::{DecodeError, Event};
use crate::ids::{EventId, Position, Version};
use crate::merkle::NodeHash;
use crate::names::WorkspaceName;
use crate::stream::StreamId;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// Who caused an event: a kind and an opaque id, never a person's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// What kind of thing acted.
    pub kind: ActorKind,
    /// The token's id, the agent's name or the node's id; 1 to 128 characters.
    pub id: String,
}

/// What kind of thing acted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// Somebody who holds a token.
    Token,
    /// An agent that proved its key.
    Agent,
    /// A server by itself.
    Node,
}

impl ActorKind {
    /// Every kind, with its byte in the envelope and in the store.
    pub const ALL: [Self; 3] = [Self::Token, Self::Agent, Self::Node];

    /// Returns the word in the JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Agent => "agent",
            Self::Node => "node",
        }
    }

    /// Returns the byte that stands for the kind. Frozen.
    pub const fn code(self) -> u8 {
        match self {
            Self::Token => 1,
            Self::Agent => 2,
            Self::Node => 3,
        }
    }

    /// Returns the kind that the byte stands for.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

/// What the first event of a write tells of the request that it came in, so that
/// the same request sent again is known, and another one under its id refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// The first 8 bytes of the digest over what the client gave: enough to tell
    /// a mistake, and nobody gains by finding two requests that share them.
    pub digest: [u8; 8],
    /// How many events the write appended, this one included; at least 1.
    pub events: u32,
}

impl Given {
    /// Makes it from the whole digest.
    pub fn new(ContentDigest(digest): ContentDigest, events: u32) -> Self {
        let mut half = [0; 8];
        half.copy_from_slice(&digest[..8]);
        Self { digest: half, events }
    }
}

/// One event of the log, with everything that is stored of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place in the whole log.
    pub position: Position,
    /// What it is about.
    pub stream: StreamId,
    /// Its place in the stream.
    pub version: Version,
    /// Its id, derived from the request that wrote it.
    pub event_id: EventId,
    /// The name of the event, as [`Event::type_name`] gives it.
    pub type_name: String,
    /// When it happened, as its producer claims.
    pub occurred_at: Timestamp,
    /// When it was appended, set under the append lock; never falls.
    pub recorded_at: Timestamp,
    /// Who caused it.
    pub actor: Actor,
    /// The first event id of what it belongs to: an activation's id.
    pub correlation_id: Option<EventId>,
    /// The event that led to it.
    pub causation_id: Option<EventId>,
    /// The request that wrote it, if it is the first event of its write.
    pub given: Option<Given>,
    /// The exact bytes of the payload: JSON.
    pub payload: Vec<u8>,
    /// The digest of the annex, which stays when the annex is erased.
    pub annex_digest: Option<AnnexDigest>,
    /// The annex. `None` when there never was one, when it was erased, or when
    /// it was not asked for.
    pub annex: Option<SealedAnnex>,
}

/// Memory that hashing one record after the other uses again.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    stream: String,
    envelope: Vec<u8>,
}

/// Any JSON, as a payload is when its type does not matter.
pub type Json = serde_json::Value;

impl Record {
    /// Reads the event out of type and payload.
    pub fn event(&self) -> Result<Event, DecodeError> {
        Event::decode(&self.type_name, &self.payload)
    }

    /// Returns the workspace that the record belongs to. A node's belong to none.
    pub fn workspace(&self) -> Option<WorkspaceName> {
        if let Some(workspace) = self.stream.workspace() {
            return Some(workspace.clone());
        }
        match self.event() {
            Ok(Event::ActivationRequested(event)) => Some(event.workspace),
            _ => None,
        }
    }

    /// Returns the BLAKE3 of the payload.
    pub fn payload_digest(&self) -> [u8; 32] {
        *blake3::hash(&self.payload).as_bytes()
    }

    /// Returns the leaf hash of RFC 6962: SHA-256 over a zero byte and the envelope.
    pub fn leaf_hash(&self) -> NodeHash {
        self.leaf_hash_with(&mut Scratch::default())
    }

    /// Does the same for one of many records.
    pub fn leaf_hash_with(&self, scratch: &mut Scratch) -> NodeHash {
        let Scratch { stream, envelope } = scratch;
        stream.clear();
        // Writing to a string cannot fail.
        let _ = write!(stream, "{}", self.stream);
        self.columns(stream).leaf_hash(envelope)
    }
}
