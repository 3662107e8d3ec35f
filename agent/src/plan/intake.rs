//! What came in, and what the agent notes of it.

use crate::journal::fold::{Stage, State};
use crate::journal::record::{Assignment, Chunk, Outgoing, Record};
use crate::plan::act::Conclusion;
use api_wire::agent::{Pending, StreamEvent};
use api_wire::problem::Code;
use ledger_core::agent::Report;
use ledger_core::event::{ClosureKind, Digest, Event, FailureOutcome, FailureReason, OutputDigest};
use ledger_core::ids::{DeploymentId, RequestId, SessionId};
use ledger_core::names::StorePath;
use ledger_core::time::Timestamp;

/// What a decision may know beside the state: the time, and fresh ids.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// The time.
    pub now: Timestamp,
    /// For a claim.
    pub claim: RequestId,
    /// For a report or a chunk.
    pub request: RequestId,
}

/// Something that came in.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// A session opened.
    Welcome {
        /// What waits, by the log.
        pending: Option<Pending>,
        /// What runs, by the log.
        running: Option<DeploymentId>,
    },
    /// Events of the agent's stream.
    Events {
        /// The session that they came in.
        session: SessionId,
        /// The events, in order.
        events: &'a [StreamEvent],
    },
    /// A claim was granted.
    Claimed {
        /// For which deployment.
        deployment: DeploymentId,
    },
    /// A report is in the log.
    Acknowledged {
        /// Its id.
        request_id: RequestId,
    },
    /// A claim or report is refused for good.
    Refused {
        /// Its id.
        request_id: RequestId,
        /// Why.
        code: Code,
    },
    /// A step came to its end.
    Done(Outcome),
    /// There are more bytes of output.
    Output {
        /// How many go into the chunk.
        bytes: u64,
    },
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The closure is here.
    Fetched {
        /// The sum of the NAR sizes of its paths.
        closure_bytes: u64,
        /// How many store paths it has.
        closure_paths: u64,
    },
    /// The closure could not be brought here.
    FetchFailed {
        /// What Nix said.
        error: String,
    },
    /// It is known what to do and what runs now.
    Remembered {
        /// What the closure is.
        closure: ClosureKind,
        /// Where the profile points.
        previous: Option<StorePath>,
        /// What runs, on NixOS.
        previous_system: Option<StorePath>,
    },
    /// The closure was activated.
    Activated {
        /// Nix's number of the profile link.
        generation: Option<u64>,
    },
    /// The activation failed.
    ActivationFailed {
        /// What the failing program returned.
        exit_status: Option<i32>,
        /// What the machine runs now.
        outcome: FailureOutcome,
        /// What it said.
        error: String,
    },
    /// The activation was begun and nobody knows how it ended.
    Interrupted {
        /// What is known.
        error: String,
    },
    /// The machine hindered the agent.
    Hindered {
        /// What the machine runs now.
        outcome: FailureOutcome,
        /// What happened.
        error: String,
    },
    /// The output is whole.
    Concluded {
        /// How the deployment ended.
        conclusion: Conclusion,
        /// Its digest.
        output: OutputDigest,
    },
}

/// Decides what to note. An input that does not fit notes nothing.
pub fn decide(state: &State, input: Input<'_>, context: &Context) -> Vec<Record> {
    match input {
        Input::Welcome { pending, running } => welcome(state, pending, running, context),
        Input::Events { session, events } => follow(state, session, events, context),
        Input::Claimed { deployment } => started(state, deployment).into_iter().collect(),
        Input::Acknowledged { request_id } => answered(state, request_id).into_iter().collect(),
        Input::Refused { request_id, code } => refused(state, request_id, code, context),
        Input::Done(outcome) => done(state, outcome, context).into_iter().collect(),
        Input::Output { bytes } => sealed(state, bytes, context).into_iter().collect(),
    }
}

