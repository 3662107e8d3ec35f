//! The state that decisions are taken from: a fold over the whole log.

use crate::agent::Agent;
use crate::checkpoint::{Checkpoint, Origin};
use crate::command::{Command, Context, NewEvent};
use crate::event::{self, Event};
use crate::ids::{EventId, NodeId};
use crate::key::PublicKey;
use crate::names::{AgentName, WorkspaceName};
use crate::node::Node;
use crate::record::Record;
use crate::rejection::Rejection;
use crate::stream::StreamId;
use crate::time::Timestamp;
use crate::workspace::Workspace;

/// Everything that a decision may depend on, bounded by the fleet.
///
/// Cloning costs nothing that grows: the maps share their structure, and what changes
/// is copied as long as a clone is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The workspaces, with their tokens, agents and sessions.
    pub workspaces: imbl::OrdMap<WorkspaceName, Workspace>,
    /// The servers.
    pub nodes: imbl::OrdMap<NodeId, Node>,
    /// The name of the log, once a server signs it.
    pub origin: Option<Origin>,
    /// The keys that sign, or signed, checkpoints of it.
    pub signing_keys: imbl::OrdSet<PublicKey>,
    /// When the newest event was recorded.
    pub last_recorded_at: Option<Timestamp>,
}

/// Changes what a map has under a key; what it does not have is made.
///
/// As `entry` does, which looks the key up twice and takes one of its own.
pub fn edit<K: Clone + Ord, V: Clone + Default>(
    map: &mut imbl::OrdMap<K, V>,
    key: &K,
    change: impl FnOnce(&mut V),
) {
    if let Some(value) = map.get_mut(key) {
        return change(value);
    }
    let mut value = V::default();
    change(&mut value);
    map.insert(key.clone(), value);
}

impl State {
    /// Applies one record. A record that this program cannot read changes nothing.
    pub fn apply(&mut self, record: &Record) {
        if let Ok(event) = record.event() {
            self.evolve(&record.stream, record.event_id, record.recorded_at, &event);
        }
    }

    /// Applies one event. Total: it accepts every event in every state.
    pub fn evolve(
        &mut self,
        stream: &StreamId,
        event_id: EventId,
        recorded_at: Timestamp,
        event: &Event,
    ) {
        self.last_recorded_at = self.last_recorded_at.max(Some(recorded_at));
        match stream {
            StreamId::Workspace(ws) | StreamId::Sessions(ws) => {
                edit(&mut self.workspaces, ws, |workspace| workspace.evolve(event));
                // Whoever takes a session in lives.
                if let Event::AgentConnected(connected) = event
                    && let Some(node) = self.nodes.get_mut(&connected.node)
                {
                    node.seen_at = node.seen_at.max(recorded_at);
                }
            }
            StreamId::Agent(ws, name) => {
                edit(&mut self.workspaces, ws, |workspace| {
                    edit(&mut workspace.agents, name, |agent| agent.evolve(event_id, event));
                });
            }
            StreamId::Node(node) => {
                edit(&mut self.nodes, node, |node| node.evolve(recorded_at, event));
                if let Event::SigningKeyAdded(added) = event {
                    self.origin.get_or_insert_with(|| added.origin.clone());
                    self.signing_keys.insert(added.public_key);
                }
            }
            // Nothing is decided from these: an activation is complete or absent.
            StreamId::Activation(_) | StreamId::Health(_) => {}
        }
    }

