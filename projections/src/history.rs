//! One agent's stream as its deployments: everything that the log says of each.

use crate::projection::Projection;
use ledger_core::agent::{Agent, End};
use ledger_core::event::{
    ClosureKind, DeploymentRequested, FailureOutcome, FailureReason, OutputDigest,
};
use ledger_core::names::StorePath;
use ledger_core::{ActivationId, DeploymentId, Event, Position, Record, Timestamp};

/// The deployments of one agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    agent: Agent,
    deployments: imbl::OrdMap<u64, Deployment>,
    indexes: imbl::OrdMap<DeploymentId, u64>,
}

/// One deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// Its id.
    pub id: DeploymentId,
    /// Its number among the agent's.
    pub index: u64,
    /// The activation that asked for it.
    pub activation: ActivationId,
    /// What to deploy.
    pub store_path: StorePath,
    /// How it stands.
    pub status: Status,
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
    /// Where its last failure stands, with the failing program's words in the annex.
    pub failed_at: Option<Position>,
    /// The evidence for its output.
    pub output: Option<OutputDigest>,
}

/// How a deployment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It waits for its agent.
    Pending,
    /// It runs.
    Running,
    /// It is over.
    Ended(End),
}

impl History {
    /// Begins with a request in the middle of a stream, before which so many
    /// deployments were requested. What is told of that one and the later ones is
    /// what a fold of the whole stream tells.
    pub fn after(deployments: u64) -> Self {
        Self { agent: Agent { deployments, ..Agent::default() }, ..Self::default() }
    }

    /// Returns whether nothing more will be told of the deployment: it is known, and
    /// has ended.
    pub fn is_over(&self, id: DeploymentId) -> bool {
        self.by_id(id).is_some_and(|of| matches!(of.status, Status::Ended(_)))
    }

    /// Returns the n-th deployment.
    pub fn by_index(&self, index: u64) -> Option<&Deployment> {
        self.deployments.get(&index)
    }

    /// Returns the deployment with the id.
    pub fn by_id(&self, id: DeploymentId) -> Option<&Deployment> {
        self.deployments.get(self.indexes.get(&id)?)
    }

    /// Returns every deployment, the oldest first.
    pub fn deployments(&self) -> impl DoubleEndedIterator<Item = &Deployment> {
        self.deployments.values()
    }

    fn request(&mut self, record: &Record, event: &DeploymentRequested) {
        let id = record.event_id.into();
        let index = self.agent.deployments;
        let deployment = Deployment {
            id,
            index,
            activation: event.activation,
            store_path: event.store_path.clone(),
            status: Status::Pending,
            position: record.position,
            requested_at: record.recorded_at,
            started_at: None,
            ended_at: None,
            closure_bytes: None,
            closure_paths: None,
            kind: None,
            generation: None,
            previous: None,
            superseded_by: None,
            reason: None,
            outcome: None,
            failed_at: None,
            output: None,
        };
        self.deployments.insert(index, deployment);
        self.indexes.insert(id, index);
    }

    fn edit(&mut self, id: DeploymentId) -> Option<&mut Deployment> {
        self.deployments.get_mut(self.indexes.get(&id)?)
    }

    /// Returns the deployment if it is the one that runs.
    fn running(&mut self, id: DeploymentId) -> Option<&mut Deployment> {
        let runs = self.agent.running.as_ref().is_some_and(|r| r.deployment.id == id);
        if runs { self.edit(id) } else { None }
    }

    /// Ends the deployment if the agent's fold says that it ended so.
    fn end(&mut self, record: &Record, id: DeploymentId, end: End) -> Option<&mut Deployment> {
        if self.agent.end_of(id) != Some(end) {
            return None;
        }
        let deployment = self.edit(id)?;
        if matches!(deployment.status, Status::Ended(_)) {
            return None;
        }
        deployment.status = Status::Ended(end);
        deployment.ended_at = Some(record.recorded_at);
        Some(deployment)
    }

    /// Applies what is said of a deployment. The agent's fold has it already.
    fn follow(&mut self, record: &Record, event: &Event) -> Option<()> {
        match event {
            Event::DeploymentRequested(event) => self.request(record, event),
            Event::DeploymentSuperseded(event) => {
                self.end(record, event.deployment, End::Superseded)?.superseded_by = Some(event.by);
            }
            Event::DeploymentCancelled(event) => {
                self.end(record, event.deployment, End::Cancelled)?;
            }
            Event::DeploymentStarted(event) => {
                let deployment = self.running(event.deployment)?;
                deployment.status = Status::Running;
                deployment.started_at = deployment.started_at.or(Some(record.recorded_at));
            }
            Event::ClosureFetched(event) => {
                let deployment = self.running(event.deployment)?;
                deployment.closure_bytes = Some(event.closure_bytes);
                deployment.closure_paths = Some(event.closure_paths);
            }
            Event::ActivationSucceeded(event) => {
                let deployment = self.running(event.deployment)?;
                deployment.kind = Some(event.kind);
                deployment.generation = event.generation;
                deployment.previous = event.previous.clone();
            }
            Event::ActivationFailed(event) => {
                let deployment = self.running(event.deployment)?;
                deployment.kind = Some(event.kind);
                deployment.previous = event.previous.clone();
                deployment.failed_at = Some(record.position);
            }
            Event::DeploymentSucceeded(event) => {
                let deployment = self.end(record, event.deployment, End::Succeeded)?;
                deployment.output = Some(event.output.clone());
            }
            Event::DeploymentFailed(event) => {
                let deployment = self.end(record, event.deployment, End::Failed)?;
                deployment.reason = Some(event.reason);
                deployment.outcome = Some(event.outcome);
                deployment.output = event.output.clone();
                deployment.failed_at = Some(record.position);
            }
            _ => {}
        }
        Some(())
    }
}

impl Projection for History {
    const NAME: &'static str = "history";
    const VERSION: u32 = 1;
    type State = Self;

    fn apply(state: &mut Self, record: &Record, event: &Event) {
        state.agent.evolve(record.event_id, event);
        // What does not fit changes nothing.
        let _ = state.follow(record, event);
    }
}
