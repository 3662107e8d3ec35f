//! What there is to do, given what the journal says.

use crate::journal::fold::{Stage, State};
use crate::journal::record::{Assignment, Chunk, Outgoing};
use crate::limits;
use ledger_core::event::{ClosureKind, FailureOutcome, FailureReason};
use ledger_core::ids::{DeploymentId, RequestId};
use ledger_core::names::StorePath;
use std::collections::HashSet;

/// What is under way and in no journal: it ends with the process or the session.
#[derive(Clone, Debug, Default)]
pub struct Flight {
    /// Whether a step is being worked on.
    pub working: bool,
    /// Whether a session is open.
    pub connected: bool,
    /// The requests that were sent in this session.
    pub sent: HashSet<RequestId>,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Work on a step of the deployment that runs.
    Work(Assignment, Step),
    /// Ask the server whether a deployment may begin.
    Claim {
        /// The claim's id.
        request_id: RequestId,
        /// Which.
        deployment: DeploymentId,
    },
    /// Send a report.
    Report(Outgoing),
    /// Send a piece of the output.
    Output(DeploymentId, Chunk),
    /// Cut a chunk from the output, if there is more of it.
    Seal(DeploymentId, u64),
}

/// A step of a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Bring the closure here.
    Fetch,
    /// Find out what the closure is and what runs now, and keep the latter.
    Remember,
    /// Activate, or see to the end of what was begun.
    Activate {
        /// What the closure is.
        closure: ClosureKind,
        /// Where the profile pointed before.
        previous: Option<StorePath>,
    },
    /// Close the output and say how the deployment ended.
    Conclude(Conclusion),
}

/// How a deployment ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conclusion {
    /// Well.
    Succeeded,
    /// Badly.
    Failed {
        /// At which point and why.
        reason: FailureReason,
        /// What the machine runs now.
        outcome: FailureOutcome,
        /// What the failing program said.
        error: String,
    },
}

/// Returns everything that can be begun now and is not under way.
pub fn next(state: &State, flight: &Flight) -> Vec<Action> {
    let mut actions = Vec::new();
    actions.extend(work(state, flight));
    if flight.connected {
        actions.extend(claim(state, flight));
        actions.extend(output(state, flight));
        actions.extend(report(state, flight));
    }
    actions
}

fn work(state: &State, flight: &Flight) -> Option<Action> {
    let run = state.run.as_ref().filter(|_| !flight.working)?;
    let step = match &run.stage {
        Stage::Claimed => Step::Fetch,
        Stage::Fetched => Step::Remember,
        Stage::Activating { closure, previous, .. } => {
            Step::Activate { closure: *closure, previous: previous.clone() }
        }
        Stage::Activated => Step::Conclude(Conclusion::Succeeded),
        Stage::Failing { reason, outcome, error } => Step::Conclude(Conclusion::Failed {
            reason: *reason,
            outcome: *outcome,
            error: error.clone(),
        }),
        Stage::Ended => return None,
    };
    Some(Action::Work(run.assignment.clone(), step))
}

/// The newest deployment is claimed when nothing runs and every report of what
/// ran is in the log; until then the server would refuse it.
fn claim(state: &State, flight: &Flight) -> Option<Action> {
    let idle = state.run.is_none() && state.reports.is_empty();
    let waiting = state.waiting.as_ref().filter(|w| idle && !flight.sent.contains(&w.claim))?;
    let deployment = waiting.assignment.deployment;
    Some(Action::Claim { request_id: waiting.claim, deployment })
}

/// The oldest chunks first, a few at a time, then a new one.
fn output(state: &State, flight: &Flight) -> Vec<Action> {
    let Some(run) = &state.run else { return Vec::new() };
    let deployment = run.assignment.deployment;
    let window = run.chunks.iter().take(limits::OUTPUT_CHUNKS_IN_FLIGHT_MAX);
    let mut actions: Vec<Action> = window
        .filter(|chunk| !flight.sent.contains(&chunk.request_id))
        .map(|chunk| Action::Output(deployment, *chunk))
        .collect();
    if run.chunks.len() < limits::OUTPUT_CHUNKS_IN_FLIGHT_MAX {
        actions.push(Action::Seal(deployment, run.sealed));
    }
    actions
}

/// One report at a time, in order; the last one after the output.
fn report(state: &State, flight: &Flight) -> Option<Action> {
    let outgoing = state.reports.front().filter(|r| !flight.sent.contains(&r.request_id))?;
    let acknowledged = state.run.as_ref().map_or(0, |run| run.acknowledged);
    (acknowledged >= state.output_before(outgoing)).then(|| Action::Report(outgoing.clone()))
}
