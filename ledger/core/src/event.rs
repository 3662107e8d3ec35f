//! Events: the closed list of facts, and their stored form.
//!
//! The variant's name is the stored `type`; the payload is the struct as JSON.
//! Released names of variants and fields are never changed or removed: a new
//! shape is a new variant, and [`Event::decode`] lifts the old one. Payloads hold
//! no float, no integer beyond 2^53 and nothing personal.

mod parts;

pub(crate) use parts::words;
pub use parts::{
    CancelReason, CiRun, CiText, ClosureKind, Digest, DisconnectReason, FailureOutcome,
    FailureReason, LostSession, OutputDigest, Reach, SecretHash,
};

use crate::checkpoint::Origin;
use crate::ids::{ActivationId, DeploymentId, NodeId, Position, SessionId, TokenId};
use crate::key::PublicKey;
use crate::merkle::NodeHash;
use crate::names::{AgentName, AgentPattern, ProgramVersion, StorePath, System, WorkspaceName};
use crate::rights::TokenKind;
use crate::time::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Why stored bytes are no event that this program knows.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// A newer program wrote it.
    #[error(
        "the event type {0:?} is not known to this version of Ledger: a newer one wrote it, or the log is damaged"
    )]
    UnknownType(String),
    /// The payload does not have the shape of its type.
    #[error("the payload of a {type_name} cannot be read")]
    Payload {
        /// The stored type.
        type_name: String,
        /// What is wrong with it, and where.
        #[source]
        source: serde_json::Error,
    },
}

/// Reads JSON. That it is UTF-8 is checked for all of it at once, not word by word.
fn read<T: DeserializeOwned>(payload: &[u8]) -> Result<T, serde_json::Error> {
    match str::from_utf8(payload) {
        Ok(text) => serde_json::from_str(text),
        // This one says where it is wrong.
        Err(_) => serde_json::from_slice(payload),
    }
}

