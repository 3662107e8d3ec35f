//! One workspace: its tokens, its agents and their sessions.

use crate::agent::Agent;
use crate::annex::Annex;
use crate::command::{Connection, NewEvent, TokenRequest};
use crate::event::{self, DisconnectReason, Event};
use crate::ids::{NodeId, SessionId, TokenId};
use crate::limits;
use crate::names::{AgentName, WorkspaceName};
use crate::rejection::Rejection;
use crate::rights::TokenKind;
use crate::stream::StreamId;
use crate::time::Timestamp;

/// What a workspace's streams say, as far as decisions need it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workspace {
    /// Whether it was created. A stream may be written before, by history's right.
    pub created: bool,
    /// The tokens issued here and not revoked.
    pub tokens: imbl::OrdSet<TokenId>,
    /// The agents that have shown themselves.
    pub agents: imbl::OrdMap<AgentName, Agent>,
    /// The open session of each connected agent.
    pub sessions: imbl::OrdMap<AgentName, Session>,
}

/// An open session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// The server that holds it.
    pub node: NodeId,
}

impl Workspace {
    /// Applies one recorded event of `workspace/<ws>` or `sessions/<ws>`.
    pub fn evolve(&mut self, event: &Event) {
        match event {
            Event::WorkspaceCreated(_) => self.created = true,
            Event::TokenIssued(event) => {
                self.tokens.insert(event.token);
            }
            Event::TokenRevoked(event) => {
                self.tokens.remove(&event.token);
            }
            Event::AgentConnected(event) => {
                let session = Session { id: event.session, node: event.node };
                self.sessions.insert(event.agent.clone(), session);
            }
            Event::AgentDisconnected(event) => self.end_session(&event.agent, event.session),
            Event::SessionsLost(event) => {
                for lost in &event.sessions {
                    self.end_session(&lost.agent, lost.session);
                }
            }
            // The events of the other streams.
            Event::AgentRegistered(_)
            | Event::AgentRekeyed(_)
            | Event::AgentRetired(_)
            | Event::DeploymentRequested(_)
            | Event::DeploymentSuperseded(_)
            | Event::DeploymentCancelled(_)
            | Event::DeploymentStarted(_)
            | Event::ClosureFetched(_)
            | Event::ActivationSucceeded(_)
            | Event::ActivationFailed(_)
            | Event::DeploymentSucceeded(_)
            | Event::DeploymentFailed(_)
            | Event::ActivationRequested(_)
            | Event::NodeStarted(_)
            | Event::NodeStopped(_)
            | Event::ClockConfirmed(_)
            | Event::NodeLost(_)
            | Event::SigningKeyAdded(_)
            | Event::ForkAccepted(_)
            | Event::AnnexErased(_) => {}
        }
    }

    /// An end that names another session than the current one changes nothing.
    fn end_session(&mut self, agent: &AgentName, session: SessionId) {
        if self.sessions.get(agent).is_some_and(|current| current.id == session) {
            self.sessions.remove(agent);
        }
    }

    /// Decides the creation.
    pub fn create(&self, name: &WorkspaceName) -> Result<Vec<NewEvent>, Rejection> {
        if self.created {
            return Err(Rejection::WorkspaceExists { workspace: name.clone() });
        }
        Ok(vec![NewEvent::new(StreamId::Workspace(name.clone()), event::WorkspaceCreated {})])
    }

    /// Decides to issue a token.
    pub fn issue_token(
        &self,
        name: &WorkspaceName,
        request: TokenRequest,
    ) -> Result<Vec<NewEvent>, Rejection> {
        let TokenRequest { token, kind, reach, agents, expires_at, hash, annex } = request;
        let limited = !agents.is_empty();
        if limited && !matches!(kind, TokenKind::Agent | TokenKind::Activate) {
            return Err(Rejection::PatternsNotAllowed { kind });
        }
        if agents.len() > limits::TOKEN_PATTERNS_MAX {
            return Err(Rejection::TooManyPatterns { max: limits::TOKEN_PATTERNS_MAX });
        }
        if reach == event::Reach::Ledger && !matches!(kind, TokenKind::Read | TokenKind::Admin) {
            return Err(Rejection::ReachNotAllowed { kind });
        }
        let issued = event::TokenIssued { token, kind, reach, agents, expires_at, hash };
        Ok(vec![NewEvent::new(StreamId::Workspace(name.clone()), issued).with_annex(annex)])
    }

