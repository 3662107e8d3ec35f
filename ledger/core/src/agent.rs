//! One agent's stream: what it is to run, and what it reports.

mod report;

pub use report::Report;

use crate::annex::Annex;
use crate::command::NewEvent;
use crate::event::{self, CancelReason, Event, FailureOutcome, FailureReason};
use crate::ids::{ActivationId, DeploymentId, EventId, SessionId};
use crate::key::PublicKey;
use crate::limits;
use crate::names::StorePath;
use crate::rejection::Rejection;
use crate::stream::StreamId;
use std::collections::VecDeque;

/// What one agent's stream says, as far as decisions need it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agent {
    /// Whether it has ever shown itself.
    pub registered: bool,
    /// The key that the name is pinned to. None after a rekey that named none.
    pub key: Option<PublicKey>,
    /// Whether an operator took it out of service.
    pub retired: bool,
    /// How many deployments were requested: the newest one's index.
    pub deployments: u64,
    /// The newest deployment, while it has not started.
    pub pending: Option<Deployment>,
    /// The deployment that has started and not ended.
    pub running: Option<Running>,
    /// The last closure that was deployed well.
    pub current: Option<StorePath>,
    /// The deployments that ended last, the newest last.
    pub ended: VecDeque<Ended>,
}

/// One deployment as it was requested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// Its id.
    pub id: DeploymentId,
    /// Its number among the agent's, from 1.
    pub index: u64,
    /// The activation that asked for it.
    pub activation: ActivationId,
    /// What to deploy.
    pub store_path: StorePath,
}

/// A deployment that has started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Which.
    pub deployment: Deployment,
    /// How far it is.
    pub phase: Phase,
}

/// How far a started deployment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The agent claimed it.
    Started,
    /// The closure is on the machine.
    Fetched,
    /// The closure was activated.
    Activated,
    /// The activation failed.
    ActivationFailed,
}

/// A deployment that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Which.
    pub id: DeploymentId,
    /// Its number among the agent's, from 1.
    pub index: u64,
    /// How.
    pub end: End,
}

/// How a deployment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A newer one took its place before it started.
    Superseded,
    /// It was called off before it started.
    Cancelled,
    /// It went well.
    Succeeded,
    /// It went badly.
    Failed,
}