    /// Decides what the command makes happen.
    ///
    /// A command that has already taken effect decides nothing, so that a client
    /// may repeat it. Nothing is changed here: the events are, once recorded,
    /// applied by [`State::apply`].
    pub fn decide(&self, command: Command, context: Context) -> Result<Vec<NewEvent>, Rejection> {
        match command {
            Command::StartNode { node, version, alive_until } => {
                Ok(self.start_node(node, version, alive_until))
            }
            Command::LoseNode { node, alive_until } => Ok(self.lose_node(node, alive_until)),
            Command::AddSigningKey { node, origin, public_key } => {
                self.add_signing_key(node, origin, public_key)
            }
            Command::AcceptFork { node, signed: Checkpoint { size, root, .. } } => {
                let accepted = event::ForkAccepted { size, root };
                Ok(vec![NewEvent::new(StreamId::Node(node), accepted)])
            }
            Command::EraseAnnex { node, position, annex } => {
                let erased = event::AnnexErased { position };
                Ok(vec![NewEvent::new(StreamId::Node(node), erased).with_annex(annex)])
            }
            Command::StopNode { node } => Ok(self.stop_node(node)),
            Command::ConfirmClock { node } => {
                let last_recorded_at = self.last_recorded_at.unwrap_or(context.now);
                let confirmed = event::ClockConfirmed { last_recorded_at, clock: context.now };
                Ok(vec![NewEvent::new(StreamId::Node(node), confirmed)])
            }
            Command::CreateWorkspace { workspace } => {
                let none = Workspace::default();
                self.workspaces.get(&workspace).unwrap_or(&none).create(&workspace)
            }
            Command::IssueToken { workspace, request } => {
                self.workspace(&workspace)?.issue_token(&workspace, request)
            }
            Command::RevokeToken { workspace, token } => {
                self.workspace(&workspace)?.revoke_token(&workspace, token)
            }
            Command::Connect { workspace, connection } => {
                self.is_not_lost(connection.node)?;
                self.workspace(&workspace)?.connect(&workspace, connection)
            }
            Command::Disconnect { workspace, agent, session, reason } => {
                Ok(self.workspace(&workspace)?.disconnect(&workspace, agent, session, reason))
            }
            Command::Activate(activation) => {
                self.workspace(&activation.workspace)?;
                activation.decide(self)
            }
            Command::Start { workspace, agent, deployment, session } => {
                let current = self.workspace(&workspace)?.sessions.get(&agent);
                let is_current = current.is_some_and(|current| current.id == session);
                let (stream, known) = self.agent(workspace, agent.clone())?;
                if !is_current {
                    return Err(Rejection::SessionReplaced { agent });
                }
                known.start(&stream, deployment, session)
            }
            Command::Report { workspace, agent, deployment, report, occurred_at } => {
                let (stream, agent) = self.agent(workspace, agent)?;
                let mut events = agent.report(&stream, deployment, report)?;
                for event in &mut events {
                    event.occurred_at = Some(occurred_at);
                }
                Ok(events)
            }
            Command::Cancel { workspace, agent, deployment, annex } => {
                let (stream, agent) = self.agent(workspace, agent)?;
                agent.cancel(&stream, deployment, annex)
            }
            Command::RekeyAgent { workspace, agent, public_key, annex } => {
                self.workspace(&workspace)?.rekey(&workspace, agent, public_key, annex)
            }
            Command::RetireAgent { workspace, agent, annex } => {
                let (stream, agent) = self.agent(workspace, agent)?;
                Ok(agent.retire(&stream, annex))
            }
        }
    }

    /// A server that was taken for dead holds no sessions until it started again.
    fn is_not_lost(&self, node: NodeId) -> Result<(), Rejection> {
        match self.nodes.get(&node) {
            Some(known) if !known.running => Err(Rejection::NodeLost { node }),
            _ => Ok(()),
        }
    }

    fn workspace(&self, name: &WorkspaceName) -> Result<&Workspace, Rejection> {
        self.workspaces
            .get(name)
            .filter(|workspace| workspace.created)
            .ok_or_else(|| Rejection::WorkspaceNotFound { workspace: name.clone() })
    }

    fn agent(
        &self,
        workspace: WorkspaceName,
        name: AgentName,
    ) -> Result<(StreamId, &Agent), Rejection> {
        match self.workspace(&workspace)?.agents.get(&name) {
            Some(agent) => Ok((StreamId::Agent(workspace, name), agent)),
            None => Err(Rejection::AgentNotFound { agents: vec![name] }),
        }
    }

    /// A node that starts finds what its killed predecessor left open.
    fn start_node(
        &self,
        node: NodeId,
        version: crate::names::ProgramVersion,
        alive_until: Option<Timestamp>,
    ) -> Vec<NewEvent> {
        // With one server, the newest record is the last proof that it lived.
        let alive_until = alive_until.or(self.last_recorded_at).unwrap_or_default();
        let mut events = self.lose_node(node, alive_until);
        events.push(NewEvent::new(StreamId::Node(node), event::NodeStarted { version }));
        events
    }

    fn lose_node(&self, node: NodeId, alive_until: Timestamp) -> Vec<NewEvent> {
        let known = self.nodes.get(&node);
        let running = known.is_some_and(|node| node.running);
        // The log may know better than its last sign of life: no session ends before
        // it began.
        let alive_until = known.map_or(alive_until, |node| node.seen_at.max(alive_until));
        let lost =
            running.then(|| NewEvent::new(StreamId::Node(node), event::NodeLost { alive_until }));
        let sessions = self
            .workspaces
            .iter()
            .flat_map(|(name, workspace)| workspace.lose_sessions(name, node, alive_until));
        lost.into_iter().chain(sessions).collect()
    }

    /// The first key names the log for ever.
    fn add_signing_key(
        &self,
        node: NodeId,
        origin: Origin,
        public_key: PublicKey,
    ) -> Result<Vec<NewEvent>, Rejection> {
        match &self.origin {
            Some(known) if *known != origin => {
                return Err(Rejection::OriginMismatch { known: known.clone(), origin });
            }
            Some(_) if self.signing_keys.contains(&public_key) => return Ok(Vec::new()),
            _ => {}
        }
        let added = event::SigningKeyAdded { origin, public_key };
        Ok(vec![NewEvent::new(StreamId::Node(node), added)])
    }

    fn stop_node(&self, node: NodeId) -> Vec<NewEvent> {
        if self.nodes.get(&node).is_some_and(|node| node.running) {
            vec![NewEvent::new(StreamId::Node(node), event::NodeStopped {})]
        } else {
            Vec::new()
        }
    }
}
