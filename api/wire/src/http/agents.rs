//! Agents.

use super::DeploymentStatus;
use ledger_core::ids::{DeploymentId, Position, RequestId, SessionId};
use ledger_core::key::PublicKey;
use ledger_core::names::{AgentName, ProgramVersion, StorePath, System};
use ledger_core::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The agents of a workspace, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentList {
    /// The answer shows the log up to here.
    pub position: Position,
    /// The agents.
    pub agents: Vec<Agent>,
}

/// An agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// Its name.
    pub name: AgentName,
    /// Its open session.
    pub session: Option<SessionId>,
    /// When it connected, or when its last session ended.
    pub since: Option<Timestamp>,
    /// Whether it is out of service.
    pub retired: bool,
    /// The key that its name is pinned to.
    pub public_key: Option<PublicKey>,
    /// Its machine's system.
    pub system: Option<System>,
    /// Its program's version.
    pub version: Option<ProgramVersion>,
    /// The closure that was last deployed well.
    pub current: Option<StorePath>,
    /// What waits for it.
    pub pending: Option<DeploymentId>,
    /// What it runs.
    pub running: Option<DeploymentId>,
    /// The newest deployment that ended.
    pub last: Option<EndedDeployment>,
}

/// How a deployment ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedDeployment {
    /// Which.
    pub id: DeploymentId,
    /// Its number among the agent's.
    pub index: u64,
    /// How.
    pub status: DeploymentStatus,
    /// When that was recorded.
    pub at: Timestamp,
}

/// Let a name take another key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RekeyRequest {
    /// Made by the client.
    pub request_id: RequestId,
    /// The key to come. None takes the next agent to show itself.
    #[serde(default)]
    pub public_key: Option<PublicKey>,
    /// Free text.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Take an agent out of service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetireRequest {
    /// Made by the client.
    pub request_id: RequestId,
    /// Free text.
    #[serde(default)]
    pub reason: Option<String>,
}