impl Agent {
    /// Applies one recorded event of the agent's stream.
    ///
    /// Total: history cannot be refused, so every event is accepted in every
    /// state, and what does not fit changes nothing.
    pub fn evolve(&mut self, event_id: EventId, event: &Event) {
        match event {
            Event::AgentRegistered(event) => {
                self.registered = true;
                self.retired = false;
                self.key = Some(event.public_key);
            }
            Event::AgentRekeyed(event) => {
                self.retired = false;
                self.key = event.public_key;
            }
            Event::AgentRetired(_) => self.retired = true,
            Event::DeploymentRequested(event) => self.request(event_id, event),
            Event::DeploymentSuperseded(event) => {
                self.end_pending(event.deployment, End::Superseded)
            }
            Event::DeploymentCancelled(event) => self.end_pending(event.deployment, End::Cancelled),
            Event::DeploymentStarted(event) => {
                if let Some(deployment) = self.pending.take_if(|d| d.id == event.deployment) {
                    self.running = Some(Running { deployment, phase: Phase::Started });
                }
            }
            Event::ClosureFetched(event) => self.reach(event.deployment, Phase::Fetched),
            Event::ActivationSucceeded(event) => self.reach(event.deployment, Phase::Activated),
            Event::ActivationFailed(event) => self.reach(event.deployment, Phase::ActivationFailed),
            Event::DeploymentSucceeded(event) => {
                if let Some(running) = self.end_running(event.deployment, End::Succeeded) {
                    self.current = Some(running.deployment.store_path);
                }
            }
            Event::DeploymentFailed(event) => {
                self.end_running(event.deployment, End::Failed);
            }
            // The events of the other streams.
            Event::WorkspaceCreated(_)
            | Event::TokenIssued(_)
            | Event::TokenRevoked(_)
            | Event::AgentConnected(_)
            | Event::AgentDisconnected(_)
            | Event::SessionsLost(_)
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

    fn request(&mut self, event_id: EventId, event: &event::DeploymentRequested) {
        self.deployments = self.deployments.saturating_add(1);
        self.pending = Some(Deployment {
            id: event_id.into(),
            index: self.deployments,
            activation: event.activation,
            store_path: event.store_path.clone(),
        });
    }

    fn reach(&mut self, deployment: DeploymentId, phase: Phase) {
        if let Some(running) = self.running.as_mut().filter(|r| r.deployment.id == deployment) {
            running.phase = phase;
        }
    }

    fn end_pending(&mut self, deployment: DeploymentId, end: End) {
        if let Some(pending) = self.pending.take_if(|pending| pending.id == deployment) {
            self.remember_end(&pending, end);
        }
    }

    fn end_running(&mut self, deployment: DeploymentId, end: End) -> Option<Running> {
        let running = self.running.take_if(|running| running.deployment.id == deployment);
        if let Some(running) = &running {
            self.remember_end(&running.deployment, end);
        }
        running
    }

    fn remember_end(&mut self, deployment: &Deployment, end: End) {
        if self.ended.len() >= limits::ENDED_DEPLOYMENTS_KEPT {
            self.ended.pop_front();
        }
        self.ended.push_back(Ended { id: deployment.id, index: deployment.index, end });
    }

    /// Returns how the deployment ended, while that is remembered.
    pub fn end_of(&self, deployment: DeploymentId) -> Option<End> {
        self.ended.iter().rev().find(|ended| ended.id == deployment).map(|ended| ended.end)
    }

    /// Returns id and number of each deployment that is open or whose end is remembered.
    pub fn remembered(&self) -> impl Iterator<Item = (DeploymentId, u64)> {
        let running = self.running.as_ref().map(|running| &running.deployment);
        let open = self.pending.as_ref().into_iter().chain(running);
        let open = open.map(|deployment| (deployment.id, deployment.index));
        open.chain(self.ended.iter().rev().map(|ended| (ended.id, ended.index)))
    }

    /// Decides the claim of an agent to begin a deployment.
    ///
    /// That the session is the agent's current one is the caller's to see to. A
    /// claim of what the agent already runs decides nothing: it is the same
    /// agent, which did not hear the first answer.
    pub fn start(
        &self,
        stream: &StreamId,
        deployment: DeploymentId,
        session: SessionId,
    ) -> Result<Vec<NewEvent>, Rejection> {
        if let Some(running) = &self.running {
            return if running.deployment.id == deployment {
                Ok(Vec::new())
            } else {
                Err(Rejection::AgentBusy { deployment, running: running.deployment.id })
            };
        }
        match self.pending.as_ref().filter(|pending| pending.id == deployment) {
            Some(pending) if self.retired => {
                Err(Rejection::DeploymentCancelled { deployment: pending.id })
            }
            Some(pending) => Ok(vec![
                NewEvent::new(stream.clone(), event::DeploymentStarted { deployment, session })
                    .correlated(pending.activation)
                    .caused_by(deployment.into()),
            ]),
            None => Err(self.not_startable(deployment)),
        }
    }

    /// Says why a deployment that is not pending cannot start or be cancelled.
    fn not_startable(&self, deployment: DeploymentId) -> Rejection {
        match self.end_of(deployment) {
            Some(End::Superseded) => Rejection::DeploymentSuperseded { deployment },
            Some(End::Cancelled) => Rejection::DeploymentCancelled { deployment },
            Some(End::Succeeded | End::Failed) => Rejection::DeploymentEnded { deployment },
            None => Rejection::DeploymentNotFound { deployment },
        }
    }

    /// Decides a cancellation, which only what has not started allows.
    pub fn cancel(
        &self,
        stream: &StreamId,
        deployment: DeploymentId,
        annex: Annex,
    ) -> Result<Vec<NewEvent>, Rejection> {
        if let Some(pending) = self.pending.as_ref().filter(|pending| pending.id == deployment) {
            let reason = CancelReason::Requested;
            return Ok(vec![
                NewEvent::new(stream.clone(), event::DeploymentCancelled { deployment, reason })
                    .correlated(pending.activation)
                    .caused_by(deployment.into())
                    .with_annex(annex),
            ]);
        }
        if self.running.as_ref().is_some_and(|running| running.deployment.id == deployment) {
            return Err(Rejection::DeploymentStarted { deployment });
        }
        match self.not_startable(deployment) {
            // It is as it should be already.
            Rejection::DeploymentCancelled { .. } => Ok(Vec::new()),
            rejection => Err(rejection),
        }
    }

    /// Decides what an agent reports of the deployment that it runs.
    pub fn report(
        &self,
        stream: &StreamId,
        deployment: DeploymentId,
        report: Report,
    ) -> Result<Vec<NewEvent>, Rejection> {
        let Some(running) = self.running.as_ref().filter(|r| r.deployment.id == deployment) else {
            return Err(match self.pending.as_ref().filter(|p| p.id == deployment) {
                Some(_) => Rejection::ReportOutOfOrder { deployment },
                None => self.not_startable(deployment),
            });
        };
        if let Some((field, value)) = report.beyond_bounds() {
            return Err(Rejection::ReportInvalid { deployment, field, value });
        }
        let in_order = match report {
            Report::ClosureFetched { .. } => running.phase == Phase::Started,
            Report::ActivationSucceeded { .. } | Report::ActivationFailed { .. } => {
                running.phase == Phase::Fetched
            }
            Report::Succeeded { .. } => running.phase == Phase::Activated,
            Report::Failed { .. } => true,
        };
        if !in_order {
            return Err(Rejection::ReportOutOfOrder { deployment });
        }
        let (event, error) = report.into_event(deployment);
        let annex = Annex { error, ..Annex::default() };
        Ok(vec![
            NewEvent::new(stream.clone(), event)
                .correlated(running.deployment.activation)
                .caused_by(deployment.into())
                .with_annex(annex),
        ])
    }

    /// Decides what retiring makes happen to the agent's stream.
    pub fn retire(&self, stream: &StreamId, annex: Annex) -> Vec<NewEvent> {
        if self.retired {
            return Vec::new();
        }
        let mut events =
            vec![NewEvent::new(stream.clone(), event::AgentRetired {}).with_annex(annex)];
        if let Some(pending) = &self.pending {
            let reason = CancelReason::AgentRetired;
            let cancelled = event::DeploymentCancelled { deployment: pending.id, reason };
            events.push(NewEvent::new(stream.clone(), cancelled).correlated(pending.activation));
        }
        if let Some(Running { deployment, phase }) = &self.running {
            let outcome = match phase {
                Phase::Started => FailureOutcome::Unchanged,
                Phase::Fetched | Phase::Activated | Phase::ActivationFailed => {
                    FailureOutcome::Unknown
                }
            };
            let failed = event::DeploymentFailed {
                deployment: deployment.id,
                reason: FailureReason::AgentRetired,
                outcome,
                output: None,
            };
            events.push(NewEvent::new(stream.clone(), failed).correlated(deployment.activation));
        }
        events
    }
}
