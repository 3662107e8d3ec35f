//! What the server knows, and how it answers.

use super::history::History;
use api_wire::agent::{FromAgent, FromServer, GoodbyeReason, StreamEvent};
use api_wire::problem::Code;
use data_encoding::BASE64;
use ledger_core::agent::{Agent, Report};
use ledger_core::command::NewEvent;
use ledger_core::event;
use ledger_core::event::{Digest, Event, OutputDigest};
use ledger_core::ids::{
    ActivationId, DeploymentId, EventId, Position, RequestId, SessionId, Version,
};
use ledger_core::key::PublicKey;
use ledger_core::names::{AgentName, StorePath, WorkspaceName};
use ledger_core::rejection::Rejection;
use ledger_core::stream::StreamId;
use ledger_core::time::Timestamp;
use std::collections::HashMap;
use uuid::Uuid;

/// Everything that the server knows.
#[derive(Default)]
pub struct World {
    pub agent: Agent,
    pub stream: Vec<StreamEvent>,
    pub events: Vec<Event>,
    /// The answers by request, so that nothing counts twice.
    answers: HashMap<RequestId, FromServer>,
    pub outputs: HashMap<DeploymentId, Vec<u8>>,
    /// Every message heard, in order.
    pub heard: Vec<FromAgent>,
    pub sessions: usize,
    /// With which words the next sessions are ended at once.
    pub goodbye: Option<FromServer>,
    /// The version that Welcome claims as the head.
    pub head: Option<Version>,
    /// What Welcome claims to run.
    pub running: Option<DeploymentId>,
    /// Whether the answer to a claim gets lost, with the connection.
    pub lose_grants: bool,
    /// Claims that are refused whatever the core says.
    pub refuse_claims: Option<Code>,
    /// Answers to reports and outputs that are swallowed before one is given.
    pub swallow: usize,
    /// Whether every token is refused.
    pub refuse_tokens: bool,
    /// Events that are left out before the next ones are sent.
    pub leave_out: usize,
    /// What it shows of its history.
    pub history: History,
    /// Not a word after Welcome, no pong either.
    pub mute: bool,
    /// How many sessions were treated so.
    pub muted: usize,
}

pub fn name() -> AgentName {
    AgentName::new("web").expect("a name")
}

pub fn workspace() -> WorkspaceName {
    WorkspaceName::initial()
}

fn stream() -> StreamId {
    StreamId::Agent(workspace(), name())
}

pub fn request_id() -> RequestId {
    RequestId::new(Uuid::now_v7())
}

impl World {
    /// A world in which the agent has shown itself.
    pub fn registered() -> Self {
        let mut world = Self::default();
        let registered = event::AgentRegistered { public_key: PublicKey::from_bytes([0; 32]) };
        world.append(request_id(), vec![NewEvent::new(stream(), registered)]);
        world
    }

    fn append(&mut self, request: RequestId, events: Vec<NewEvent>) {
        for (ordinal, new) in events.into_iter().enumerate() {
            let event_id = EventId::derive(request, u32::try_from(ordinal).expect("small"));
            self.agent.evolve(event_id, &new.event);
            let place = self.stream.len() as u64 + 1;
            self.stream.push(StreamEvent {
                position: Position(place),
                version: Version(place),
                event_id,
                type_name: new.event.type_name().to_owned(),
                recorded_at: Timestamp::default(),
                payload: String::from_utf8(new.event.encode()).expect("text"),
                index: None,
            });
            self.events.push(new.event);
        }
    }

    pub fn request(&mut self, store_path: &StorePath) -> DeploymentId {
        let request = request_id();
        let by = DeploymentId::from(EventId::derive(request, 0));
        let mut events = vec![NewEvent::new(
            stream(),
            event::DeploymentRequested {
                activation: ActivationId::new(Uuid::now_v7()),
                store_path: store_path.clone(),
                rollback_script: None,
            },
        )];
        if let Some(pending) = &self.agent.pending {
            let superseded = event::DeploymentSuperseded { deployment: pending.id, by };
            events.push(NewEvent::new(stream(), superseded));
            // The core writes it before the request; ids are made for that order.
            events.swap(0, 1);
            self.append(request, events);
            return DeploymentId::from(EventId::derive(request, 1));
        }
        self.append(request, events);
        by
    }