    /// Decides to revoke a token.
    pub fn revoke_token(
        &self,
        name: &WorkspaceName,
        token: TokenId,
    ) -> Result<Vec<NewEvent>, Rejection> {
        if !self.tokens.contains(&token) {
            return Err(Rejection::TokenNotFound { token });
        }
        let revoked = event::TokenRevoked { token };
        Ok(vec![NewEvent::new(StreamId::Workspace(name.clone()), revoked)])
    }

    /// Decides whether an agent that proved a key may open a session.
    ///
    /// The first key under a name is pinned to it. A newer session of the same
    /// key replaces the older without a word in the log.
    pub fn connect(
        &self,
        name: &WorkspaceName,
        connection: Connection,
    ) -> Result<Vec<NewEvent>, Rejection> {
        let Connection { agent, key, session, node, version, system, annex } = connection;
        let known = self.agents.get(&agent);
        if known.is_some_and(|known| known.retired) {
            return Err(Rejection::AgentRetired { agent });
        }
        let pinned = known.and_then(|known| known.key);
        if pinned.is_some_and(|pinned| pinned != key) {
            return Err(Rejection::KeyMismatch { agent });
        }
        let mut events = Vec::new();
        if pinned.is_none() || known.is_none_or(|known| !known.registered) {
            let stream = StreamId::Agent(name.clone(), agent.clone());
            events.push(NewEvent::new(stream, event::AgentRegistered { public_key: key }));
        }
        let connected = event::AgentConnected { session, agent, node, version, system };
        events.push(NewEvent::new(StreamId::Sessions(name.clone()), connected).with_annex(annex));
        Ok(events)
    }

    /// Decides the end of a session. One that is not the current decides nothing.
    pub fn disconnect(
        &self,
        name: &WorkspaceName,
        agent: AgentName,
        session: SessionId,
        reason: DisconnectReason,
    ) -> Vec<NewEvent> {
        let current = self.sessions.get(&agent).filter(|current| current.id == session);
        let Some(&Session { node, .. }) = current else { return Vec::new() };
        let ended = event::AgentDisconnected { session, agent, node, reason };
        vec![NewEvent::new(StreamId::Sessions(name.clone()), ended)]
    }

    /// Decides what the death of a node did to the sessions it held here.
    pub fn lose_sessions(
        &self,
        name: &WorkspaceName,
        node: NodeId,
        alive_until: Timestamp,
    ) -> Vec<NewEvent> {
        let lost: Vec<event::LostSession> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.node == node)
            .map(|(agent, session)| event::LostSession {
                session: session.id,
                agent: agent.clone(),
            })
            .collect();
        lost.chunks(limits::SESSIONS_PER_EVENT_MAX)
            .map(|sessions| {
                let sessions = sessions.to_vec();
                let lost = event::SessionsLost { node, alive_until, sessions };
                NewEvent::new(StreamId::Sessions(name.clone()), lost)
            })
            .collect()
    }

    /// Decides to let a name take another key; a retired agent is back in service.
    pub fn rekey(
        &self,
        name: &WorkspaceName,
        agent: AgentName,
        public_key: Option<crate::key::PublicKey>,
        annex: Annex,
    ) -> Result<Vec<NewEvent>, Rejection> {
        if !self.agents.contains_key(&agent) {
            return Err(Rejection::AgentNotFound { agents: vec![agent] });
        }
        let stream = StreamId::Agent(name.clone(), agent);
        Ok(vec![NewEvent::new(stream, event::AgentRekeyed { public_key }).with_annex(annex)])
    }
}
