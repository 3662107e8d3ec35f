//! Agents that are only their protocol: they hold sessions, claim what they are
//! asked to deploy, and report that it went well.

use super::load::{Acknowledged, Book, Deed, Run, Runs};
use crate::rig::wire::{Puppet, Socket};
use api_wire::agent::{FromAgent, FromServer};
use api_wire::problem::Code;
use ledger_core::agent::Report;
use ledger_core::event::{ClosureKind, Digest, OutputDigest};
use ledger_core::{DeploymentId, RequestId};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::time::timeout;

/// The agents' names.
pub(super) const NAMES: [&str; 4] = ["agent-1", "agent-2", "agent-3", "agent-4"];

/// How soon a server is tried again that lives, but had no session to give.
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// Starts the agents, each on a thread of its own. They end with the runs.
pub(super) fn start(
    runtime: &Arc<Runtime>,
    runs: &Runs,
    token: &str,
    book: &Arc<Book>,
) -> Vec<JoinHandle<()>> {
    let start = |name: &&str| {
        let mut agent = Agent {
            puppet: Puppet::new(name),
            token: token.to_owned(),
            book: book.clone(),
            newest: None,
            claimed: None,
            current: None,
        };
        let (runtime, mut runs) = (runtime.clone(), runs.clone());
        std::thread::spawn(move || {
            while runs.has_changed().is_ok() {
                let run = runs.borrow().clone();
                agent.serve(&run);
                let next = runs.wait_for(|next| next.number > run.number);
                // Whether another server is there or the same again.
                let _ = runtime.block_on(async { timeout(TRY_AGAIN, next).await.map(drop) });
            }
        })
    };
    NAMES.iter().map(start).collect()
}

struct Agent {
    puppet: Puppet,
    token: String,
    book: Arc<Book>,
    /// The newest deployment that was asked for and not claimed.
    newest: Option<DeploymentId>,
    /// The one that was claimed last, which a welcome may name once more.
    claimed: Option<DeploymentId>,
    /// What waits for an answer. It outlives sessions.
    current: Option<Step>,
}

/// A claim (the first) or a report of the deployment, under its one id.
#[derive(Clone, Copy)]
struct Step {
    request: RequestId,
    deployment: DeploymentId,
    number: usize,
    /// The run in which it was sent first.
    sent_in: usize,
}

/// What each step is in the log.
const STEPS: [&str; 4] =
    ["DeploymentStarted", "ClosureFetched", "ActivationSucceeded", "DeploymentSucceeded"];

impl Agent {
    /// Has one session, from its beginning to its end.
    fn serve(&mut self, run: &Run) {
        let opened = self.puppet.try_connect(run.client.address(), &self.token);
        let Some((mut socket, welcome)) = opened else { return };
        let FromServer::Welcome { session, pending, .. } = welcome else { return };
        self.book.note_session(session);
        self.newest = pending.map(|pending| pending.deployment);
        if let Some(step) = self.current {
            socket.send(&step.message());
        }
        loop {
            if self.current.is_none()
                && let Some(deployment) = self.newest.take()
                && self.claimed != Some(deployment)
            {
                self.claimed = Some(deployment);
                self.begin(&mut socket, deployment, 0, run);
            }
            let Some(message) = socket.try_receive() else { return };
            self.hear(&mut socket, message, run);
        }
    }

    fn begin(&mut self, socket: &mut Socket, deployment: DeploymentId, number: usize, run: &Run) {
        let request = RequestId::new(uuid::Uuid::now_v7());
        let step = Step { request, deployment, number, sent_in: run.number };
        self.current = Some(step);
        socket.send(&step.message());
    }

    fn hear(&mut self, socket: &mut Socket, message: FromServer, run: &Run) {
        match message {
            FromServer::Events { events } => {
                let newest = events.iter().rfind(|e| e.type_name == "DeploymentRequested");
                if let Some(event) = newest {
                    self.newest = Some(event.event_id.into());
                }
            }
            FromServer::Claimed { request_id, .. } | FromServer::Acknowledged { request_id } => {
                if let Some(step) = self.current.take_if(|step| step.request == request_id) {
                    self.book.note(step.acknowledged(&self.puppet, run));
                    if step.number + 1 < STEPS.len() {
                        self.begin(socket, step.deployment, step.number + 1, run);
                    }
                }
            }
            FromServer::Refused { request_id, code, detail } => {
                // Newer ones may have come in while there was no server, so many that
                // it remembers this one no more.
                let is_late = matches!(code, Code::DeploymentSuperseded | Code::DeploymentNotFound);
                let claim = self.current.take_if(|step| step.request == request_id);
                let claim = claim.filter(|step| step.number == 0 && is_late);
                assert!(claim.is_some(), "{}: {code:?}, {detail}", self.puppet.name);
                self.book.note_refused(request_id);
            }
            FromServer::Goodbye { reason, detail, .. } => {
                assert!(!reason.is_final(), "{}: {detail}", self.puppet.name);
            }
            other => panic!("{}: {other:?}", self.puppet.name),
        }
    }
}

impl Step {
    fn acknowledged(&self, puppet: &Puppet, run: &Run) -> Acknowledged {
        let deed = Deed::Step {
            agent: puppet.name.clone(),
            deployment: self.deployment,
            type_name: STEPS[self.number],
        };
        let Self { request, sent_in, .. } = *self;
        Acknowledged { request, deed, sent_in, answered_in: run.number }
    }

    fn message(&self) -> FromAgent {
        let Self { request: request_id, deployment, .. } = *self;
        let report = match self.number {
            0 => return FromAgent::Claim { request_id, deployment },
            1 => Report::ClosureFetched { closure_bytes: 7, closure_paths: 2 },
            2 => Report::ActivationSucceeded {
                closure: ClosureKind::Plain,
                generation: Some(1),
                previous: None,
            },
            _ => Report::Succeeded { output: OutputDigest { blake3: Digest::of(b""), bytes: 0 } },
        };
        let occurred_at = "2026-03-01T12:00:00Z".parse().expect("a good time");
        FromAgent::Report { request_id, deployment, report, occurred_at }
    }
}
