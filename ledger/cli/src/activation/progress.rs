//! What is known of an activation, and what is to be shown of it: pure.
//!
//! Events and output come over two connections, in any interleaving. The event
//! that ends a deployment carries its output's length, and is held back until
//! that much output was shown.

use super::change::Change;
use super::item::{Detail, Item, Output, Part, Requested, Status, Summary, Verdict};
use super::lines::Lines;
use api_wire::http::{ActivateAnswer, DeploymentStatus, LogEvent};
use ledger_core::event::{Event, FailureOutcome, FailureReason};
use ledger_core::names::{AgentName, StorePath};
use ledger_core::{DeploymentId, Position, Timestamp};
use std::collections::BTreeMap;

/// Everything known of one activation.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    answer: ActivateAnswer,
    /// Those that were recorded, in the order of the answer, which is by name.
    deployments: Vec<Deployment>,
    by_id: BTreeMap<DeploymentId, usize>,
    /// The newest event that was taken in.
    seen: Position,
    /// How many ends were held back so far.
    holds: u64,
}

/// One agent's part.
#[derive(Clone, Debug)]
pub(crate) struct Deployment {
    pub(crate) agent: AgentName,
    pub(crate) id: DeploymentId,
    pub(crate) index: Option<u64>,
    store_path: StorePath,
    /// Whether anybody waits for it.
    counts: bool,
    pub(crate) connected: bool,
    pub(crate) last_seen: Option<Timestamp>,
    pub(crate) waits_for: Option<DeploymentId>,
    pub(crate) status: DeploymentStatus,
    pub(crate) step: Step,
    pub(crate) started_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    reason: Option<FailureReason>,
    outcome: Option<FailureOutcome>,
    superseded_by: Option<DeploymentId>,
    lines: Lines,
    /// The last line of output that has something on it, as it was shown.
    last_line: String,
    /// How many bytes of its output were taken in.
    received: u64,
    held: Option<Held>,
}

/// What a running deployment is at, as far as its events tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The closure is fetched.
    Fetching,
    /// It is activated.
    Activating,
    /// The activation is through, one way or the other.
    Ending,
}

/// An end that waits for its output.
#[derive(Clone, Debug)]
struct Held {
    number: u64,
    until: u64,
    status: Box<Status>,
}

/// A moment in the order of held ends; see [`Progress::output_ended`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark(u64);

impl Progress {
    /// Begins with the server's answer. With `allow_offline`, agents that were
    /// not connected then do not count.
    pub(crate) fn new(answer: ActivateAnswer, allow_offline: bool) -> Self {
        let deployments: Vec<Deployment> = answer
            .deployments
            .iter()
            .filter_map(|requested| {
                let counts = requested.connected || !allow_offline;
                Some(Deployment::new(requested, requested.id?, counts))
            })
            .collect();
        let by_id = deployments.iter().enumerate().map(|(n, d)| (d.id, n)).collect();
        let seen = Position::ZERO;
        Self { answer, deployments, by_id, seen, holds: 0 }
    }

    /// Returns what was asked for, one item for each agent.
    pub(crate) fn requested(&self) -> Vec<Item> {
        let requested = |part: &api_wire::http::RequestedDeployment| {
            Item::Requested(Requested {
                activation: self.answer.id,
                agent: part.agent.clone(),
                deployment: part.id,
                index: part.index,
                store_path: part.store_path.clone(),
                connected: part.connected,
                last_seen: part.last_seen,
                waits_for: part.waits_for,
            })
        };
        self.answer.deployments.iter().map(requested).collect()
    }

    /// Takes in one event. Another's, an old or an unknown one changes nothing.
    pub(crate) fn event(&mut self, event: &LogEvent) -> Vec<Item> {
        if event.position <= self.seen {
            return Vec::new();
        }
        self.seen = event.position;
        let payload = event.payload.to_string();
        let Ok(decoded) = Event::decode(&event.type_name, payload.as_bytes()) else {
            return Vec::new();
        };
        let Some(change) = Change::of(decoded, event) else { return Vec::new() };
        let Some(&place) = self.by_id.get(&change.deployment) else { return Vec::new() };
        let Some(deployment) = self.deployments.get_mut(place) else { return Vec::new() };
        let status = Box::new(deployment.apply(&change, event));
        match change.output {
            Some(output) if output.bytes > deployment.received => {
                self.holds += 1;
                deployment.held = Some(Held { number: self.holds, until: output.bytes, status });
                Vec::new()
            }
            _ => deployment.show_end_or_step(status),
        }
    }

