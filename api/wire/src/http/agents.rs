//! Agents.

use super::{DeploymentStatus, exact};
use ledger_core::ids::{DeploymentId, Position, RequestId, SessionId};
use ledger_core::key::PublicKey;
use ledger_core::names::{
    AgentName, AgentPattern, ProgramVersion, StorePath, System, WorkspaceName,
};
use ledger_core::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Which agents, by name. Filters are all to be met.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(deny_unknown_fields)]
pub struct AgentsQuery {
    /// Which workspace; a token bound to one may leave it out.
    #[cfg_attr(feature = "schema", param(value_type = crate::schema::WorkspaceName, required = false))]
    pub workspace: Option<WorkspaceName>,
    /// Only those whose whole name the pattern matches.
    #[cfg_attr(feature = "schema", param(value_type = crate::schema::AgentPattern, required = false))]
    pub name: Option<AgentPattern>,
    /// Only those that are connected, or only those that are not.
    #[cfg_attr(feature = "schema", param(value_type = bool, required = false))]
    pub connected: Option<bool>,
    /// Only those after this name: the cursor of the page before.
    #[cfg_attr(feature = "schema", param(value_type = crate::schema::AgentName, required = false))]
    pub after: Option<AgentName>,
    /// At most so many; the server gives no more than 1000.
    #[serde(default, deserialize_with = "exact")]
    #[cfg_attr(feature = "schema", param(value_type = crate::schema::Integer, required = false))]
    pub limit: Option<usize>,
}

/// Agents of a workspace, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AgentList {
    /// The answer shows the log up to here.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::Position))]
    pub position: Position,
    /// The agents.
    pub agents: Vec<Agent>,
    /// Ask on after this name, if there are more.
    #[cfg_attr(feature = "schema", schema(value_type = Option<crate::schema::AgentName>, required = true))]
    pub next: Option<AgentName>,
}

/// An agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Agent {
    /// Its name.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::AgentName))]
    pub name: AgentName,
    /// Its open session.
    #[cfg_attr(feature = "schema", schema(value_type = Option<crate::schema::SessionId>, required = true))]
    pub session: Option<SessionId>,
    /// When it connected, or when its last session ended.
    #[cfg_attr(feature = "schema", schema(value_type = Option<crate::schema::Timestamp>, required = true))]
    pub since: Option<Timestamp>,
    /// Whether it is out of service.
    pub retired: bool,
    /// The key that its name is pinned to.
    #[cfg_attr(feature = "schema", schema(value_type = Option<crate::schema::PublicKey>, required = true))]
    pub public_key: Option<PublicKey>,
    /// Its machine's system.
    #[cfg_attr(feature = "schema", schema(value_type = Option<crate::schema::System>, required = true))]
    pub system: Option<System>,
    /// Its program's version.
    #[cfg_attr(feature = "schema", schema(value_type = Option<crate::schema::ProgramVersion>, required = true))]
    pub version: Option<ProgramVersion>,
    /// The closure that was last deployed well.
    #[cfg_attr(feature = "schema", schema(value_type = Option<crate::schema::StorePath>, required = true))]
    pub current: Option<StorePath>,
    /// What waits for it.
    #[cfg_attr(feature = "schema", schema(value_type = Option<crate::schema::DeploymentId>, required = true))]
    pub pending: Option<DeploymentId>,
    /// What it runs.
    #[cfg_attr(feature = "schema", schema(value_type = Option<crate::schema::DeploymentId>, required = true))]
    pub running: Option<DeploymentId>,
    /// The newest deployment that ended.
    #[cfg_attr(feature = "schema", schema(required = true))]
    pub last: Option<EndedDeployment>,
}

/// How a deployment ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct EndedDeployment {
    /// Which.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::DeploymentId))]
    pub id: DeploymentId,
    /// Its number among the agent's.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::Integer))]
    pub index: u64,
    /// How.
    pub status: DeploymentStatus,
    /// When that was recorded.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::Timestamp))]
    pub at: Timestamp,
}

/// Let a name take another key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RekeyRequest {
    /// Made by the client.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::RequestId))]
    pub request_id: RequestId,
    /// The key to come. None takes the next agent to show itself.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schema(value_type = Option<crate::schema::PublicKey>))]
    pub public_key: Option<PublicKey>,
    /// Free text.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Take an agent out of service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RetireRequest {
    /// Made by the client.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::RequestId))]
    pub request_id: RequestId,
    /// Free text.
    #[serde(default)]
    pub reason: Option<String>,
}
