//! Tables over the planner: what is so, what comes in, what is noted and done.

use super::{Action, Conclusion, Context, Flight, Input, Outcome, Step, decide, next};
use crate::journal::fold::State;
use crate::journal::record::{Line, Record};
use api_wire::agent::{Pending, StreamEvent};
use api_wire::problem::Code;
use ledger_core::agent::Report;
use ledger_core::event::{
    self, CancelReason, ClosureKind, Digest, Event, FailureOutcome, FailureReason, OutputDigest,
};
use ledger_core::ids::{
    ActivationId, DeploymentId, EventId, Position, RequestId, SessionId, Version,
};
use ledger_core::names::StorePath;
use ledger_core::time::Timestamp;
use uuid::Uuid;

fn id(n: u128) -> DeploymentId {
    DeploymentId::new(Uuid::from_u128(n))
}

fn path() -> StorePath {
    StorePath::new("/nix/store/0c5b8vw40dy178xlpddw65q9gf1h2186-a").expect("a path")
}

fn output() -> OutputDigest {
    OutputDigest { blake3: Digest::of(b""), bytes: 0 }
}

/// An agent of nothing but its journal's state, with ids that count up.
#[derive(Default)]
struct Agent {
    state: State,
    ids: u128,
}

impl Agent {
    /// Takes an input, and returns the names of what was noted.
    fn hears(&mut self, input: Input<'_>) -> Vec<&'static str> {
        self.ids += 2;
        let request = |n| RequestId::new(Uuid::from_u128(n));
        let context = Context {
            now: Timestamp::default(),
            claim: request(1_000 + self.ids),
            request: request(1_001 + self.ids),
        };
        let records = decide(&self.state, input, &context);
        for record in &records {
            self.state.evolve(&Line { cursor: None, record: record.clone() });
        }
        records.iter().map(name).collect()
    }

    fn hears_of(&mut self, events: &[(u128, Event)]) -> Vec<&'static str> {
        let events: Vec<_> = events.iter().map(|(id, event)| stream_event(*id, event)).collect();
        self.hears(Input::Events(&events))
    }

    fn welcomed(&mut self, pending: Option<u128>, running: Option<u128>) -> Vec<&'static str> {
        let pending = pending.map(|n| Pending {
            deployment: id(n),
            index: 1,
            activation: ActivationId::new(Uuid::nil()),
            store_path: path(),
        });
        self.hears(Input::Welcome { pending, running: running.map(id) })
    }

    fn claim(&self) -> RequestId {
        self.state.waiting.as_ref().expect("it waits").claim
    }

    fn does(&self) -> Vec<Action> {
        next(&self.state, &Flight { connected: true, ..Flight::default() })
    }

    fn step(&self) -> Option<Step> {
        next(&self.state, &Flight::default()).into_iter().find_map(|action| match action {
            Action::Work(_, step) => Some(step),
            _ => None,
        })
    }

    fn waits(&self) -> Option<DeploymentId> {
        self.state.waiting.as_ref().map(|waiting| waiting.assignment.deployment)
    }

    /// An agent that runs deployment 1.
    fn running() -> Self {
        let mut agent = Self::default();
        assert_eq!(agent.welcomed(Some(1), None), ["admitted"]);
        assert_eq!(agent.hears(Input::Claimed { deployment: id(1) }), ["started"]);
        agent
    }

    fn answer_all(&mut self) {
        while let Some(report) = self.state.reports.front().cloned() {
            self.hears(Input::Acknowledged { request_id: report.request_id });
        }
    }
}

fn name(record: &Record) -> &'static str {
    match record {
        Record::Snapshot { .. } => "snapshot",
        Record::Cursor => "cursor",
        Record::Admitted { .. } => "admitted",
        Record::Dropped { .. } => "dropped",
        Record::Started { .. } => "started",
        Record::Fetched { .. } => "fetched",
        Record::Activating { .. } => "activating",
        Record::Activated { .. } => "activated",
        Record::Failing { .. } => "failing",
        Record::Chunk { .. } => "chunk",
        Record::Ended { .. } => "ended",
        Record::Lost { .. } => "lost",
        Record::Answered { .. } => "answered",
    }
}

fn stream_event(event_id: u128, event: &Event) -> StreamEvent {
    StreamEvent {
        position: Position(1),
        version: Version(1),
        event_id: EventId::new(Uuid::from_u128(event_id)),
        type_name: event.type_name().to_owned(),
        recorded_at: Timestamp::default(),
        payload: String::from_utf8(event.encode()).expect("text"),
    }
}

