//! Activations: what agents are asked to deploy.

use ledger_core::event::CiRun;
use ledger_core::ids::{ActivationId, DeploymentId, Position};
use ledger_core::names::{AgentName, StorePath, WorkspaceName};
use ledger_core::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Ask agents to deploy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ActivateRequest {
    /// The activation's id, which is the request id too.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::ActivationId))]
    pub id: ActivationId,
    /// The text of deploy.json, to the letter.
    pub spec: String,
    /// Only these of its agents; none means all.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schema(value_type = Vec<crate::schema::AgentName>))]
    pub agents: Vec<AgentName>,
    /// Check everything and record nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// The CI run that it came from.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schema(value_type = Option<crate::schema::CiRun>))]
    pub ci: Option<CiRun>,
    /// Free text. It can be erased later.
    #[serde(default)]
    pub description: Option<String>,
}

/// What an activation asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ActivateAnswer {
    /// Its id.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::ActivationId))]
    pub id: ActivationId,
    /// Whose agents.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::WorkspaceName))]
    pub workspace: WorkspaceName,
    /// Where its first event stands: follow the log from here. None on a dry run.
    #[cfg_attr(feature = "schema", schema(value_type = Option<crate::schema::Position>, required = true))]
    pub position: Option<Position>,
    /// One for each agent, by name.
    pub deployments: Vec<RequestedDeployment>,
}

/// One agent's part of an activation, at the moment of the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RequestedDeployment {
    /// Whose.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::AgentName))]
    pub agent: AgentName,
    /// Its id. None on a dry run.
    #[cfg_attr(feature = "schema", schema(value_type = Option<crate::schema::DeploymentId>, required = true))]
    pub id: Option<DeploymentId>,
    /// Its number among the agent's. None on a dry run.
    #[cfg_attr(feature = "schema", schema(value_type = Option<crate::schema::Integer>, required = true))]
    pub index: Option<u64>,
    /// What to deploy.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::StorePath))]
    pub store_path: StorePath,
    /// Whether the agent was connected.
    pub connected: bool,
    /// When the agent was last connected, if it is not.
    #[cfg_attr(feature = "schema", schema(value_type = Option<crate::schema::Timestamp>, required = true))]
    pub last_seen: Option<Timestamp>,
    /// The deployment that must end first.
    #[cfg_attr(feature = "schema", schema(value_type = Option<crate::schema::DeploymentId>, required = true))]
    pub waits_for: Option<DeploymentId>,
}
