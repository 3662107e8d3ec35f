//! An agent that is only its protocol: it says what a test tells it to say,
//! as often and in whatever order.

use super::world::World;
use super::{DEADLINE, wait_for};
use api_wire::agent::{FromAgent, FromServer, PATH};
use ed25519_dalek::{Signer, SigningKey};
use ledger_core::key::{PublicKey, session_proof};
use ledger_core::names::AgentName;
use std::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Message, WebSocket, client};

/// A name and a key, which outlive every session.
pub(crate) struct Puppet {
    pub(crate) name: AgentName,
    key: SigningKey,
}

/// An open socket to the server.
pub(crate) struct Socket(WebSocket<TcpStream>);

impl Puppet {
    pub(crate) fn new(name: &str) -> Self {
        let mut seed = [0; 32];
        seed[..16].copy_from_slice(uuid::Uuid::now_v7().as_bytes());
        let name = AgentName::new(name).expect("a good name");
        Self { name, key: SigningKey::from_bytes(&seed) }
    }

    /// Opens a session, and returns it with the server's welcome.
    pub(crate) fn connect(&self, world: &World) -> (Socket, FromServer) {
        wait_for("a session", || self.try_connect(&world.server_url(), &world.agent_token()))
    }

    /// Opens a session at an address. None if the server is not there or goes away.
    pub(crate) fn try_connect(&self, url: &str, token: &str) -> Option<(Socket, FromServer)> {
        let mut socket = Socket::open_at(url, token)?;
        let challenge = socket.try_receive()?;
        socket.send(&self.hello(&challenge));
        match socket.try_receive()? {
            FromServer::Goodbye { reason, .. } if !reason.is_final() => None,
            welcome @ FromServer::Welcome { .. } => Some((socket, welcome)),
            other => panic!("no session for {}: {other:?}", self.name),
        }
    }

    fn hello(&self, challenge: &FromServer) -> FromAgent {
        let FromServer::Challenge { node, workspace, nonce } = challenge else {
            panic!("the server does not begin with a challenge: {challenge:?}");
        };
        let nonce = data_encoding::BASE64.decode(nonce.as_bytes()).expect("base 64");
        let nonce: [u8; 32] = nonce.try_into().expect("32 bytes");
        let proof = session_proof(*node, &nonce, workspace, &self.name);
        FromAgent::Hello {
            agent: self.name.clone(),
            version: "0.0.1".parse().expect("a good version"),
            system: "x86_64-linux".parse().expect("a good system"),
            public_key: PublicKey::from_bytes(self.key.verifying_key().to_bytes()),
            signature: data_encoding::BASE64.encode(&self.key.sign(&proof).to_bytes()),
            cursor: None,
        }
    }
}

impl Socket {
    /// Opens a socket without saying anything on it. None if nobody listens.
    pub(crate) fn open(world: &World) -> Option<Self> {
        Self::open_with(world, &world.agent_token())
    }

    /// The same with another token. None if the server refuses it.
    pub(crate) fn open_with(world: &World, token: &str) -> Option<Self> {
        Self::open_at(&world.server_url(), token)
    }

    /// The same at any address.
    pub(crate) fn open_at(url: &str, token: &str) -> Option<Self> {
        let stream = TcpStream::connect(url.strip_prefix("http://")?).ok()?;
        stream.set_read_timeout(Some(DEADLINE)).expect("a time-out can be set");
        let mut request = format!("{}{PATH}", url.replace("http", "ws"))
            .into_client_request()
            .expect("it is a URL");
        let bearer = format!("Bearer {token}");
        let bearer = bearer.parse().expect("a token is a header's value");
        request.headers_mut().insert("authorization", bearer);
        Some(Self(client(request, stream).ok()?.0))
    }

    pub(crate) fn send(&mut self, message: &FromAgent) {
        let text = serde_json::to_string(message).expect("a message is JSON");
        self.send_raw(Message::text(text));
    }

    /// Sends anything. That the other end is gone already shows when one reads.
    pub(crate) fn send_raw(&mut self, message: Message) {
        let _ = self.0.send(message);
    }

    /// Returns the next message, answering pings meanwhile.
    pub(crate) fn receive(&mut self) -> FromServer {
        self.try_receive().expect("the server says something")
    }

    /// The same; none if the connection ended.
    pub(crate) fn try_receive(&mut self) -> Option<FromServer> {
        loop {
            match self.0.read().ok()? {
                Message::Text(text) => {
                    return Some(serde_json::from_str(&text).expect("a message of the protocol"));
                }
                Message::Close(_) => return None,
                _ => {}
            }
        }
    }
}
