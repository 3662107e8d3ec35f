//! What `ledger activate` shows: with `--format json`, one object a line.

use crate::failure::Exit;
use api_wire::http::DeploymentStatus;
use ledger_core::event::{ClosureKind, FailureOutcome, FailureReason};
use ledger_core::names::{AgentName, StorePath, WorkspaceName};
use ledger_core::{ActivationId, DeploymentId, Position, Timestamp};
use serde::Serialize;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Item {
    /// What an agent was asked to do; one for each agent, first of all.
    Requested(Requested),
    /// A line of an agent's output.
    Output(Output),
    /// Something happened to a deployment.
    Status(Box<Status>),
    /// How it all ended; the last line.
    Summary(Summary),
}

/// What an agent was asked to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Requested {
    /// The activation.
    pub(crate) activation: ActivationId,
    /// Which agent.
    pub(crate) agent: AgentName,
    /// The deployment. None on a dry run.
    pub(crate) deployment: Option<DeploymentId>,
    /// Its number among the agent's. None on a dry run.
    pub(crate) index: Option<u64>,
    /// What to deploy.
    pub(crate) store_path: StorePath,
    /// Whether the agent was connected.
    pub(crate) connected: bool,
    /// When it was last connected, if it is not.
    pub(crate) last_seen: Option<Timestamp>,
    /// The deployment that must end first.
    pub(crate) waits_for: Option<DeploymentId>,
}

/// A line of an agent's output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Output {
    /// Which agent.
    pub(crate) agent: AgentName,
    /// Which deployment.
    pub(crate) deployment: DeploymentId,
    /// The line, without its end. What is not UTF-8 is replaced.
    pub(crate) line: String,
}

/// Something happened to a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Status {
    /// Which agent.
    pub(crate) agent: AgentName,
    /// Which deployment.
    pub(crate) deployment: DeploymentId,
    /// Its number among the agent's.
    pub(crate) index: Option<u64>,
    /// How it stands now.
    pub(crate) status: DeploymentStatus,
    /// The event that says so.
    pub(crate) event: String,
    /// Its place in the log.
    pub(crate) position: Position,
    /// When it was recorded.
    pub(crate) at: Timestamp,
    /// What else the event says, by its kind.
    #[serde(flatten)]
    pub(crate) detail: Detail,
    /// Whether the error that it carries ended the output, and was shown with it.
    #[serde(skip)]
    pub(crate) error_shown: bool,
}

/// What an event says beside the change of status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Detail {
    /// Nothing.
    None {},
    /// DeploymentSuperseded.
    Superseded {
        /// The newer deployment.
        superseded_by: DeploymentId,
    },
    /// ClosureFetched.
    Fetched {
        /// The closure's size.
        closure_bytes: u64,
        /// Its number of store paths.
        closure_paths: u64,
    },
    /// ActivationSucceeded.
    Activated {
        /// What the closure is.
        kind: ClosureKind,
        /// Nix's number of the profile link.
        generation: Option<u64>,
    },
    /// ActivationFailed.
    NotActivated {
        /// What the closure is.
        kind: ClosureKind,
        /// What the failing program returned.
        exit_status: Option<i32>,
    },
    /// DeploymentFailed.
    Failed {
        /// At which point and why.
        reason: FailureReason,
        /// What the machine runs now.
        outcome: FailureOutcome,
        /// What the failing program said, where the token may read it.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
}

/// How the whole activation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// Everything was checked, and nothing recorded.
    DryRun,
    /// It was recorded, and nobody waited.
    Requested,
    /// Every deployment that counts succeeded.
    Succeeded,
    /// A deployment failed, and its machine is not known to run what it ran before.
    Unknown,
    /// A deployment failed.
    Failed,
    /// The wait ended before the deployments did.
    TimedOut,
    /// The user stopped waiting.
    Interrupted,
    /// A deployment was called off.
    Cancelled,
    /// A newer activation took the place of a deployment.
    Superseded,
}

impl Verdict {
    /// Returns the exit code that says so.
    pub(crate) const fn exit(self) -> Exit {
        match self {
            Self::DryRun | Self::Requested | Self::Succeeded => Exit::Done,
            Self::Unknown => Exit::NotBack,
            Self::Failed
            | Self::TimedOut
            | Self::Interrupted
            | Self::Cancelled
            | Self::Superseded => Exit::Failed,
        }
    }
}

/// How it all ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Summary {
    /// The activation.
    pub(crate) activation: ActivationId,
    /// Whose agents.
    pub(crate) workspace: WorkspaceName,
    /// How it ended.
    pub(crate) outcome: Verdict,
    /// The exit code of the program.
    pub(crate) exit_code: u8,
    /// Each agent's part, by name.
    pub(crate) agents: Vec<Part>,
}

/// One agent's part, at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Part {
    /// Which agent.
    pub(crate) agent: AgentName,
    /// Which deployment. None on a dry run.
    pub(crate) deployment: Option<DeploymentId>,
    /// Its number among the agent's. None on a dry run.
    pub(crate) index: Option<u64>,
    /// What was to be deployed.
    pub(crate) store_path: StorePath,
    /// How it stands.
    pub(crate) status: DeploymentStatus,
    /// Whether it counts; with `--allow-offline` only what was connected does.
    pub(crate) counts: bool,
    /// When it started.
    pub(crate) started_at: Option<Timestamp>,
    /// When it ended.
    pub(crate) ended_at: Option<Timestamp>,
    /// Why it failed.
    pub(crate) reason: Option<FailureReason>,
    /// What the machine runs after the failure.
    pub(crate) outcome: Option<FailureOutcome>,
    /// The newer deployment that took its place.
    pub(crate) superseded_by: Option<DeploymentId>,
}
