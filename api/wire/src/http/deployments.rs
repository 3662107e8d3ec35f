//! Deployments.

use super::exact;
use ledger_core::event::{ClosureKind, FailureOutcome, FailureReason, OutputDigest};
use ledger_core::ids::{ActivationId, DeploymentId, Position, RequestId};
use ledger_core::names::{AgentName, StorePath, WorkspaceName};
use ledger_core::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Which deployments, the newest first. Filters are all to be met.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(deny_unknown_fields)]
pub struct DeploymentsQuery {
    /// Which workspace.
    #[cfg_attr(feature = "schema", param(value_type = crate::schema::WorkspaceName, required = false))]
    pub workspace: Option<WorkspaceName>,
    /// Only this agent's.
    #[cfg_attr(feature = "schema", param(value_type = crate::schema::AgentName, required = false))]
    pub agent: Option<AgentName>,
    /// Only those of this activation.
    #[cfg_attr(feature = "schema", param(value_type = crate::schema::ActivationId, required = false))]
    pub activation: Option<ActivationId>,
    /// Only those that stand so.
    #[cfg_attr(feature = "schema", param(value_type = DeploymentStatus, required = false))]
    pub status: Option<DeploymentStatus>,
    /// Only those requested before this position: the cursor of the page before.
    #[serde(default, deserialize_with = "exact")]
    #[cfg_attr(feature = "schema", param(value_type = crate::schema::Position, required = false))]
    pub before: Option<Position>,
    /// At most so many, 50 if not given; the server gives no more than 500.
    #[serde(default, deserialize_with = "exact")]
    #[cfg_attr(feature = "schema", param(value_type = crate::schema::Integer, required = false))]
    pub limit: Option<usize>,
}

/// Deployments, the newest first. A page may hold fewer than asked for, or none,
/// and yet not be the last: that is the one without `next`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct DeploymentList {
    /// The deployments.
    pub deployments: Vec<Deployment>,
    /// Where the next page begins, if there is one.
    #[cfg_attr(feature = "schema", schema(value_type = Option<crate::schema::Position>, required = true))]
    pub next: Option<Position>,
}

/// A deployment, with everything that the log says of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Deployment {
    /// Its id.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::DeploymentId))]
    pub id: DeploymentId,
    /// Whose.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::AgentName))]
    pub agent: AgentName,
    /// Its number among the agent's.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::Integer))]
    pub index: u64,
    /// The activation that asked for it.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::ActivationId))]
    pub activation: ActivationId,
    /// What to deploy.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::StorePath))]
    pub store_path: StorePath,
    /// How it stands.
    pub status: DeploymentStatus,
    /// Where its request stands in the log.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::Position))]
    pub position: Position,
    /// When it was requested.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::Timestamp))]
    pub requested_at: Timestamp,
    /// When it started.
    #[cfg_attr(feature = "schema", schema(value_type = Option<crate::schema::Timestamp>, required = true))]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[cfg_attr(feature = "schema", schema(value_type = Option<crate::schema::Timestamp>, required = true))]
    pub ended_at: Option<Timestamp>,
    /// The closure's size in bytes.
    #[cfg_attr(feature = "schema", schema(value_type = Option<crate::schema::Integer>, required = true))]
    pub closure_bytes: Option<u64>,
    /// How many store paths the closure has.
    #[cfg_attr(feature = "schema", schema(value_type = Option<crate::schema::Integer>, required = true))]
    pub closure_paths: Option<u64>,
    /// What the closure is.
    #[cfg_attr(feature = "schema", schema(value_type = Option<crate::schema::ClosureKind>, required = true))]
    pub kind: Option<ClosureKind>,
    /// Nix's number of the profile link.
    #[cfg_attr(feature = "schema", schema(value_type = Option<crate::schema::Integer>, required = true))]
    pub generation: Option<u64>,
    /// Where the profile pointed before.
    #[cfg_attr(feature = "schema", schema(value_type = Option<crate::schema::StorePath>, required = true))]
    pub previous: Option<StorePath>,
    /// The newer deployment that took its place.
    #[cfg_attr(feature = "schema", schema(value_type = Option<crate::schema::DeploymentId>, required = true))]
    pub superseded_by: Option<DeploymentId>,
    /// Why it failed.
    #[cfg_attr(feature = "schema", schema(value_type = Option<crate::schema::FailureReason>, required = true))]
    pub reason: Option<FailureReason>,
    /// What the machine runs after the failure.
    #[cfg_attr(feature = "schema", schema(value_type = Option<crate::schema::FailureOutcome>, required = true))]
    pub outcome: Option<FailureOutcome>,
    /// What the failing program said, unless it was erased.
    #[cfg_attr(feature = "schema", schema(required = true))]
    pub error: Option<String>,
    /// The evidence for its output.
    #[cfg_attr(feature = "schema", schema(value_type = Option<crate::schema::OutputDigest>, required = true))]
    pub output: Option<OutputDigest>,
}

/// How a deployment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
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
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CancelRequest {
    /// Made by the client.
    #[cfg_attr(feature = "schema", schema(value_type = crate::schema::RequestId))]
    pub request_id: RequestId,
    /// Free text.
    #[serde(default)]
    pub reason: Option<String>,
}