/// What the log says stands over what the journal says, but for what only this
/// machine can know: what is under way on it.
fn welcome(
    state: &State,
    pending: Option<Pending>,
    running: Option<DeploymentId>,
    context: &Context,
) -> Vec<Record> {
    let mut records = Vec::new();
    let waiting = state.waiting.as_ref().map(|w| w.assignment.deployment);
    // Its claim was granted, and only the answer was lost. What waits by the log
    // comes after it, and must not take its place.
    let granted = running.filter(|running| waiting == Some(*running));
    records.extend(granted.and_then(|deployment| started(state, deployment)));
    if let Some(lost) = running.filter(|running| !state.is_open(*running)) {
        records.push(Record::Lost { report: lost_report(lost, context) });
    }
    match pending {
        Some(pending) if state.knows(pending.deployment) => {}
        Some(pending) => {
            records.push(Record::Admitted { assignment: pending.into(), claim: context.claim });
        }
        None if granted.is_some() => {}
        None => records.extend(waiting.map(|deployment| Record::Dropped { deployment })),
    }
    records
}

fn lost_report(deployment: DeploymentId, context: &Context) -> Outgoing {
    let report = Report::Failed {
        reason: FailureReason::StateLost,
        outcome: FailureOutcome::Unknown,
        output: OutputDigest { blake3: Digest::of(b""), bytes: 0 },
        error: "the agent runs without the state that knew of this deployment; what it did on the machine is not known".to_owned(),
    };
    outgoing(deployment, report, context)
}

fn outgoing(deployment: DeploymentId, report: Report, context: &Context) -> Outgoing {
    Outgoing { request_id: context.request, deployment, report, occurred_at: context.now }
}

/// Follows the events to what waits after the last of them.
///
/// They may be older than what the welcome said waits, for it comes first; the
/// last request still counts, and a claim of anything older is refused.
fn follow(
    state: &State,
    session: SessionId,
    events: &[StreamEvent],
    context: &Context,
) -> Vec<Record> {
    let before = state.waiting.as_ref().map(|waiting| waiting.assignment.deployment);
    let (mut newer, mut granted, mut over) = (None::<Assignment>, false, false);
    for event in events {
        let id = DeploymentId::from(event.event_id);
        let ended = match Event::decode(&event.type_name, event.payload.as_bytes()) {
            Ok(Event::DeploymentRequested(requested)) => {
                newer = (!state.knows(id)).then_some(Assignment {
                    deployment: id,
                    index: event.index,
                    activation: requested.activation,
                    store_path: requested.store_path,
                });
                continue;
            }
            // The event of our own claim may come before the claim's answer,
            // and with it the request of a newer deployment. The event of another
            // session's claim lets nobody here begin.
            Ok(Event::DeploymentStarted(event)) => {
                granted |= before == Some(event.deployment) && event.session == session;
                newer.take_if(|newer| newer.deployment == event.deployment);
                continue;
            }
            Ok(Event::DeploymentSuperseded(event)) => event.deployment,
            Ok(Event::DeploymentCancelled(event)) => event.deployment,
            // Over before this agent could begin it.
            Ok(Event::DeploymentFailed(event)) => event.deployment,
            Ok(Event::DeploymentSucceeded(event)) => event.deployment,
            // Of no consequence here, or of a newer server.
            Ok(_) | Err(_) => continue,
        };
        over |= before == Some(ended);
        newer.take_if(|newer| newer.deployment == ended);
    }
    let mut records = Vec::new();
    match before {
        Some(deployment) if granted && !over => records.extend(started(state, deployment)),
        Some(deployment) if over && newer.is_none() => records.push(Record::Dropped { deployment }),
        _ => {}
    }
    let claim = context.claim;
    records.extend(newer.map(|assignment| Record::Admitted { assignment, claim }));
    records
}

fn started(state: &State, deployment: DeploymentId) -> Option<Record> {
    let waiting = state.waiting.as_ref().filter(|w| w.assignment.deployment == deployment)?;
    // Two at once cannot be granted; if they are, the newer waits.
    state.run.is_none().then_some(Record::Started { deployment: waiting.assignment.deployment })
}

fn answered(state: &State, request_id: RequestId) -> Option<Record> {
    let known = state.reports.iter().any(|report| report.request_id == request_id);
    known.then_some(Record::Answered { request_id })
}

/// Returns whether a refusal shows that log and journal differ about what runs:
/// by the log something does, and here nothing. Only a new session's welcome
/// says what it is.
pub fn is_at_odds(state: &State, request_id: RequestId, code: Code) -> bool {
    let claimed = state.waiting.as_ref().is_some_and(|waiting| waiting.claim == request_id);
    claimed && code == Code::AgentBusy && state.run.is_none()
}