macro_rules! events {
    ($($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
            pub struct $name { $($(#[$fdoc])* pub $field: $type,)* }

            impl From<$name> for Event {
                fn from(event: $name) -> Self {
                    Self::$name(event)
                }
            }
        )*

        /// A fact.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Event {
            $($(#[$doc])* $name($name),)*
        }

        impl Event {
            /// Every type's name, in the order of this file.
            pub const TYPE_NAMES: &[&str] = &[$(stringify!($name)),*];

            /// Returns the stored and printed name of the event's type.
            pub const fn type_name(&self) -> &'static str {
                match self { $(Self::$name(_) => stringify!($name),)* }
            }

            /// Returns the payload's bytes: JSON in the order of the fields.
            pub fn encode(&self) -> Vec<u8> {
                // Most have some 170 bytes, and none of these is moved while it grows.
                let mut bytes = Vec::with_capacity(256);
                let encoded = match self {
                    $(Self::$name(event) => serde_json::to_writer(&mut bytes, event),)*
                };
                // Structs of strings, numbers and maps with string keys cannot fail to encode.
                encoded.map_or_else(|_| Vec::new(), |()| bytes)
            }

            /// Reads an event from its stored type and payload.
            pub fn decode(type_name: &str, payload: &[u8]) -> Result<Self, DecodeError> {
                match type_name {
                    $(stringify!($name) => read(payload).map(Self::$name),)*
                    _ => return Err(DecodeError::UnknownType(type_name.chars().take(96).collect())),
                }
                .map_err(|source| DecodeError::Payload { type_name: type_name.to_owned(), source })
            }
        }
    };
}

events! {
    // workspace/<ws>

    /// A workspace came to be.
    WorkspaceCreated {}
    /// A token was handed out; its secret is nowhere in the log.
    TokenIssued {
        /// Names the token from now on.
        token: TokenId,
        /// What it may do.
        kind: TokenKind,
        /// What it may see.
        reach: Reach,
        /// The agent names it is limited to; none means every name.
        agents: Vec<AgentPattern>,
        /// When it stops being accepted.
        expires_at: Option<Timestamp>,
        /// BLAKE3 of the secret under the server's own key.
        hash: SecretHash,
    }
    /// A token is accepted no longer.
    TokenRevoked {
        /// Which.
        token: TokenId,
    }

    // sessions/<ws>

    /// An agent opened a session.
    AgentConnected {
        /// The session, which replaces any that the agent had.
        session: SessionId,
        /// Whose.
        agent: AgentName,
        /// The server that holds the connection.
        node: NodeId,
        /// The agent program's version.
        version: ProgramVersion,
        /// The Nix system of the machine.
        system: System,
    }
    /// A session ended.
    AgentDisconnected {
        /// Which.
        session: SessionId,
        /// Whose.
        agent: AgentName,
        /// The server that held it.
        node: NodeId,
        /// Why.
        reason: DisconnectReason,
    }
    /// A server died with sessions open.
    SessionsLost {
        /// The dead server.
        node: NodeId,
        /// The last moment at which it is proven to have lived.
        alive_until: Timestamp,
        /// What it held.
        sessions: Vec<LostSession>,
    }

    // agent/<ws>/<name>

    /// An agent showed itself for the first time, or again after a rekey.
    AgentRegistered {
        /// The key that its name is pinned to.
        public_key: PublicKey,
    }
    /// An operator let a name take another key.
    AgentRekeyed {
        /// The key to come. Without it, the next agent to show itself is taken.
        public_key: Option<PublicKey>,
    }
    /// An operator took an agent out of service.
    AgentRetired {}
    /// An agent was asked to deploy. The event's id is the deployment's.
    DeploymentRequested {
        /// The activation that asked.
        activation: ActivationId,
        /// What to deploy.
        store_path: StorePath,
        /// The rollback script for the agent's system, carried for a later use.
        rollback_script: Option<StorePath>,
    }
    /// A deployment that had not started gave way to a newer one.
    DeploymentSuperseded {
        /// Which gave way.
        deployment: DeploymentId,
        /// To which.
        by: DeploymentId,
    }
    /// A deployment that had not started was called off.
    DeploymentCancelled {
        /// Which.
        deployment: DeploymentId,
        /// Why.
        reason: CancelReason,
    }
    /// An agent claimed a deployment and begins.
    DeploymentStarted {
        /// Which.
        deployment: DeploymentId,
        /// The session that claimed it.
        session: SessionId,
    }
    /// The closure is on the machine.
    ClosureFetched {
        /// Whose.
        deployment: DeploymentId,
        /// The sum of the NAR sizes of the closure's paths, in bytes.
        closure_bytes: u64,
        /// How many store paths the closure has.
        closure_paths: u64,
    }
    /// The closure was activated.
    ActivationSucceeded {
        /// Whose.
        deployment: DeploymentId,
        /// What kind of closure it is.
        kind: ClosureKind,
        /// Nix's own number of the profile link, where there is one.
        generation: Option<u64>,
        /// Where the profile pointed before.
        previous: Option<StorePath>,
    }
    /// The closure could not be activated.
    ActivationFailed {
        /// Whose.
        deployment: DeploymentId,
        /// What kind of closure it is.
        kind: ClosureKind,
        /// What the failing program returned; none when a signal ended it or no status is known.
        exit_status: Option<i32>,
        /// Where the profile pointed before.
        previous: Option<StorePath>,
    }
    /// A deployment ended well.
    DeploymentSucceeded {
        /// Which.
        deployment: DeploymentId,
        /// Its output lines, which stand in their own table.
        output: OutputDigest,
    }
    /// A deployment ended badly.
    DeploymentFailed {
        /// Which.
        deployment: DeploymentId,
        /// At which point and why.
        reason: FailureReason,
        /// What the machine runs now.
        outcome: FailureOutcome,
        /// Its output lines, which stand in their own table. None where nobody could
        /// vouch for them: the agent was retired meanwhile.
        output: Option<OutputDigest>,
    }

    // activation/<id>

    /// Somebody asked many agents to deploy.
    ActivationRequested {
        /// Whose agents.
        workspace: WorkspaceName,
        /// BLAKE3 of the spec as it was given.
        spec_digest: Digest,
        /// How many agents it is for.
        agents: u64,
        /// The rollback scripts by system, carried for a later use.
        rollback_scripts: BTreeMap<System, StorePath>,
        /// The CI run that it came from.
        ci: Option<CiRun>,
    }

    // node/<id>

    /// A server began.
    NodeStarted {
        /// The server program's version.
        version: ProgramVersion,
    }
    /// A server ended in good order.
    NodeStopped {}
    /// An operator vouched for a clock that had jumped.
    ClockConfirmed {
        /// The last moment recorded before.
        last_recorded_at: Timestamp,
        /// What the clock says.
        clock: Timestamp,
    }
    /// A server died: it ended without saying so.
    NodeLost {
        /// The last moment at which it is proven to have lived.
        alive_until: Timestamp,
    }
    /// A server signs checkpoints with this key from now on.
    SigningKeyAdded {
        /// The name of the log, under which it signs.
        origin: Origin,
        /// The key that verifies them.
        public_key: PublicKey,
    }
    /// An operator let a server sign a log that does not continue what the server
    /// had signed before, as after a backup was restored.
    ForkAccepted {
        /// The size that it had signed.
        size: u64,
        /// The root that it had signed.
        root: NodeHash,
    }
    /// An event's annex was erased.
    AnnexErased {
        /// Whose.
        position: Position,
    }
}