    /// Takes in a piece of output: what is new of it.
    pub(crate) fn output(&mut self, id: DeploymentId, offset: u64, bytes: &[u8]) -> Vec<Item> {
        let Some(&place) = self.by_id.get(&id) else { return Vec::new() };
        let Some(deployment) = self.deployments.get_mut(place) else { return Vec::new() };
        let known =
            usize::try_from(deployment.received.saturating_sub(offset)).unwrap_or(usize::MAX);
        let Some(new) = bytes.get(known..) else { return Vec::new() };
        deployment.received = deployment.received.max(offset.saturating_add(bytes.len() as u64));
        let lines = deployment.lines.push(new);
        let mut items = deployment.output_items(lines);
        if deployment.held.as_ref().is_some_and(|held| held.until <= deployment.received) {
            items.extend(deployment.release());
        }
        items
    }

    /// Returns a mark to be taken before output is asked for.
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.holds)
    }

    /// Returns whether an end waits for its output.
    pub(crate) fn holds(&self) -> bool {
        self.deployments.iter().any(|d| d.held.is_some())
    }

    /// There is no more output than was taken in, as of the mark: an end that was
    /// held before has waited in vain, and is shown. Its output was lost.
    pub(crate) fn output_ended(&mut self, mark: Mark) -> Vec<Item> {
        let waited =
            |d: &&mut Deployment| d.held.as_ref().is_some_and(|held| held.number <= mark.0);
        self.deployments.iter_mut().filter(waited).flat_map(Deployment::release).collect()
    }

    /// Takes in who is connected now, and what waits for what.
    pub(crate) fn refresh(&mut self, answer: &ActivateAnswer) {
        for part in &answer.deployments {
            let place = part.id.and_then(|id| self.by_id.get(&id).copied());
            if let Some(deployment) = place.and_then(|place| self.deployments.get_mut(place)) {
                deployment.connected = part.connected;
                deployment.last_seen = part.last_seen;
                deployment.waits_for = part.waits_for;
            }
        }
    }

    /// Returns those that count and have not ended.
    pub(crate) fn unfinished(&self) -> impl Iterator<Item = &Deployment> {
        self.deployments.iter().filter(|d| d.counts && !d.is_over())
    }

    /// Returns how many count.
    pub(crate) fn counted(&self) -> usize {
        self.deployments.iter().filter(|d| d.counts).count()
    }

    /// Returns how many of them stand so. One whose end was not shown yet runs.
    pub(crate) fn count(&self, status: DeploymentStatus) -> usize {
        self.deployments.iter().filter(|d| d.counts && d.shown() == status).count()
    }

    /// Returns whether everything that counts has ended and was shown.
    pub(crate) fn is_done(&self) -> bool {
        self.unfinished().next().is_none()
    }

    /// Returns what was not shown yet, when nothing more will be asked.
    pub(crate) fn flush(&mut self) -> Vec<Item> {
        let mut items = Vec::new();
        for deployment in &mut self.deployments {
            items.extend(deployment.release());
            let rest = deployment.lines.flush();
            items.extend(deployment.output_items(rest));
        }
        items
    }

    /// Judges the whole. `otherwise` is why nobody waits any longer.
    pub(crate) fn verdict(&self, otherwise: Verdict) -> Verdict {
        let counted = || self.deployments.iter().filter(|d| d.counts);
        let any = |status| counted().any(|d| d.status == status);
        if counted().any(|d| match d.outcome {
            Some(FailureOutcome::Unknown) => true,
            Some(FailureOutcome::Unchanged) | None => false,
        }) {
            Verdict::Unknown
        } else if any(DeploymentStatus::Failed) {
            Verdict::Failed
        } else if any(DeploymentStatus::Pending) || any(DeploymentStatus::Running) {
            otherwise
        } else if any(DeploymentStatus::Cancelled) {
            Verdict::Cancelled
        } else if any(DeploymentStatus::Superseded) {
            Verdict::Superseded
        } else {
            Verdict::Succeeded
        }
    }

    /// Returns the last line.
    pub(crate) fn summary(&self, outcome: Verdict) -> Summary {
        let agents = if self.deployments.is_empty() {
            self.answer.deployments.iter().map(planned).collect()
        } else {
            self.deployments.iter().map(Deployment::part).collect()
        };
        Summary {
            activation: self.answer.id,
            workspace: self.answer.workspace.clone(),
            outcome,
            exit_code: outcome.exit() as u8,
            agents,
        }
    }
}