fn requested() -> Event {
    let activation = ActivationId::new(Uuid::nil());
    event::DeploymentRequested { activation, store_path: path(), rollback_script: None }.into()
}

fn superseded(old: u128, by: u128) -> Event {
    event::DeploymentSuperseded { deployment: id(old), by: id(by) }.into()
}

fn cancelled(n: u128) -> Event {
    let reason = CancelReason::Requested;
    event::DeploymentCancelled { deployment: id(n), reason }.into()
}

fn started(n: u128) -> Event {
    let session = SessionId::new(Uuid::nil());
    event::DeploymentStarted { deployment: id(n), session }.into()
}

fn failed(n: u128) -> Event {
    let (reason, outcome) = (FailureReason::AgentRetired, FailureOutcome::Unchanged);
    event::DeploymentFailed { deployment: id(n), reason, outcome, output: output() }.into()
}

#[test]
fn what_waits_after_events_is_the_newest_that_still_counts() {
    type Case<'a> = (&'a str, &'a [(u128, Event)], &'a [&'a str], Option<u128>);
    let cases: &[Case<'_>] = &[
        ("a request", &[(2, requested())], &["admitted"], Some(2)),
        (
            "one superseded by another",
            &[(9, superseded(1, 2)), (2, requested())],
            &["admitted"],
            Some(2),
        ),
        (
            "several at once",
            &[(2, requested()), (9, superseded(2, 3)), (3, requested())],
            &["admitted"],
            Some(3),
        ),
        ("a cancellation", &[(9, cancelled(1))], &["dropped"], None),
        (
            "one that came and went",
            &[(9, superseded(1, 2)), (2, requested()), (9, cancelled(2))],
            &["dropped"],
            None,
        ),
        ("the end of another", &[(9, cancelled(7))], &[], Some(1)),
        ("what it knows already", &[(1, requested())], &[], Some(1)),
        ("an end by the server", &[(9, failed(1))], &["dropped"], None),
        ("the event of its claim", &[(9, started(1))], &["started"], None),
        (
            "the event of its claim and a newer request",
            &[(9, started(1)), (2, requested())],
            &["started", "admitted"],
            Some(2),
        ),
        (
            "started and ended by the server",
            &[(9, started(1)), (10, failed(1))],
            &["dropped"],
            None,
        ),
    ];
    for (what, events, noted, waits) in cases {
        let mut agent = Agent::default();
        agent.welcomed(Some(1), None);
        assert_eq!(agent.hears_of(events), *noted, "{what}");
        assert_eq!(agent.waits(), waits.map(id), "{what}");
    }
}

#[test]
fn older_events_in_parts_end_with_what_the_welcome_said() {
    let mut agent = Agent::default();
    agent.welcomed(Some(1), None);
    assert_eq!(agent.hears_of(&[(5, requested())]), ["admitted"]);
    let (request_id, code) = (agent.claim(), Code::DeploymentSuperseded);
    assert_eq!(agent.hears(Input::Refused { request_id, code }), ["dropped"]);
    assert_eq!(agent.hears_of(&[(9, superseded(5, 1)), (1, requested())]), ["admitted"]);
    assert_eq!(agent.waits(), Some(id(1)));
}

#[test]
fn unknown_and_broken_events_change_nothing() {
    let mut agent = Agent::default();
    let mut event = stream_event(1, &requested());
    event.type_name = "SomethingNew".to_owned();
    assert!(agent.hears(Input::Events(std::slice::from_ref(&event))).is_empty());
    event.type_name = "DeploymentRequested".to_owned();
    event.payload = "{".to_owned();
    assert!(agent.hears(Input::Events(&[event])).is_empty());
}

#[test]
fn a_welcome_says_what_waits_and_what_was_lost() {
    // What the journal has: nothing, 1 waiting, or 1 running.
    let none = Agent::default;
    let waiting = || {
        let mut agent = Agent::default();
        agent.welcomed(Some(1), None);
        agent
    };
    type Case<'a> = (&'a str, Agent, Option<u128>, Option<u128>, &'a [&'a str], Option<u128>);
    let cases: [Case<'_>; 9] = [
        ("nothing, nothing", none(), None, None, &[], None),
        ("new work", none(), Some(1), None, &["admitted"], Some(1)),
        ("the same again", waiting(), Some(1), None, &[], Some(1)),
        ("a newer one", waiting(), Some(2), None, &["admitted"], Some(2)),
        ("gone meanwhile", waiting(), None, None, &["dropped"], None),
        ("claimed, and the answer lost", waiting(), None, Some(1), &[], Some(1)),
        ("unknown work", none(), None, Some(7), &["lost"], None),
        ("unknown work and new", none(), Some(8), Some(7), &["lost", "admitted"], Some(8)),
        ("work under way", Agent::running(), None, Some(1), &[], None),
    ];
    for (what, mut agent, pending, running, noted, waits) in cases {
        assert_eq!(agent.welcomed(pending, running), noted, "{what}");
        assert_eq!(agent.waits(), waits.map(id), "{what}");
    }
}

