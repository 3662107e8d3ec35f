//! A server that speaks the agent's protocol and decides by the real core, in
//! memory.

mod history;
mod world;

use api_wire::agent::{FromAgent, FromServer, PATH, Pending};
use data_encoding::BASE64;
use futures_util::{SinkExt, StreamExt};
use ledger_core::ids::{NodeId, SessionId, Version};
use ledger_core::key::session_proof;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use uuid::Uuid;

pub use history::leaves;
pub use world::*;

/// How long a test waits for what it expects.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A server on a port of its own.
pub struct Server {
    pub address: SocketAddr,
    world: Arc<Mutex<World>>,
    changed: watch::Sender<u64>,
    /// Counts up to end all connections.
    cut: watch::Sender<u64>,
}

impl Server {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let world = Arc::new(Mutex::new(World::registered()));
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
    let session = SessionId::new(Uuid::now_v7());
    let (opening, mute) = {
        let mut world = world.lock().expect("no panic");
        world.heard.push(hello.clone());
        let opening = world.goodbye.clone().unwrap_or_else(|| welcome(&world, session));
        (opening, world.mute)
    };
    if sent.is_none() {
        sent = Some(Version(world.lock().expect("no panic").stream.len() as u64));
    }
    let is_over = matches!(opening, FromServer::Goodbye { .. });
    say(&mut socket, &opening).await?;
    {
        let mut world = world.lock().expect("no panic");
        world.sessions += 1;
        world.muted += usize::from(mute);
    }
    changed.send_modify(|n| *n += 1);
    if is_over {
        return None;
    }
    if mute {
        std::future::pending::<()>().await;
    }
    talk(socket, session, world, changed, sent).await
}

fn welcome(world: &World, session: SessionId) -> FromServer {
    FromServer::Welcome {
        session,
        head: world.head.unwrap_or(Version(world.stream.len() as u64)),
        pending: world.agent.pending.as_ref().map(|pending| Pending {
            deployment: pending.id,
            index: pending.index,
            activation: pending.activation,
            store_path: pending.store_path.clone(),
        }),
        running: world.running.or(world.agent.running.as_ref().map(|r| r.deployment.id)),
        ping_interval_ms: 1_000,
    }
}

async fn talk(
    mut socket: WebSocketStream<TcpStream>,
    session: SessionId,
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
                let (answer, is_lost) = {
                    let mut world = world.lock().expect("no panic");
                    world.heard.push(message.clone());
                    let is_claim = matches!(message, FromAgent::Claim { .. });
                    (world.answer(session, message), is_claim && world.lose_grants)
                };
                changed.send_modify(|n| *n += 1);
                if is_lost {
                    return None;
                }
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
