//! The log and the output, page by page.

use super::exact;
use ledger_core::ids::{ActivationId, DeploymentId, EventId, Position, Version};
use ledger_core::names::{AgentName, WorkspaceName};
use ledger_core::record::Actor;
use ledger_core::stream::StreamId;
use ledger_core::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Which part of the log. Filters are all to be met.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(deny_unknown_fields)]
pub struct LogQuery {
    /// Which workspace. With a token for the whole ledger, none means all of it.
    #[cfg_attr(feature = "schema", param(value_type = crate::schema::WorkspaceName, required = false))]
    pub workspace: Option<WorkspaceName>,
    /// The first position wanted, 1 if not given.
    #[serde(default, deserialize_with = "exact")]
    #[cfg_attr(feature = "schema", param(value_type = crate::schema::Position, required = false))]
    pub from: Option<Position>,
    /// At most so many events; the server gives no more than 1000, and may give fewer.
    #[serde(default, deserialize_with = "exact")]
    #[cfg_attr(feature = "schema", param(value_type = crate::schema::Integer, required = false))]
    pub limit: Option<usize>,
    /// Only this stream.
    #[cfg_attr(feature = "schema", param(value_type = crate::schema::StreamId, required = false))]
    pub stream: Option<StreamId>,
    /// Only what is about this agent: its stream, and its comings and goings.
    #[cfg_attr(feature = "schema", param(value_type = crate::schema::AgentName, required = false))]
    pub agent: Option<AgentName>,
    /// Only this type.
    #[serde(rename = "type")]
    #[cfg_attr(feature = "schema", param(value_type = String, required = false))]
    pub type_name: Option<String>,
    /// Only what belongs to this activation.
    #[cfg_attr(feature = "schema", param(value_type = crate::schema::ActivationId, required = false))]
    pub activation: Option<ActivationId>,
    /// With no event to give, wait so many seconds for one, 25 at the most.
    #[serde(default, deserialize_with = "exact")]
    #[cfg_attr(feature = "schema", param(value_type = crate::schema::Integer, required = false))]
    pub wait: Option<u64>,
}

/// A part of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LogPage {
    /// The events that the filters let through.
    pub events: Vec<LogEvent>,
    /// Ask on from here. It moves past what the filters left out.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::Position))]
    pub next: Position,
    /// The newest position of the log.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::Position))]
    pub head: Position,
}

/// One event, with the keys of `ledger log --format jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LogEvent {
    /// Its place in the log.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::Position))]
    pub position: Position,
    /// What it is about.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::StreamId))]
    pub stream: StreamId,
    /// Its place in the stream.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::Version))]
    pub version: Version,
    /// Its id.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::EventId))]
    pub event_id: EventId,
    /// Its type.
    #[serde(rename = "type")]
    pub type_name: String,
    /// When it happened, as its producer claims.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::Timestamp))]
    pub occurred_at: Timestamp,
    /// When it was recorded.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::Timestamp))]
    pub recorded_at: Timestamp,
    /// Who caused it.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::Actor))]
    pub actor: Actor,
    /// What it belongs to.
    #[cfg_attr(feature = "schema", schema(value_type = Option<crate::schema::EventId>, required = true))]
    pub correlation_id: Option<EventId>,
    /// What led to it.
    #[cfg_attr(feature = "schema", schema(value_type = Option<crate::schema::EventId>, required = true))]
    pub causation_id: Option<EventId>,
    /// The payload, an object.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::Payload))]
    pub payload: ledger_core::record::Json,
    /// The annex, where there is one and the token may read the workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<crate::schema::Annex>))]
    pub annex: Option<ledger_core::Annex>,
}

/// Which output. Exactly one of activation and deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(deny_unknown_fields)]
pub struct OutputQuery {
    /// Which workspace.
    #[cfg_attr(feature = "schema", param(value_type = crate::schema::WorkspaceName, required = false))]
    pub workspace: Option<WorkspaceName>,
    /// That of every deployment of this activation.
    #[cfg_attr(feature = "schema", param(value_type = crate::schema::ActivationId, required = false))]
    pub activation: Option<ActivationId>,
    /// That of this deployment.
    #[cfg_attr(feature = "schema", param(value_type = crate::schema::DeploymentId, required = false))]
    pub deployment: Option<DeploymentId>,
    /// Only what was stored after this cursor; 0 or none is from the start.
    #[serde(default, deserialize_with = "exact")]
    #[cfg_attr(feature = "schema", param(value_type = crate::schema::Integer, required = false))]
    pub after: Option<u64>,
    /// With nothing to give, wait so many seconds for something, 25 at the most.
    #[serde(default, deserialize_with = "exact")]
    #[cfg_attr(feature = "schema", param(value_type = crate::schema::Integer, required = false))]
    pub wait: Option<u64>,
}

/// Some output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct OutputPage {
    /// Chunks, in order for each deployment.
    pub chunks: Vec<OutputChunk>,
    /// Ask on with this cursor.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::Integer))]
    pub next: u64,
}

/// A piece of a deployment's output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct OutputChunk {
    /// Whose.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::DeploymentId))]
    pub deployment: DeploymentId,
    /// How many bytes came before.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::Integer))]
    pub offset: u64,
    /// When it was stored.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::Timestamp))]
    pub stored_at: Timestamp,
    /// The bytes, in base 64.
    pub bytes: String,
}
