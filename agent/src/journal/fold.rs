//! What the journal says is so.

use super::record::{Assignment, Chunk, Line, Outgoing, Record};
use crate::limits;
use ledger_core::agent::Report;
use ledger_core::event::{ClosureKind, FailureOutcome, FailureReason};
use ledger_core::ids::{DeploymentId, RequestId, Version};
use ledger_core::names::StorePath;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Everything that a restarted agent must know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The newest version of the stream that was seen. None before the first session.
    pub cursor: Option<Version>,
    /// The newest deployment, while it has not started.
    pub waiting: Option<Waiting>,
    /// The deployment that runs, until its last report is answered.
    pub run: Option<Run>,
    /// Reports that were not answered yet, in the order to send them.
    pub reports: VecDeque<Outgoing>,
    /// The latest deployments that ended or were dropped, the newest last.
    pub ended: VecDeque<DeploymentId>,
}

/// A deployment that has not started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// What to deploy.
    pub assignment: Assignment,
    /// The id of its claim.
    pub claim: RequestId,
}

/// A deployment that has started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// What is deployed.
    pub assignment: Assignment,
    /// How far it is.
    pub stage: Stage,
    /// How many bytes of its output were cut into chunks.
    pub sealed: u64,
    /// How many bytes of its output the server has acknowledged, as far as is known.
    pub acknowledged: u64,
    /// The chunks after that, in order.
    pub chunks: VecDeque<Chunk>,
}

/// How far a deployment is: what is done, and so what comes next.
///
/// Checks and the way back will stand between `Activated` and `Ended`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Stage {
    /// It was granted. Next: fetch, which may be repeated.
    Claimed,
    /// The closure is here. Next: remember what runs.
    Fetched,
    /// The activation has begun or may have. Next: see to its end.
    Activating {
        /// What the closure is.
        closure: ClosureKind,
        /// Where the profile pointed before.
        previous: Option<StorePath>,
        /// What ran before, on NixOS.
        previous_system: Option<StorePath>,
    },
    /// It went well. Next: close the output and report the end.
    Activated,
    /// It went badly. Next: close the output and report the end.
    Failing {
        /// At which point and why.
        reason: FailureReason,
        /// What the machine runs now.
        outcome: FailureOutcome,
        /// What the failing program said.
        error: String,
    },
    /// The last report is on its way.
    Ended,
}

impl State {
    /// Applies a line. Total: a line that does not fit changes nothing but the cursor.
    pub fn evolve(&mut self, line: &Line) {
        self.apply(&line.record);
        self.cursor = self.cursor.max(line.cursor);
    }

    fn apply(&mut self, record: &Record) {
        match record {
            Record::Snapshot { state, .. } => *self = State::clone(state),
            Record::Cursor => {}
            Record::Admitted { assignment, claim } => {
                self.waiting = Some(Waiting { assignment: assignment.clone(), claim: *claim });
            }
            Record::Dropped { deployment } => {
                if self.waiting.take_if(|w| w.assignment.deployment == *deployment).is_some() {
                    self.remember_end(*deployment);
                }
            }
            Record::Started { deployment } => {
                if let Some(waiting) =
                    self.waiting.take_if(|w| w.assignment.deployment == *deployment)
                {
                    self.run = Some(Run::new(waiting.assignment));
                }
            }
            Record::Fetched { report } => self.reach(Stage::Fetched, Some(report)),
            Record::Activating { closure, previous, previous_system } => {
                let (closure, previous) = (*closure, previous.clone());
                let previous_system = previous_system.clone();
                self.reach(Stage::Activating { closure, previous, previous_system }, None);
            }
            Record::Activated { report } => self.reach(Stage::Activated, Some(report)),
            Record::Failing { reason, outcome, error, report } => {
                let error = error.clone();
                let stage = Stage::Failing { reason: *reason, outcome: *outcome, error };
                self.reach(stage, report.as_ref());
            }
            Record::Chunk { chunk, acknowledged } => {
                if let Some(run) = &mut self.run {
                    run.seal(*chunk);
                    run.acknowledge_to(*acknowledged);
                }
            }
            Record::Ended { report } => self.reach(Stage::Ended, Some(report)),
            Record::Lost { report } => self.reports.push_back(report.clone()),
            Record::Answered { request_id } => self.answer(*request_id),
        }
    }

    fn reach(&mut self, stage: Stage, report: Option<&Outgoing>) {
        let Some(run) = &mut self.run else { return };
        run.stage = stage;
        self.reports.extend(report.cloned());
    }

    fn answer(&mut self, request_id: RequestId) {
        let Some(at) = self.reports.iter().position(|r| r.request_id == request_id) else { return };
        let Some(outgoing) = self.reports.remove(at) else { return };
        if !outgoing.report.is_end() {
            return;
        }
        self.run.take_if(|run| run.assignment.deployment == outgoing.deployment);
        self.remember_end(outgoing.deployment);
    }

    fn remember_end(&mut self, deployment: DeploymentId) {
        if self.ended.len() >= limits::ENDED_DEPLOYMENTS_KEPT {
            self.ended.pop_front();
        }
        self.ended.push_back(deployment);
    }

    /// Returns whether the deployment waits or runs here, or its end is on its way.
    pub fn is_open(&self, deployment: DeploymentId) -> bool {
        self.waiting.as_ref().is_some_and(|w| w.assignment.deployment == deployment)
            || self.run.as_ref().is_some_and(|run| run.assignment.deployment == deployment)
            || self.reports.iter().any(|r| r.deployment == deployment)
    }

    /// Returns whether the deployment is open or over here, so that it is not to be begun.
    pub fn knows(&self, deployment: DeploymentId) -> bool {
        self.is_open(deployment) || self.ended.contains(&deployment)
    }

    /// Returns how many bytes of output must be acknowledged before the report may be sent.
    pub fn output_before(&self, outgoing: &Outgoing) -> u64 {
        let ours =
            self.run.as_ref().is_some_and(|run| run.assignment.deployment == outgoing.deployment);
        match &outgoing.report {
            Report::Succeeded { output } | Report::Failed { output, .. } if ours => output.bytes,
            _ => 0,
        }
    }
}

impl Run {
    fn new(assignment: Assignment) -> Self {
        let chunks = VecDeque::new();
        Self { assignment, stage: Stage::Claimed, sealed: 0, acknowledged: 0, chunks }
    }

    fn seal(&mut self, chunk: Chunk) {
        self.sealed = self.sealed.max(chunk.end());
        self.chunks.push_back(chunk);
    }

    /// Notes that the server has the output up to `end`.
    pub fn acknowledge_to(&mut self, end: u64) {
        self.acknowledged = self.acknowledged.max(end);
        self.chunks.retain(|chunk| chunk.end() > self.acknowledged);
    }
}
