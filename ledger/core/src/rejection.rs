//! How commands are refused.

use crate::checkpoint::Origin;
use crate::ids::{DeploymentId, NodeId, TokenId};
use crate::limits;
use crate::names::{AgentName, WorkspaceName};
use crate::rights::TokenKind;

/// Why the domain refuses a command. Nothing was recorded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// No such workspace.
    #[error("there is no workspace {workspace}")]
    WorkspaceNotFound {
        /// The name given.
        workspace: WorkspaceName,
    },
    /// The server that asks was recorded as lost meanwhile.
    #[error("the server {node} was recorded as lost; it starts again before it goes on")]
    NodeLost {
        /// Which.
        node: NodeId,
    },
    /// The log has another name.
    #[error("the name of this log is {known}, not {origin}; a log keeps its name for ever")]
    OriginMismatch {
        /// The name that it has.
        known: Origin,
        /// The name given.
        origin: Origin,
    },
    /// The name is taken.
    #[error("the workspace {workspace} exists already")]
    WorkspaceExists {
        /// The name given.
        workspace: WorkspaceName,
    },
    /// No such token, or revoked already.
    #[error("there is no token {token} in this workspace that could be revoked")]
    TokenNotFound {
        /// The id given.
        token: TokenId,
    },
    /// Only some kinds of token can be limited to agents.
    #[error("a token of kind {kind} cannot be limited to agents; only agent and activate can")]
    PatternsNotAllowed {
        /// The kind asked for.
        kind: TokenKind,
    },
    /// Too many patterns.
    #[error("a token takes at most {max} agent patterns")]
    TooManyPatterns {
        /// How many it takes.
        max: usize,
    },
    /// Only some kinds of token can reach the whole ledger.
    #[error(
        "a token of kind {kind} is bound to one workspace; only read and admin can reach the whole ledger"
    )]
    ReachNotAllowed {
        /// The kind asked for.
        kind: TokenKind,
    },
    /// These agents never showed themselves.
    #[error("unknown agent{}: {}", if agents.len() == 1 { "" } else { "s" }, names(agents))]
    AgentNotFound {
        /// The names given.
        agents: Vec<AgentName>,
    },
    /// The agent is out of service.
    #[error("the agent {agent} is retired; `ledger agents rekey {agent}` brings it back")]
    AgentRetired {
        /// Which.
        agent: AgentName,
    },
    /// The name is pinned to another key.
    #[error(
        "the name {agent} belongs to another key; if this machine is to take it over, an operator runs `ledger agents rekey {agent}`"
    )]
    KeyMismatch {
        /// Which.
        agent: AgentName,
    },
    /// A newer session took the claiming one's place, or it is over.
    #[error(
        "this session of the agent {agent} is over or another took its place; only the current one may begin a deployment"
    )]
    SessionReplaced {
        /// Whose.
        agent: AgentName,
    },
    /// Another deployment runs, and runs to its end first.
    #[error("deployment {running} runs and must end before {deployment} may start")]
    AgentBusy {
        /// What was claimed.
        deployment: DeploymentId,
        /// What runs.
        running: DeploymentId,
    },
    /// No such deployment, or one that ended long ago.
    #[error("there is no deployment {deployment} of this agent that is pending or running")]
    DeploymentNotFound {
        /// The id given.
        deployment: DeploymentId,
    },
    /// A newer one took its place.
    #[error("deployment {deployment} was superseded by a newer one before it started")]
    DeploymentSuperseded {
        /// The id given.
        deployment: DeploymentId,
    },
    /// It was called off.
    #[error("deployment {deployment} was cancelled before it started")]
    DeploymentCancelled {
        /// The id given.
        deployment: DeploymentId,
    },
    /// It has begun, so that it can no longer be called off.
    #[error(
        "deployment {deployment} has started and runs to its end; activate the older closure to go back"
    )]
    DeploymentStarted {
        /// The id given.
        deployment: DeploymentId,
    },
    /// It is over.
    #[error("deployment {deployment} has ended already")]
    DeploymentEnded {
        /// The id given.
        deployment: DeploymentId,
    },
    /// A report with a number that no event may hold.
    #[error(
        "the report about deployment {deployment} gives {field} as {value}, which is beyond {max}; upgrade the agent, or look for what is wrong on its machine",
        max = limits::EVENT_INTEGER_MAX
    )]
    ReportInvalid {
        /// The id given.
        deployment: DeploymentId,
        /// Which number.
        field: &'static str,
        /// What it is.
        value: u64,
    },
    /// A report that does not follow what was reported before.
    #[error("the report about deployment {deployment} does not follow what was reported before")]
    ReportOutOfOrder {
        /// The id given.
        deployment: DeploymentId,
    },
}

/// Joins names for a sentence, the first ten of them.
fn names(agents: &[AgentName]) -> String {
    let mut text = agents.iter().take(10).map(AgentName::as_str).collect::<Vec<_>>().join(", ");
    if agents.len() > 10 {
        text.push_str(&format!(" and {} more", agents.len() - 10));
    }
    text
}

impl Rejection {
    /// Returns the stable code that the API and the agent's protocol use.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::WorkspaceNotFound { .. } => "workspace_not_found",
            Self::NodeLost { .. } => "node_lost",
            Self::OriginMismatch { .. } => "origin_mismatch",
            Self::WorkspaceExists { .. } => "workspace_exists",
            Self::TokenNotFound { .. } => "token_not_found",
            Self::PatternsNotAllowed { .. } => "patterns_not_allowed",
            Self::TooManyPatterns { .. } => "too_many_patterns",
            Self::ReachNotAllowed { .. } => "reach_not_allowed",
            Self::AgentNotFound { .. } => "agent_not_found",
            Self::AgentRetired { .. } => "agent_retired",
            Self::KeyMismatch { .. } => "key_mismatch",
            Self::SessionReplaced { .. } => "session_replaced",
            Self::AgentBusy { .. } => "agent_busy",
            Self::DeploymentNotFound { .. } => "deployment_not_found",
            Self::DeploymentSuperseded { .. } => "superseded",
            Self::DeploymentCancelled { .. } => "cancelled",
            Self::DeploymentStarted { .. } => "already_started",
            Self::DeploymentEnded { .. } => "already_ended",
            Self::ReportInvalid { .. } => "report_invalid",
            Self::ReportOutOfOrder { .. } => "report_out_of_order",
        }
    }
}
