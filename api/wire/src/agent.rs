//! The agent's socket: `GET /v1/agent/socket`, WebSocket, one JSON object per
//! text message, at most [`ledger_core::limits::MESSAGE_BYTES_MAX`] bytes.
//!
//! The server speaks first. A session is open from [`FromServer::Welcome`] on:
//!
//! ```text
//! server → Challenge        agent → Hello (signs it)       server → Welcome | Goodbye
//!                           agent → History                server → History
//! server → Events…          agent → Claim                  server → Claimed | ClaimRefused
//!                           agent → Output, Report         server → Acknowledged | Refused
//! ```
//!
//! Claims, reports and outputs carry a request id that the agent made and synced
//! before it sent them. It sends them again, on a later session too, until they
//! are answered, and they count once.

use ledger_core::agent::Report;
use ledger_core::ids::{
    ActivationId, DeploymentId, EventId, NodeId, Position, RequestId, SessionId, Version,
};
use ledger_core::key::PublicKey;
use ledger_core::merkle::NodeHash;
use ledger_core::names::{AgentName, ProgramVersion, StorePath, System, WorkspaceName};
use ledger_core::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The socket's path.
pub const PATH: &str = "/v1/agent/socket";

/// What the server says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromServer {
    /// The first message: prove your key over this.
    Challenge {
        /// The server, which the proof names.
        node: NodeId,
        /// The workspace that the token belongs to.
        workspace: WorkspaceName,
        /// 32 fresh random bytes, in base 64.
        nonce: String,
    },
    /// The session is open.
    Welcome {
        /// Its id.
        session: SessionId,
        /// The newest version of the agent's stream. Beneath the agent's cursor
        /// it means that history was rolled back.
        head: Version,
        /// What is pending now, whether or not its request is after the cursor.
        pending: Option<Pending>,
        /// What the log says that the agent runs.
        running: Option<DeploymentId>,
        /// How often both sides ping, in milliseconds. After three times as
        /// long without a sign of life, either side ends the connection.
        ping_interval_ms: u64,
    },
    /// The answer to [`FromAgent::History`]: what the log is, and that it only grew.
    History {
        /// The newest signed checkpoint; none before the first.
        checkpoint: Option<String>,
        /// The hashes that lead from the log that the agent knows to that of the
        /// checkpoint (RFC 6962, 2.1.2). Empty where that cannot be.
        proof: Vec<NodeHash>,
        /// The keys that sign, as C2SP writes verifier keys.
        keys: Vec<String>,
    },
    /// Events of the agent's stream, gapless and in order.
    Events {
        /// At least one.
        events: Vec<StreamEvent>,
    },
    /// The deployment is recorded as started: begin.
    Claimed {
        /// The claim's id.
        request_id: RequestId,
        /// Which.
        deployment: DeploymentId,
    },
    /// A report is in the log, or output in its table: it need not be sent again.
    Acknowledged {
        /// The report's or output's id.
        request_id: RequestId,
    },
    /// A claim, report or output is refused for good: sending it again changes nothing.
    Refused {
        /// Its id.
        request_id: RequestId,
        /// One of [`crate::problem::Code`].
        code: crate::problem::Code,
        /// What is wrong, for people.
        detail: String,
    },
    /// The last message: the connection is closed after it.
    Goodbye {
        /// Why.
        reason: GoodbyeReason,
        /// The same for people, with what to do next.
        detail: String,
        /// How long to wait before connecting again, at the least, in milliseconds.
        retry_after_ms: Option<u64>,
    },
}

/// Why the server ends a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GoodbyeReason {
    /// The same key connected again, from here or elsewhere: stay away.
    Replaced,
    /// The name belongs to another key: stay away until an operator rekeys it.
    KeyMismatch,
    /// The agent is retired, or was rekeyed to another key: stay away.
    Retired,
    /// The token ended, was revoked or does not cover the name: stay away.
    TokenRefused,
    /// The agent said what the protocol does not allow. A defect; come again later.
    ProtocolError,
    /// Nothing was heard for too long. Come again.
    TimedOut,
    /// The server stops or cannot write its log. Come again.
    Unavailable,
}

impl GoodbyeReason {
    /// Returns whether connecting again is of no use until a person acted.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Replaced | Self::KeyMismatch | Self::Retired | Self::TokenRefused => true,
            Self::ProtocolError | Self::TimedOut | Self::Unavailable => false,
        }
    }
}

/// A deployment that waits for its agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Its id.
    pub deployment: DeploymentId,
    /// Its number among the agent's.
    pub index: u64,
    /// The activation that asked for it.
    pub activation: ActivationId,
    /// What to deploy.
    pub store_path: StorePath,
}

/// One event of the agent's stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamEvent {
    /// Its place in the log.
    pub position: Position,
    /// Its place in the stream.
    pub version: Version,
    /// Its id.
    pub event_id: EventId,
    /// Its type's name. An agent skips what it does not know.
    #[serde(rename = "type")]
    pub type_name: String,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// The payload, as JSON text.
    pub payload: String,
    /// With the newest DeploymentRequested: the deployment's number among the agent's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
}

/// What the agent says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum FromAgent {
    /// The answer to the challenge.
    Hello {
        /// The name that the agent goes by.
        agent: AgentName,
        /// The agent program's version.
        version: ProgramVersion,
        /// The Nix system of the machine.
        system: System,
        /// Its key.
        public_key: PublicKey,
        /// The key's signature over [`ledger_core::key::session_proof`], in base 64.
        signature: String,
        /// The newest version of its stream that it has seen. None without state.
        cursor: Option<Version>,
    },
    /// Show the newest checkpoint, and that it continues what this agent has seen.
    /// Asked first of all on a session, and about once an hour.
    History {
        /// The size of the log that the agent knows; none if it knows none.
        size: Option<u64>,
    },
    /// May this deployment begin?
    Claim {
        /// Made and synced by the agent.
        request_id: RequestId,
        /// Which.
        deployment: DeploymentId,
    },
    /// Something happened to the deployment that runs.
    Report {
        /// Made and synced by the agent.
        request_id: RequestId,
        /// Which deployment.
        deployment: DeploymentId,
        /// What.
        report: Report,
        /// When, by the agent's clock.
        occurred_at: Timestamp,
    },
    /// Some output of the deployment that runs.
    Output {
        /// Made by the agent; the same chunk keeps it.
        request_id: RequestId,
        /// Which deployment.
        deployment: DeploymentId,
        /// How many bytes of the output came before. Chunks are sent in order.
        offset: u64,
        /// The bytes, in base 64; at most
        /// [`ledger_core::limits::OUTPUT_CHUNK_BYTES_MAX`] of them.
        bytes: String,
    },
    /// The agent stops in good order.
    Goodbye {},
}
