//! Activations: what agents are asked to deploy.

use ledger_core::event::CiRun;
use ledger_core::ids::{ActivationId, DeploymentId, Position};
use ledger_core::names::{AgentName, StorePath, WorkspaceName};
use ledger_core::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Ask agents to deploy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActivateRequest {
    /// The activation's id, which is the request id too.
    pub id: ActivationId,
    /// The text of deploy.json, to the letter.
    pub spec: String,
    /// Only these of its agents; none means all.
    #[serde(default)]
    pub agents: Vec<AgentName>,
    /// Check everything and record nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// The CI run that it came from.
    #[serde(default)]
    pub ci: Option<CiRun>,
    /// Free text. It can be erased later.
    #[serde(default)]
    pub description: Option<String>,
}

/// What an activation asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivateAnswer {
    /// Its id.
    pub id: ActivationId,
    /// Whose agents.
    pub workspace: WorkspaceName,
    /// Where its first event stands: follow the log from here. None on a dry run.
    pub position: Option<Position>,
    /// One for each agent, by name.
    pub deployments: Vec<RequestedDeployment>,
}

/// One agent's part of an activation, at the moment of the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestedDeployment {
    /// Whose.
    pub agent: AgentName,
    /// Its id. None on a dry run.
    pub id: Option<DeploymentId>,
    /// Its number among the agent's. None on a dry run.
    pub index: Option<u64>,
    /// What to deploy.
    pub store_path: StorePath,
    /// Whether the agent was connected.
    pub connected: bool,
    /// When the agent was last connected, if it is not.
    pub last_seen: Option<Timestamp>,
    /// The deployment that must end first.
    pub waits_for: Option<DeploymentId>,
}
