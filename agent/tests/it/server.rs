//! A server that speaks the agent's protocol and decides by the real core, in
//! memory.

use api_wire::agent::{FromAgent, FromServer, GoodbyeReason, PATH, Pending, StreamEvent};
use api_wire::problem::Code;
use data_encoding::BASE64;
use futures_util::{SinkExt, StreamExt};
use ledger_core::agent::{Agent, Report};
use ledger_core::command::{NewEvent, Rejection};
use ledger_core::event;
use ledger_core::event::{Digest, Event, OutputDigest};
use ledger_core::ids::{
    ActivationId, DeploymentId, EventId, NodeId, Position, RequestId, SessionId, Version,
};
use ledger_core::key::{PublicKey, session_proof};
use ledger_core::names::{AgentName, StorePath, WorkspaceName};
use ledger_core::stream::StreamId;
use ledger_core::time::Timestamp;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use uuid::Uuid;

/// How long a test waits for what it expects.
pub const PATIENCE: Duration = Duration::from_secs(60);

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
    /// Claims that are refused whatever the core says.
    pub refuse_claims: Option<Code>,
    /// Answers to reports and outputs that are swallowed before one is given.
    pub swallow: usize,
    /// Whether every token is refused.
    pub refuse_tokens: bool,
    /// Events that are left out before the next ones are sent.
    pub leave_out: usize,
    /// Not a word after Welcome, no pong either.
    pub mute: bool,
}