/// One agent's part of a dry run.
fn planned(requested: &api_wire::http::RequestedDeployment) -> Part {
    Part {
        agent: requested.agent.clone(),
        deployment: None,
        index: None,
        store_path: requested.store_path.clone(),
        status: DeploymentStatus::Pending,
        counts: true,
        started_at: None,
        ended_at: None,
        reason: None,
        outcome: None,
        superseded_by: None,
    }
}

impl Deployment {
    fn new(
        requested: &api_wire::http::RequestedDeployment,
        id: DeploymentId,
        counts: bool,
    ) -> Self {
        Self {
            agent: requested.agent.clone(),
            id,
            index: requested.index,
            store_path: requested.store_path.clone(),
            counts,
            connected: requested.connected,
            last_seen: requested.last_seen,
            waits_for: requested.waits_for,
            status: DeploymentStatus::Pending,
            step: Step::Fetching,
            started_at: None,
            ended_at: None,
            reason: None,
            outcome: None,
            superseded_by: None,
            lines: Lines::default(),
            last_line: String::new(),
            received: 0,
            held: None,
        }
    }

    /// Returns how it stands as far as it was shown.
    pub(crate) fn shown(&self) -> DeploymentStatus {
        if self.held.is_some() { DeploymentStatus::Running } else { self.status }
    }

    /// Ended, and its end was shown.
    fn is_over(&self) -> bool {
        self.status.is_final() && self.held.is_none()
    }

    fn apply(&mut self, change: &Change, event: &LogEvent) -> Status {
        self.status = change.status;
        match &change.detail {
            Detail::Failed { reason, outcome, .. } => {
                self.reason = Some(*reason);
                self.outcome = Some(*outcome);
            }
            Detail::Superseded { superseded_by } => self.superseded_by = Some(*superseded_by),
            Detail::Fetched { .. } => self.step = Step::Activating,
            Detail::Activated { .. } | Detail::NotActivated { .. } => self.step = Step::Ending,
            Detail::None {} => {}
        }
        if change.status == DeploymentStatus::Running {
            self.started_at.get_or_insert(event.recorded_at);
        } else {
            self.ended_at = Some(event.recorded_at);
        }
        Status {
            agent: self.agent.clone(),
            deployment: self.id,
            index: self.index,
            status: change.status,
            event: event.type_name.clone(),
            position: event.position,
            at: event.recorded_at,
            detail: change.detail.clone(),
            error_shown: false,
        }
    }

    /// The line that has no end yet belongs before the end of the deployment.
    fn show_end_or_step(&mut self, mut status: Box<Status>) -> Vec<Item> {
        let mut items = Vec::new();
        if status.status.is_final() {
            let rest = self.lines.flush();
            items = self.output_items(rest);
            if let Detail::Failed { error: Some(error), .. } = &status.detail {
                let last = error.lines().map(str::trim_end).rfind(|line| !line.is_empty());
                status.error_shown = last.is_some_and(|last| self.last_line.trim_end() == last);
            }
        }
        items.push(Item::Status(status));
        items
    }

    fn release(&mut self) -> Vec<Item> {
        match self.held.take() {
            Some(held) => self.show_end_or_step(held.status),
            None => Vec::new(),
        }
    }

    fn output_items(&mut self, lines: impl IntoIterator<Item = String>) -> Vec<Item> {
        let lines: Vec<String> = lines.into_iter().collect();
        if let Some(last) = lines.iter().rfind(|line| !line.trim().is_empty()) {
            self.last_line.clone_from(last);
        }
        let (agent, deployment) = (&self.agent, self.id);
        let item = |line| Item::Output(Output { agent: agent.clone(), deployment, line });
        lines.into_iter().map(item).collect()
    }

    fn part(&self) -> Part {
        Part {
            agent: self.agent.clone(),
            deployment: Some(self.id),
            index: self.index,
            store_path: self.store_path.clone(),
            status: self.status,
            counts: self.counts,
            started_at: self.started_at,
            ended_at: self.ended_at,
            reason: self.reason,
            outcome: self.outcome,
            superseded_by: self.superseded_by,
        }
    }
}