    /// Records a start that this agent never asked for.
    pub fn start(&mut self, deployment: DeploymentId) {
        let session = SessionId::new(Uuid::now_v7());
        let started = self.agent.start(&stream(), deployment, session).expect("it is pending");
        self.append(request_id(), started);
    }

    /// Answers a message, as a server does after the commit.
    pub fn answer(&mut self, session: SessionId, message: FromAgent) -> Option<FromServer> {
        match message {
            FromAgent::Hello { .. } | FromAgent::Goodbye {} => None,
            FromAgent::History { size } => Some(self.history.show(size)),
            FromAgent::Claim { request_id, deployment } => {
                if let Some(code) = self.refuse_claims {
                    return Some(refusal(request_id, code));
                }
                let decided = self.agent.start(&stream(), deployment, session);
                self.decided(request_id, decided, FromServer::Claimed { request_id, deployment })
            }
            FromAgent::Report { request_id, deployment, report, .. } => {
                if let Some(answer) = self.answers.get(&request_id) {
                    return Some(answer.clone());
                }
                self.check_output(deployment, &report);
                let decided = self.agent.report(&stream(), deployment, report);
                self.decided(request_id, decided, FromServer::Acknowledged { request_id })
            }
            FromAgent::Output { request_id, deployment, offset, bytes } => {
                let bytes = BASE64.decode(bytes.as_bytes()).expect("base 64");
                let stored = self.outputs.entry(deployment).or_default();
                let offset = usize::try_from(offset).expect("small");
                if offset == stored.len() {
                    stored.extend_from_slice(&bytes);
                } else {
                    assert_eq!(stored.get(offset..offset + bytes.len()), Some(&*bytes), "overlap");
                }
                Some(FromServer::Acknowledged { request_id })
            }
        }
    }

    /// An end must come after all the output that it vouches for.
    fn check_output(&self, deployment: DeploymentId, report: &Report) {
        if let Report::Succeeded { output } | Report::Failed { output, .. } = report {
            let stored = self.outputs.get(&deployment).cloned().unwrap_or_default();
            let digest = OutputDigest { blake3: Digest::of(&stored), bytes: stored.len() as u64 };
            assert_eq!(*output, digest, "{}", String::from_utf8_lossy(&stored));
        }
    }

    fn decided(
        &mut self,
        request_id: RequestId,
        decided: Result<Vec<NewEvent>, Rejection>,
        good: FromServer,
    ) -> Option<FromServer> {
        let answer = match decided {
            Ok(events) => {
                self.append(request_id, events);
                self.answers.insert(request_id, good.clone());
                good
            }
            Err(rejection) => refusal(request_id, Code::of_rejection(&rejection)),
        };
        if self.swallow > 0 {
            self.swallow -= 1;
            return None;
        }
        Some(answer)
    }

    /// How the deployment ended, as the log's type names say.
    pub fn story(&self, deployment: DeploymentId) -> Vec<&'static str> {
        let about = |event: &Event| {
            serde_json::from_slice::<serde_json::Value>(&event.encode())
                .ok()
                .and_then(|payload| payload.get("deployment").cloned())
                .is_some_and(|id| id == deployment.to_string())
        };
        self.events.iter().filter(|event| about(event)).map(Event::type_name).collect()
    }

    pub fn ended(&self, deployment: DeploymentId) -> bool {
        self.agent.end_of(deployment).is_some()
    }

    /// What the failing deployment said, as the last report told.
    pub fn error(&self, deployment: DeploymentId) -> String {
        let error = self.heard.iter().rev().find_map(|message| match message {
            FromAgent::Report { deployment: of, report: Report::Failed { error, .. }, .. } => {
                (*of == deployment).then(|| error.clone())
            }
            _ => None,
        });
        error.unwrap_or_default()
    }

    pub fn output(&self, deployment: DeploymentId) -> String {
        let bytes = self.outputs.get(&deployment).cloned().unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn refusal(request_id: RequestId, code: Code) -> FromServer {
    FromServer::Refused { request_id, code, detail: code.title().to_owned() }
}

pub fn goodbye(reason: GoodbyeReason, detail: &str) -> FromServer {
    FromServer::Goodbye { reason, detail: detail.to_owned(), retry_after_ms: None }
}