fn refused(state: &State, request_id: RequestId, code: Code, context: &Context) -> Vec<Record> {
    if let Some(waiting) = state.waiting.as_ref().filter(|w| w.claim == request_id) {
        let deployment = waiting.assignment.deployment;
        return match code {
            // Something else runs by the log, which the next session will tell
            // about; then the claim is made again.
            Code::AgentBusy => Vec::new(),
            // Another session has taken over, and it is that one's to claim.
            Code::SessionReplaced => Vec::new(),
            _ => vec![Record::Dropped { deployment }],
        };
    }
    let report = state.reports.iter().find(|report| report.request_id == request_id);
    let mut records: Vec<Record> = answered(state, request_id).into_iter().collect();
    // By the log it runs on, and would for ever. What is true of the machine
    // cannot be told any more, and that is told.
    let is_untold = matches!(code, Code::ReportOutOfOrder | Code::ReportInvalid);
    let stuck = report.filter(|report| is_untold && is_own_end(report));
    records.extend(
        stuck.map(|report| Record::Lost { report: lost_report(report.deployment, context) }),
    );
    records
}

/// Returns whether a report ends a deployment that this agent knows.
const fn is_own_end(outgoing: &Outgoing) -> bool {
    match &outgoing.report {
        Report::Failed { reason, .. } => !matches!(reason, FailureReason::StateLost),
        report => report.is_end(),
    }
}

fn done(state: &State, outcome: Outcome, context: &Context) -> Option<Record> {
    let run = state.run.as_ref()?;
    let deployment = run.assignment.deployment;
    let report = |report| outgoing(deployment, report, context);
    let failing =
        |reason, outcome, error, report| Some(Record::Failing { reason, outcome, error, report });
    match (outcome, &run.stage) {
        (Outcome::Fetched { closure_bytes, closure_paths }, Stage::Claimed) => {
            let fetched = Report::ClosureFetched { closure_bytes, closure_paths };
            Some(Record::Fetched { report: report(fetched) })
        }
        (Outcome::FetchFailed { error }, Stage::Claimed) => {
            failing(FailureReason::FetchFailed, FailureOutcome::Unchanged, error, None)
        }
        (Outcome::Remembered { closure, previous, previous_system }, Stage::Fetched) => {
            Some(Record::Activating { closure, previous, previous_system })
        }
        (Outcome::Activated { generation }, Stage::Activating { closure, previous, .. }) => {
            let (closure, previous) = (*closure, previous.clone());
            let activated = Report::ActivationSucceeded { closure, generation, previous };
            Some(Record::Activated { report: report(activated) })
        }
        (
            Outcome::ActivationFailed { exit_status, outcome, error },
            Stage::Activating { closure, previous, .. },
        ) => {
            let (closure, previous) = (*closure, previous.clone());
            let failed =
                Report::ActivationFailed { closure, exit_status, previous, error: error.clone() };
            failing(FailureReason::ActivationFailed, outcome, error, Some(report(failed)))
        }
        (Outcome::Interrupted { error }, Stage::Activating { .. }) => {
            failing(FailureReason::Interrupted, FailureOutcome::Unknown, error, None)
        }
        (
            Outcome::Hindered { outcome, error },
            Stage::Claimed | Stage::Fetched | Stage::Activating { .. },
        ) => failing(FailureReason::AgentError, outcome, error, None),
        (Outcome::Concluded { conclusion, output }, Stage::Activated | Stage::Failing { .. }) => {
            let end = match conclusion {
                Conclusion::Succeeded => Report::Succeeded { output },
                Conclusion::Failed { reason, outcome, error } => {
                    Report::Failed { reason, outcome, output, error }
                }
            };
            Some(Record::Ended { report: report(end) })
        }
        _ => None,
    }
}

fn sealed(state: &State, bytes: u64, context: &Context) -> Option<Record> {
    let run = state.run.as_ref().filter(|_| bytes > 0)?;
    let chunk = Chunk { request_id: context.request, offset: run.sealed, bytes };
    Some(Record::Chunk { chunk, acknowledged: run.acknowledged })
}
