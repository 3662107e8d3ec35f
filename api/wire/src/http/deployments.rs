//! Deployments.

use ledger_core::event::{ClosureKind, FailureOutcome, FailureReason, OutputDigest};
use ledger_core::ids::{ActivationId, DeploymentId, Position, RequestId};
use ledger_core::names::{AgentName, StorePath, WorkspaceName};
use ledger_core::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Which deployments, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeploymentsQuery {
    /// Which workspace.
    pub workspace: Option<WorkspaceName>,
    /// Only this agent's.
    pub agent: Option<AgentName>,
    /// Only those requested before this position: the cursor of the page before.
    pub before: Option<Position>,
    /// At most so many; 50 if not given.
    pub limit: Option<usize>,
}

/// Deployments, the newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentList {
    /// The deployments.
    pub deployments: Vec<Deployment>,
    /// Where the next page begins, if there is one.
    pub next: Option<Position>,
}

/// A deployment, with everything that the log says of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// Its id.
    pub id: DeploymentId,
    /// Whose.
    pub agent: AgentName,
    /// Its number among the agent's.
    pub index: u64,
    /// The activation that asked for it.
    pub activation: ActivationId,
    /// What to deploy.
    pub store_path: StorePath,
    /// How it stands.
    pub status: DeploymentStatus,
    /// Where its request stands in the log.
    pub position: Position,
    /// When it was requested.
    pub requested_at: Timestamp,
    /// When it started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The closure's size in bytes.
    pub closure_bytes: Option<u64>,
    /// How many store paths the closure has.
    pub closure_paths: Option<u64>,
    /// What the closure is.
    pub kind: Option<ClosureKind>,
    /// Nix's number of the profile link.
    pub generation: Option<u64>,
    /// Where the profile pointed before.
    pub previous: Option<StorePath>,
    /// The newer deployment that took its place.
    pub superseded_by: Option<DeploymentId>,
    /// Why it failed.
    pub reason: Option<FailureReason>,
    /// What the machine runs after the failure.
    pub outcome: Option<FailureOutcome>,
    /// What the failing program said, unless it was erased.
    pub error: Option<String>,
    /// The evidence for its output.
    pub output: Option<OutputDigest>,
}

/// How a deployment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeploymentStatus {
    /// It waits for its agent.
    Pending,
    /// It runs.
    Running,
    /// It went well.
    Succeeded,
    /// It went badly.
    Failed,
    /// A newer one took its place before it started.
    Superseded,
    /// It was called off before it started.
    Cancelled,
}

impl DeploymentStatus {
    /// Returns the word in the JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Superseded => "superseded",
            Self::Cancelled => "cancelled",
        }
    }

    /// Returns whether nothing more will happen to it.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }
}

/// Call off what has not started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CancelRequest {
    /// Made by the client.
    pub request_id: RequestId,
    /// Free text.
    #[serde(default)]
    pub reason: Option<String>,
}