/// A server on a port of its own.
pub struct Server {
    pub address: SocketAddr,
    world: Arc<Mutex<World>>,
    changed: watch::Sender<u64>,
    /// Counts up to end all connections.
    cut: watch::Sender<u64>,
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
        let session = SessionId::new(Uuid::nil());
        let started = self.agent.start(&stream(), deployment, session).expect("it is pending");
        self.append(request_id(), started);
    }

    fn answer(&mut self, message: FromAgent) -> Option<FromServer> {
        match message {
            FromAgent::Hello { .. } | FromAgent::Goodbye {} => None,
            FromAgent::Claim { request_id, deployment } => {
                if let Some(code) = self.refuse_claims {
                    return Some(refusal(request_id, code));
                }
                let session = SessionId::new(Uuid::nil());
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

impl Server {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let world = Arc::new(Mutex::new(World::default()));
        world.lock().expect("no panic").append(
            request_id(),
            vec![NewEvent::new(
                stream(),
                event::AgentRegistered { public_key: PublicKey::from_bytes([0; 32]) },
            )],
        );
        let server =
            Self { address, world, changed: watch::Sender::new(0), cut: watch::Sender::new(0) };
        let (world, changed, cut) =
            (Arc::clone(&server.world), server.changed.clone(), server.cut.clone());
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                // Answers are small and must not wait for one another.
                tcp.set_nodelay(true).expect("a socket");
                let (world, changed) = (Arc::clone(&world), changed.clone());
                let mut cut = cut.subscribe();
                tokio::spawn(async move {
                    tokio::select! {
                        _ = serve(tcp, world, changed) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        server
    }

    /// Changes the world, and lets the sessions look at it.
    pub fn with<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let out = change(&mut self.world.lock().expect("no panic"));
        self.changed.send_modify(|n| *n += 1);
        out
    }

    /// Ends all connections.
    pub fn cut(&self) {
        self.cut.send_modify(|n| *n += 1);
    }

    /// Waits until something is so.
    pub async fn until(&self, what: &str, so: impl Fn(&World) -> bool) {
        let mut changed = self.changed.subscribe();
        let waiting = async {
            loop {
                changed.borrow_and_update();
                if so(&self.world.lock().expect("no panic")) {
                    return;
                }
                changed.changed().await.expect("the server lives");
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            let world = self.world.lock().expect("no panic");
            panic!("not in time: {what}\nheard: {:#?}\nlog: {:#?}", world.heard, world.events);
        }
    }
}

async fn serve(
    tcp: TcpStream,
    world: Arc<Mutex<World>>,
    changed: watch::Sender<u64>,
) -> Option<()> {
    let refuse = world.lock().expect("no panic").refuse_tokens;
    #[allow(clippy::result_large_err)]
    let check = |request: &Request, response: Response| {
        let bearer = request.headers().get("authorization").and_then(|h| h.to_str().ok());
        let known = bearer.is_some_and(|bearer| bearer.starts_with("Bearer ldg_agent_"));
        if known && !refuse && request.uri().path() == PATH {
            Ok(response)
        } else {
            let mut refused = ErrorResponse::new(None);
            *refused.status_mut() = tokio_tungstenite::tungstenite::http::StatusCode::UNAUTHORIZED;
            Err(refused)
        }
    };
    let mut socket = tokio_tungstenite::accept_hdr_async(tcp, check).await.ok()?;
    let (node, nonce) = (NodeId::new(Uuid::now_v7()), [7; 32]);
    let challenge =
        FromServer::Challenge { node, workspace: workspace(), nonce: BASE64.encode(&nonce) };
    say(&mut socket, &challenge).await?;
    let hello = listen(&mut socket).await?;
    let FromAgent::Hello { agent, public_key, signature, cursor, .. } = &hello else {
        panic!("not a hello: {hello:?}")
    };
    let proof = session_proof(node, &nonce, &workspace(), agent);
    let signature = BASE64.decode(signature.as_bytes()).expect("base 64");
    assert!(public_key.verifies(&proof, &signature), "the proof is wrong");
    let mut sent = *cursor;
    let (opening, mute) = {
        let mut world = world.lock().expect("no panic");
        world.heard.push(hello.clone());
        let opening = world.goodbye.clone().unwrap_or_else(|| welcome(&world));
        (opening, world.mute)
    };
    if sent.is_none() {
        sent = Some(Version(world.lock().expect("no panic").stream.len() as u64));
    }
    let is_over = matches!(opening, FromServer::Goodbye { .. });
    say(&mut socket, &opening).await?;
    world.lock().expect("no panic").sessions += 1;
    changed.send_modify(|n| *n += 1);
    if is_over {
        return None;
    }
    if mute {
        std::future::pending::<()>().await;
    }
    talk(socket, world, changed, sent).await
}

fn welcome(world: &World) -> FromServer {
    FromServer::Welcome {
        session: SessionId::new(Uuid::now_v7()),
        head: world.head.unwrap_or(Version(world.stream.len() as u64)),
        pending: world.agent.pending.as_ref().map(|pending| Pending {
            deployment: pending.id,
            index: pending.index,
            activation: pending.activation,
            store_path: pending.store_path.clone(),
        }),
        running: world.running.or(world.agent.running.as_ref().map(|r| r.deployment.id)),
        ping_interval_ms: 200,
    }
}

async fn talk(
    mut socket: WebSocketStream<TcpStream>,
    world: Arc<Mutex<World>>,
    changed: watch::Sender<u64>,
    mut sent: Option<Version>,
) -> Option<()> {
    let mut news = changed.subscribe();
    loop {
        let (events, over) = {
            let mut world = world.lock().expect("no panic");
            let fresh = world.stream.iter().filter(|e| Some(e.version) > sent);
            let events: Vec<_> = fresh.skip(world.leave_out).cloned().collect();
            if !events.is_empty() {
                world.leave_out = 0;
            }
            (events, world.goodbye.clone())
        };
        if let Some(over) = over {
            say(&mut socket, &over).await?;
            return None;
        }
        if let Some(last) = events.last() {
            sent = Some(last.version);
            say(&mut socket, &FromServer::Events { events }).await?;
        }
        tokio::select! {
            message = listen(&mut socket) => {
                let message = message?;
                let answer = {
                    let mut world = world.lock().expect("no panic");
                    world.heard.push(message.clone());
                    world.answer(message)
                };
                changed.send_modify(|n| *n += 1);
                if let Some(answer) = answer {
                    say(&mut socket, &answer).await?;
                }
            }
            _ = news.changed() => {}
        }
    }
}

async fn say(socket: &mut WebSocketStream<TcpStream>, message: &FromServer) -> Option<()> {
    let text = serde_json::to_string(message).expect("JSON");
    socket.send(Message::text(text)).await.ok()
}

async fn listen(socket: &mut WebSocketStream<TcpStream>) -> Option<FromAgent> {
    loop {
        match socket.next().await?.ok()? {
            Message::Text(text) => return Some(serde_json::from_str(&text).expect("a message")),
            Message::Close(_) => return None,
            _ => {}
        }
    }
}
