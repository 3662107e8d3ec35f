//! One activation: a spec, asked of many agents at once.

use crate::annex::Annex;
use crate::command::NewEvent;
use crate::event::{self, CiRun};
use crate::ids::{ActivationId, EventId, RequestId};
use crate::names::{AgentName, StorePath, System, WorkspaceName};
use crate::rejection::Rejection;
use crate::state::State;
use crate::stream::StreamId;
use crate::workspace::Workspace;
use std::collections::BTreeMap;

/// What an activation asks for, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activation {
    /// Its id, made by the client.
    pub id: ActivationId,
    /// Whose agents.
    pub workspace: WorkspaceName,
    /// BLAKE3 of the spec's bytes as they were given.
    pub spec_digest: event::Digest,
    /// What each agent is to run, with the rollback script of its system.
    pub agents: BTreeMap<AgentName, Target>,
    /// The rollback scripts of every system.
    pub rollback_scripts: BTreeMap<System, StorePath>,
    /// The CI run that it came from.
    pub ci: Option<CiRun>,
    /// Who asked, from where, with which words.
    pub annex: Annex,
}

/// What one agent is to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The closure.
    pub store_path: StorePath,
    /// The rollback script for the agent's system.
    pub rollback_script: Option<StorePath>,
}

impl Activation {
    /// Decides the whole activation, for all its agents or for none.
    ///
    /// What an agent has pending and not started gives way in the same append.
    pub fn decide(self, state: &State) -> Result<Vec<NewEvent>, Rejection> {
        let none = Workspace::default();
        let workspace = state.workspaces.get(&self.workspace).unwrap_or(&none);
        let known = |name: &AgentName| workspace.agents.get(name).is_some_and(|a| a.registered);
        let unknown: Vec<AgentName> =
            self.agents.keys().filter(|name| !known(name)).cloned().collect();
        if !unknown.is_empty() {
            return Err(Rejection::AgentNotFound { agents: unknown });
        }
        let retired =
            self.agents.keys().find(|n| workspace.agents.get(*n).is_some_and(|a| a.retired));
        if let Some(agent) = retired {
            return Err(Rejection::AgentRetired { agent: agent.clone() });
        }
        Ok(self.events(workspace))
    }

    fn events(self, workspace: &Workspace) -> Vec<NewEvent> {
        let request = RequestId::from(self.id);
        let requested = event::ActivationRequested {
            workspace: self.workspace.clone(),
            spec_digest: self.spec_digest,
            // At most limits::ACTIVATION_AGENTS_MAX.
            agents: self.agents.len() as u64,
            rollback_scripts: self.rollback_scripts,
            ci: self.ci,
        };
        let mut events = vec![
            NewEvent::new(StreamId::Activation(self.id), requested)
                .correlated(self.id)
                .with_annex(self.annex),
        ];
        for (name, target) in self.agents {
            let stream = StreamId::Agent(self.workspace.clone(), name.clone());
            let pending = workspace.agents.get(&name).and_then(|agent| agent.pending.as_ref());
            if let Some(pending) = pending {
                // The newer request follows at once; its id is known beforehand.
                let by = EventId::derive(request, ordinal(events.len() + 1)).into();
                let superseded = event::DeploymentSuperseded { deployment: pending.id, by };
                events.push(
                    NewEvent::new(stream.clone(), superseded)
                        .correlated(pending.activation)
                        .caused_by(EventId::derive(request, 0)),
                );
            }
            let requested = event::DeploymentRequested {
                activation: self.id,
                store_path: target.store_path,
                rollback_script: target.rollback_script,
            };
            events.push(
                NewEvent::new(stream, requested)
                    .correlated(self.id)
                    .caused_by(EventId::derive(request, 0)),
            );
        }
        events
    }
}

/// An event's place in its write. Writes are bounded far below 2^32 events.
fn ordinal(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}
