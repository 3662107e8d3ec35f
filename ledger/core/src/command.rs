//! Commands, what they bring with them, and the events that they make.

use crate::activation::Activation;
use crate::agent::Report;
use crate::annex::Annex;
use crate::checkpoint::{Checkpoint, Origin};
use crate::event::{DisconnectReason, Event, Reach, SecretHash};
use crate::ids::{
    ActivationId, DeploymentId, EventId, NodeId, Position, RequestId, SessionId, TokenId,
};
use crate::key::PublicKey;
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