#[test]
fn a_claim_is_made_once_per_session_and_only_when_nothing_runs() {
    let mut agent = Agent::default();
    agent.welcomed(Some(1), None);
    let claim = Action::Claim { request_id: agent.claim(), deployment: id(1) };
    assert_eq!(agent.does(), [claim]);
    let sent = [agent.claim()].into();
    assert!(next(&agent.state, &Flight { working: false, connected: true, sent }).is_empty());
    assert!(next(&agent.state, &Flight::default()).is_empty(), "there is nobody to ask");

    let mut agent = Agent::running();
    agent.hears_of(&[(2, requested())]);
    assert_eq!(agent.waits(), Some(id(2)));
    assert!(!agent.does().iter().any(|action| matches!(action, Action::Claim { .. })));

    // Nor before a lost deployment is reported, for the log still says it runs.
    let mut agent = Agent::default();
    agent.welcomed(Some(8), Some(7));
    assert!(!agent.does().iter().any(|action| matches!(action, Action::Claim { .. })));
    agent.answer_all();
    assert!(agent.does().iter().any(|action| matches!(action, Action::Claim { .. })));
}

#[test]
fn a_refused_claim_drops_the_deployment_unless_something_else_runs() {
    for (code, noted) in [
        (Code::DeploymentSuperseded, &["dropped"][..]),
        (Code::DeploymentCancelled, &["dropped"]),
        (Code::DeploymentEnded, &["dropped"]),
        (Code::DeploymentNotFound, &["dropped"]),
        (Code::AgentBusy, &[]),
    ] {
        let mut agent = Agent::default();
        agent.welcomed(Some(1), None);
        let request_id = agent.claim();
        assert_eq!(agent.hears(Input::Refused { request_id, code }), noted, "{code:?}");
    }
}

#[test]
fn a_grant_that_nobody_waits_for_begins_nothing() {
    let mut agent = Agent::default();
    assert!(agent.hears(Input::Claimed { deployment: id(1) }).is_empty());
    let mut agent = Agent::running();
    assert!(agent.hears(Input::Claimed { deployment: id(1) }).is_empty(), "heard twice");
}

fn remembered() -> Outcome {
    Outcome::Remembered { closure: ClosureKind::Plain, previous: None, previous_system: None }
}

#[test]
fn the_steps_follow_one_another() {
    let mut agent = Agent::running();
    assert_eq!(agent.step(), Some(Step::Fetch));
    let fetched = Outcome::Fetched { closure_bytes: 1, closure_paths: 1 };
    assert_eq!(agent.hears(Input::Done(fetched)), ["fetched"]);
    assert_eq!(agent.step(), Some(Step::Remember));
    assert_eq!(agent.hears(Input::Done(remembered())), ["activating"]);
    assert_eq!(agent.step(), Some(Step::Activate { closure: ClosureKind::Plain, previous: None }));
    assert_eq!(agent.hears(Input::Done(Outcome::Activated { generation: Some(1) })), ["activated"]);
    assert_eq!(agent.step(), Some(Step::Conclude(Conclusion::Succeeded)));
    let concluded = Outcome::Concluded { conclusion: Conclusion::Succeeded, output: output() };
    assert_eq!(agent.hears(Input::Done(concluded)), ["ended"]);
    assert_eq!(agent.step(), None);
    agent.answer_all();
    assert_eq!(agent.state.run, None);
    assert!(agent.state.knows(id(1)), "it is not begun again");
}

