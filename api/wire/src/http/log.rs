//! The log and the output, page by page.

use ledger_core::ids::{ActivationId, DeploymentId, EventId, Position, Version};
use ledger_core::names::{AgentName, WorkspaceName};
use ledger_core::record::Actor;
use ledger_core::stream::StreamId;
use ledger_core::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Which part of the log. Filters are all to be met.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogQuery {
    /// Which workspace. With a token for the whole ledger, none means all of it.
    pub workspace: Option<WorkspaceName>,
    /// The first position wanted, 1 if not given.
    pub from: Option<Position>,
    /// At most so many events; the server may give fewer.
    pub limit: Option<usize>,
    /// Only this stream.
    pub stream: Option<StreamId>,
    /// Only what is about this agent: its stream, and its comings and goings.
    pub agent: Option<AgentName>,
    /// Only this type.
    #[serde(rename = "type")]
    pub type_name: Option<String>,
    /// Only what belongs to this activation.
    pub activation: Option<ActivationId>,
    /// With no event to give, wait so many seconds for one.
    pub wait: Option<u64>,
}

/// A part of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogPage {
    /// The events that the filters let through.
    pub events: Vec<LogEvent>,
    /// Ask on from here. It moves past what the filters left out.
    pub next: Position,
    /// The newest position of the log.
    pub head: Position,
}

/// One event, with the keys of `ledger log --format jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogEvent {
    /// Its place in the log.
    pub position: Position,
    /// What it is about.
    pub stream: StreamId,
    /// Its place in the stream.
    pub version: Version,
    /// Its id.
    pub event_id: EventId,
    /// Its type.
    #[serde(rename = "type")]
    pub type_name: String,
    /// When it happened, as its producer claims.
    pub occurred_at: Timestamp,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// Who caused it.
    pub actor: Actor,
    /// What it belongs to.
    pub correlation_id: Option<EventId>,
    /// What led to it.
    pub causation_id: Option<EventId>,
    /// The payload, an object.
    pub payload: ledger_core::record::Json,
    /// The annex, where there is one and the token may read the workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annex: Option<ledger_core::Annex>,
}

/// Which output. Exactly one of activation and deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputQuery {
    /// Which workspace.
    pub workspace: Option<WorkspaceName>,
    /// That of every deployment of this activation.
    pub activation: Option<ActivationId>,
    /// That of this deployment.
    pub deployment: Option<DeploymentId>,
    /// Only what was stored after this cursor; 0 or none is from the start.
    pub after: Option<u64>,
    /// With nothing to give, wait so many seconds for something.
    pub wait: Option<u64>,
}

/// Some output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputPage {
    /// Chunks, in order for each deployment.
    pub chunks: Vec<OutputChunk>,
    /// Ask on with this cursor.
    pub next: u64,
}

/// A piece of a deployment's output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputChunk {
    /// Whose.
    pub deployment: DeploymentId,
    /// How many bytes came before.
    pub offset: u64,
    /// When it was stored.
    pub stored_at: Timestamp,
    /// The bytes, in base 64.
    pub bytes: String,
}
