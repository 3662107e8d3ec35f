//! Tables over the planner: what is so, what comes in, what is noted and done.

mod intake;
mod properties;
mod steps;

use super::{Action, Conclusion, Context, Flight, Input, Outcome, Step, decide, is_at_odds, next};
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
        self.hears(Input::Events { session: session(), events: &events })
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
        index: None,
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

/// The session that is open.
fn session() -> SessionId {
    SessionId::new(Uuid::from_u128(1))
}

fn started(n: u128) -> Event {
    event::DeploymentStarted { deployment: id(n), session: session() }.into()
}

/// The start of a deployment by another session's claim.
fn started_elsewhere(n: u128) -> Event {
    let session = SessionId::new(Uuid::from_u128(2));
    event::DeploymentStarted { deployment: id(n), session }.into()
}

fn failed(n: u128) -> Event {
    let (reason, outcome) = (FailureReason::AgentRetired, FailureOutcome::Unchanged);
    let output = Some(output());
    event::DeploymentFailed { deployment: id(n), reason, outcome, output }.into()
}

fn remembered() -> Outcome {
    Outcome::Remembered { closure: ClosureKind::Plain, previous: None, previous_system: None }
}