#[test]
fn each_failure_is_reported_with_what_is_true() {
    let at = |steps: usize| {
        let mut agent = Agent::running();
        let outcomes = [Outcome::Fetched { closure_bytes: 1, closure_paths: 1 }, remembered()];
        for outcome in outcomes.into_iter().take(steps) {
            agent.hears(Input::Done(outcome));
        }
        agent
    };
    let error = || "words".to_owned();
    let (unchanged, unknown) = (FailureOutcome::Unchanged, FailureOutcome::Unknown);
    let cases = [
        (0, Outcome::FetchFailed { error: error() }, FailureReason::FetchFailed, unchanged),
        (
            0,
            Outcome::Hindered { outcome: unchanged, error: error() },
            FailureReason::AgentError,
            unchanged,
        ),
        (
            1,
            Outcome::Hindered { outcome: unchanged, error: error() },
            FailureReason::AgentError,
            unchanged,
        ),
        (2, Outcome::Interrupted { error: error() }, FailureReason::Interrupted, unknown),
        (
            2,
            Outcome::ActivationFailed { exit_status: Some(1), outcome: unknown, error: error() },
            FailureReason::ActivationFailed,
            unknown,
        ),
    ];
    for (steps, outcome, reason, left) in cases {
        let mut agent = at(steps);
        let what = format!("{outcome:?}");
        assert_eq!(agent.hears(Input::Done(outcome)), ["failing"], "{what}");
        let conclusion = Conclusion::Failed { reason, outcome: left, error: error() };
        assert_eq!(agent.step(), Some(Step::Conclude(conclusion.clone())), "{what}");
        let done = Outcome::Concluded { conclusion, output: output() };
        assert_eq!(agent.hears(Input::Done(done)), ["ended"], "{what}");
        let last = agent.state.reports.back().expect("a report");
        assert_eq!(
            last.report,
            Report::Failed { reason, outcome: left, output: output(), error: error() }
        );
    }
}

#[test]
fn an_end_that_the_log_does_not_take_is_reported_as_lost_once() {
    let mut agent = Agent::running();
    agent.hears(Input::Done(Outcome::FetchFailed { error: String::new() }));
    let conclusion = Conclusion::Failed {
        reason: FailureReason::FetchFailed,
        outcome: FailureOutcome::Unchanged,
        error: String::new(),
    };
    agent.hears(Input::Done(Outcome::Concluded { conclusion, output: output() }));
    let code = Code::ReportOutOfOrder;
    let request_id = agent.state.reports[0].request_id;
    assert_eq!(agent.hears(Input::Refused { request_id, code }), ["answered", "lost"]);
    assert_eq!(agent.state.run, None);
    let request_id = agent.state.reports[0].request_id;
    assert_eq!(agent.hears(Input::Refused { request_id, code }), ["answered"]);
    // And where the log still says so in a later session, again.
    assert_eq!(agent.welcomed(None, Some(1)), ["lost"]);
}

#[test]
fn an_outcome_out_of_step_notes_nothing() {
    let mut agent = Agent::running();
    assert!(agent.hears(Input::Done(remembered())).is_empty());
    assert!(agent.hears(Input::Done(Outcome::Activated { generation: None })).is_empty());
    assert!(Agent::default().hears(Input::Done(remembered())).is_empty());
}

#[test]
fn the_end_is_told_after_the_output_and_reports_one_by_one() {
    let mut agent = Agent::running();
    agent.hears(Input::Output { bytes: 10 });
    agent.hears(Input::Done(Outcome::FetchFailed { error: String::new() }));
    let conclusion = Conclusion::Failed {
        reason: FailureReason::FetchFailed,
        outcome: FailureOutcome::Unchanged,
        error: String::new(),
    };
    let output = OutputDigest { blake3: Digest::of(b"0123456789abcde"), bytes: 15 };
    agent.hears(Input::Done(Outcome::Concluded { conclusion, output }));
    let reports = |agent: &Agent| {
        agent.does().iter().filter(|action| matches!(action, Action::Report(_))).count()
    };
    assert_eq!(reports(&agent), 0);
    agent.hears(Input::Output { bytes: 5 });
    let run = agent.state.run.as_mut().expect("it runs");
    run.acknowledge_to(10);
    assert_eq!((run.acknowledged, run.chunks.len()), (10, 1));
    assert_eq!(reports(&agent), 0);
    agent.state.run.as_mut().expect("it runs").acknowledge_to(15);
    assert_eq!(reports(&agent), 1);
}

#[test]
fn chunks_join_without_gap_and_only_some_are_under_way() {
    let mut agent = Agent::running();
    for _ in 0..20 {
        agent.hears(Input::Output { bytes: 7 });
    }
    let offsets: Vec<u64> = agent
        .does()
        .into_iter()
        .filter_map(|action| match action {
            Action::Output(_, chunk) => Some(chunk.offset),
            _ => None,
        })
        .collect();
    assert_eq!(offsets, (0..8).map(|n| n * 7).collect::<Vec<_>>());
    assert!(!agent.does().iter().any(|action| matches!(action, Action::Seal(..))));
}
