//! The fleet: every workspace, its agents, and what each of them runs.

use crate::projection::Projection;
use ledger_core::agent::{self, Agent as Decided, End};
use ledger_core::event::AgentConnected;
use ledger_core::names::{AgentName, ProgramVersion, System, WorkspaceName};
use ledger_core::state::edit;
use ledger_core::{DeploymentId, Event, NodeId, Record, SessionId, StreamId, Timestamp, Version};
use std::ops::Bound;
use std::sync::Arc;

/// Every workspace, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fleet {
    workspaces: imbl::OrdMap<WorkspaceName, Workspace>,
}

/// One workspace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workspace {
    /// Whether it was created. Its streams may be written before, by history's right.
    created: bool,
    agents: imbl::OrdMap<AgentName, Arc<Agent>>,
}

/// One agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agent {
    /// What decisions are taken from: key, pending, running, current closure.
    pub decided: Decided,
    /// The newest version of its stream.
    pub head: Version,
    /// Its open session.
    pub session: Option<Session>,
    /// When its session was opened, or when the last one ended.
    pub since: Option<Timestamp>,
    /// The Nix system of its machine, as it said last.
    pub system: Option<System>,
    /// Its program's version, as it said last.
    pub version: Option<ProgramVersion>,
    /// The newest deployment that ended.
    pub last: Option<Ended>,
}

/// An open session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// The server that holds it.
    pub node: NodeId,
}

/// A deployment that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Which.
    pub id: DeploymentId,
    /// Its number among the agent's.
    pub index: u64,
    /// How.
    pub end: End,
    /// When that was recorded.
    pub at: Timestamp,
}

impl Fleet {
    /// Returns a workspace that was created.
    pub fn workspace(&self, name: &WorkspaceName) -> Option<&Workspace> {
        self.workspaces.get(name).filter(|workspace| workspace.created)
    }

    /// Returns every workspace that was created, by name.
    pub fn workspaces(&self) -> impl Iterator<Item = (&WorkspaceName, &Workspace)> {
        self.workspaces.iter().filter(|(_, workspace)| workspace.created)
    }

    /// Returns the workspaces that were created and follow the name, by name.
    pub fn workspaces_after(
        &self,
        name: Option<&WorkspaceName>,
    ) -> impl Iterator<Item = (&WorkspaceName, &Workspace)> {
        let range = (name.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        self.workspaces.range::<_, WorkspaceName>(range).filter(|(_, workspace)| workspace.created)
    }

    /// Returns the node that holds the session opened last, if any is open.
    pub fn node(&self) -> Option<NodeId> {
        let agents = self.workspaces.values().flat_map(|workspace| workspace.agents.values());
        let open = agents.filter_map(|agent| Some((agent.since, agent.session?.node)));
        open.max_by_key(|(since, _)| *since).map(|(_, node)| node)
    }

    /// Returns an agent that has shown itself.
    pub fn agent(&self, workspace: &WorkspaceName, name: &AgentName) -> Option<&Agent> {
        self.workspace(workspace)?.agent(name)
    }
}

impl Workspace {
    /// Returns an agent that has shown itself.
    pub fn agent(&self, name: &AgentName) -> Option<&Agent> {
        self.agents.get(name).map(Arc::as_ref).filter(|agent| agent.decided.registered)
    }

    /// Returns every agent that has shown itself, by name.
    pub fn agents(&self) -> impl Iterator<Item = (&AgentName, &Agent)> {
        self.agents
            .iter()
            .map(|(name, agent)| (name, agent.as_ref()))
            .filter(|(_, agent)| agent.decided.registered)
    }

    /// Returns the agents that have shown themselves and follow the name, by name.
    pub fn agents_after(
        &self,
        name: Option<&AgentName>,
    ) -> impl Iterator<Item = (&AgentName, &Agent)> {
        let range = (name.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        self.agents
            .range::<_, AgentName>(range)
            .map(|(name, agent)| (name, agent.as_ref()))
            .filter(|(_, agent)| agent.decided.registered)
    }

    fn edit(&mut self, name: &AgentName, change: impl FnOnce(&mut Agent)) {
        edit(&mut self.agents, name, |agent| change(Arc::make_mut(agent)));
    }

    fn connect(&mut self, event: &AgentConnected, at: Timestamp) {
        self.edit(&event.agent, |agent| {
            agent.session = Some(Session { id: event.session, node: event.node });
            agent.since = Some(at);
            agent.system = Some(event.system.clone());
            agent.version = Some(event.version.clone());
        });
    }

    /// An end that names another session than the current one changes nothing.
    fn disconnect(&mut self, name: &AgentName, session: SessionId, at: Timestamp) {
        let current = self.agents.get(name).and_then(|agent| agent.session);
        if current.is_some_and(|current| current.id == session) {
            self.edit(name, |agent| {
                agent.session = None;
                agent.since = Some(at);
            });
        }
    }
}

impl Agent {
    fn evolve(&mut self, record: &Record, event: &Event) {
        let ended_before = self.decided.ended.back().copied();
        self.decided.evolve(record.event_id, event);
        self.head = record.version;
        let ended = self.decided.ended.back().copied();
        if let Some(agent::Ended { id, index, end }) = ended.filter(|_| ended != ended_before) {
            self.last = Some(Ended { id, index, end, at: record.recorded_at });
        }
    }

    /// Returns the number of a deployment that is open or ended lately.
    pub fn index_of(&self, deployment: DeploymentId) -> Option<u64> {
        let mut remembered = self.decided.remembered();
        remembered.find(|(id, _)| *id == deployment).map(|(_, index)| index)
    }

    /// Returns the deployment with the number, if it is open or ended lately.
    pub fn with_index(&self, index: u64) -> Option<DeploymentId> {
        let mut remembered = self.decided.remembered();
        remembered.find(|(_, of)| *of == index).map(|(id, _)| id)
    }
}

impl Projection for Fleet {
    const NAME: &'static str = "fleet";
    const VERSION: u32 = 1;
    type State = Self;

    fn apply(state: &mut Self, record: &Record, event: &Event) {
        match &record.stream {
            StreamId::Workspace(name) => {
                if let Event::WorkspaceCreated(_) = event {
                    edit(&mut state.workspaces, name, |workspace| workspace.created = true);
                }
            }
            StreamId::Sessions(name) => {
                let at = record.recorded_at;
                edit(&mut state.workspaces, name, |workspace| match event {
                    Event::AgentConnected(event) => workspace.connect(event, at),
                    Event::AgentDisconnected(event) => {
                        workspace.disconnect(&event.agent, event.session, at);
                    }
                    Event::SessionsLost(event) => {
                        for lost in &event.sessions {
                            workspace.disconnect(&lost.agent, lost.session, event.alive_until);
                        }
                    }
                    _ => {}
                });
            }
            StreamId::Agent(name, agent) => {
                edit(&mut state.workspaces, name, |workspace| {
                    workspace.edit(agent, |agent| agent.evolve(record, event));
                });
            }
            StreamId::Health(_) | StreamId::Activation(_) | StreamId::Node(_) => {}
        }
    }
}
