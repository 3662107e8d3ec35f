//! Commands, what they bring with them, and how they are refused.

use crate::activation::Activation;
use crate::agent::Report;
use crate::annex::Annex;
use crate::checkpoint::{Checkpoint, Origin};
use crate::event::{DisconnectReason, Event, Reach, SecretHash};
use crate::ids::{
    ActivationId, DeploymentId, EventId, NodeId, Position, RequestId, SessionId, TokenId,
};
use crate::key::PublicKey;
use crate::limits;
use crate::names::{AgentName, AgentPattern, ProgramVersion, System, WorkspaceName};
use crate::rights::TokenKind;
use crate::stream::StreamId;
use crate::time::Timestamp;

/// Something that somebody wants to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A server begins; what an earlier run of it left open is closed.
    StartNode {
        /// Which.
        node: NodeId,
        /// Its program's version.
        version: ProgramVersion,
        /// When an earlier run of it is last known to have lived, if anybody knows
        /// better than the log.
        alive_until: Option<Timestamp>,
    },
    /// A server is dead; what it left open is closed.
    LoseNode {
        /// Which.
        node: NodeId,
        /// The last moment at which it is proven to have lived.
        alive_until: Timestamp,
    },
    /// A server signs with a key from now on.
    AddSigningKey {
        /// Which.
        node: NodeId,
        /// The name of the log.
        origin: Origin,
        /// Its key.
        public_key: PublicKey,
    },
    /// An operator lets a server sign a log that does not continue what it signed.
    AcceptFork {
        /// Which.
        node: NodeId,
        /// What it had signed.
        signed: Checkpoint,
    },
    /// Erase an event's annex.
    EraseAnnex {
        /// The server that is asked.
        node: NodeId,
        /// Whose annex.
        position: Position,
        /// Who asked, with which words.
        annex: Annex,
    },
    /// A server ends in good order.
    StopNode {
        /// Which.
        node: NodeId,
    },
    /// An operator vouches for a clock that had jumped.
    ConfirmClock {
        /// The server whose clock it is.
        node: NodeId,
    },
    /// Create a workspace.
    CreateWorkspace {
        /// Its name.
        workspace: WorkspaceName,
    },
    /// Issue a token.
    IssueToken {
        /// In which workspace.
        workspace: WorkspaceName,
        /// Everything about it.
        request: TokenRequest,
    },
    /// Revoke a token.
    RevokeToken {
        /// Of which workspace.
        workspace: WorkspaceName,
        /// Which.
        token: TokenId,
    },
    /// Open an agent's session.
    Connect {
        /// In which workspace.
        workspace: WorkspaceName,
        /// Everything about it.
        connection: Connection,
    },
    /// End an agent's session.
    Disconnect {
        /// In which workspace.
        workspace: WorkspaceName,
        /// Whose.
        agent: AgentName,
        /// Which.
        session: SessionId,
        /// Why.
        reason: DisconnectReason,
    },
    /// Ask many agents to deploy.
    Activate(Activation),
    /// An agent claims a deployment.
    Start {
        /// In which workspace.
        workspace: WorkspaceName,
        /// Which agent.
        agent: AgentName,
        /// What it wants to begin.
        deployment: DeploymentId,
        /// Its session.
        session: SessionId,
    },
    /// An agent reports.
    Report {
        /// In which workspace.
        workspace: WorkspaceName,
        /// Which agent.
        agent: AgentName,
        /// About what.
        deployment: DeploymentId,
        /// What.
        report: Report,
        /// When, by the agent's clock.
        occurred_at: Timestamp,
    },
    /// Call off what has not started.
    Cancel {
        /// In which workspace.
        workspace: WorkspaceName,
        /// Whose.
        agent: AgentName,
        /// Which.
        deployment: DeploymentId,
        /// Who asked, with which words.
        annex: Annex,
    },
    /// Let an agent's name take another key.
    RekeyAgent {
        /// In which workspace.
        workspace: WorkspaceName,
        /// Which.
        agent: AgentName,
        /// The key to come, if it is known.
        public_key: Option<PublicKey>,
        /// Who asked, with which words.
        annex: Annex,
    },
    /// Take an agent out of service.
    RetireAgent {
        /// In which workspace.
        workspace: WorkspaceName,
        /// Which.
        agent: AgentName,
        /// Who asked, with which words.
        annex: Annex,
    },
}

/// A token to be issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRequest {
    /// Its id, fresh.
    pub token: TokenId,
    /// What it may do.
    pub kind: TokenKind,
    /// What it may see.
    pub reach: Reach,
    /// The names it is limited to.
    pub agents: Vec<AgentPattern>,
    /// When it stops being accepted.
    pub expires_at: Option<Timestamp>,
    /// The keyed hash of its secret.
    pub hash: SecretHash,
    /// Its description.
    pub annex: Annex,
}

/// An agent that proved a key and wants a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Its name.
    pub agent: AgentName,
    /// The key that it proved.
    pub key: PublicKey,
    /// The session, fresh.
    pub session: SessionId,
    /// The server that holds it.
    pub node: NodeId,
    /// The agent program's version.
    pub version: ProgramVersion,
    /// The machine's system.
    pub system: System,
    /// Where it came from.
    pub annex: Annex,
}

/// What a decision may know beside the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The moment that the events will be recorded at.
    pub now: Timestamp,
    /// The write that the command came in, from which event ids are derived.
    pub request: RequestId,
}

/// An event that a decision made, before the log gave it a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// What it is about.
    pub stream: StreamId,
    /// The fact.
    pub event: Event,
    /// What may be erased of it. Empty means none.
    pub annex: Annex,
    /// When it happened, if not now.
    pub occurred_at: Option<Timestamp>,
    /// What it belongs to.
    pub correlation_id: Option<EventId>,
    /// What led to it.
    pub causation_id: Option<EventId>,
}

impl NewEvent {
    /// Makes an event of a stream.
    pub fn new(stream: StreamId, event: impl Into<Event>) -> Self {
        Self {
            stream,
            event: event.into(),
            annex: Annex::default(),
            occurred_at: None,
            correlation_id: None,
            causation_id: None,
        }
    }

    /// Says which activation it belongs to.
    #[must_use]
    pub fn correlated(mut self, activation: ActivationId) -> Self {
        self.correlation_id = Some(EventId::new(activation.uuid()));
        self
    }

    /// Says which event led to it.
    #[must_use]
    pub fn caused_by(mut self, event: EventId) -> Self {
        self.causation_id = Some(event);
        self
    }

    /// Adds what may be erased.
    #[must_use]
    pub fn with_annex(mut self, annex: Annex) -> Self {
        self.annex = annex;
        self
    }
}

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
