//! An agent's end of a socket, as bare as the protocol.

use crate::node::{DEADLINE, Node, now, request_id};
use api_wire::agent::{FromAgent, FromServer, GoodbyeReason, PATH};
use api_wire::problem::Code;
use data_encoding::BASE64;
use ed25519_dalek::{Signer, SigningKey};
use futures_util::{SinkExt, StreamExt};
use ledger_core::agent::Report;
use ledger_core::event::{Digest, OutputDigest};
use ledger_core::key::{PublicKey, session_proof};
use ledger_core::names::{AgentName, ProgramVersion, System};
use ledger_core::rights::TokenKind;
use ledger_core::{DeploymentId, RequestId, SessionId, Version};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

pub(crate) struct Agent {
    pub(crate) socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub(crate) pings: u32,
}

/// What a Welcome says.
pub(crate) struct Welcome {
    pub(crate) session: SessionId,
    pub(crate) head: Version,
    pub(crate) pending: Option<DeploymentId>,
    pub(crate) running: Option<DeploymentId>,
}

pub(crate) fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

pub(crate) fn name(agent: &str) -> AgentName {
    AgentName::new(agent).expect("valid")
}

impl Agent {
    pub(crate) async fn connect(node: &Node, token: &str) -> Result<Self, Error> {
        let url = format!("ws://{}{PATH}", node.running.address());
        let mut request = url.into_client_request().expect("a request");
        let value = format!("Bearer {token}").parse().expect("a header");
        request.headers_mut().insert("authorization", value);
        connect_async(request).await.map(|(socket, _)| Self { socket, pings: 0 })
    }

    /// Connects with a fresh token and is welcomed.
    pub(crate) async fn welcomed(node: &Node, agent: &str, n: u8) -> (Self, Welcome) {
        Self::resumed(node, agent, n, None).await
    }

    pub(crate) async fn resumed(
        node: &Node,
        agent: &str,
        n: u8,
        cursor: Option<Version>,
    ) -> (Self, Welcome) {
        let (token, _) = node.token(TokenKind::Agent, &[]).await;
        let mut client = Self::connect(node, &token).await.expect("connected");
        client.hello(agent, &key(n), cursor).await;
        let welcome = client.welcome().await;
        (client, welcome)
    }

    /// Answers the challenge.
    pub(crate) async fn hello(&mut self, agent: &str, key: &SigningKey, cursor: Option<Version>) {
        let FromServer::Challenge { node, workspace, nonce } = self.hear().await else {
            panic!("no challenge")
        };
        let nonce = BASE64.decode(nonce.as_bytes()).expect("base 64");
        let nonce = nonce.try_into().expect("32 bytes");
        let proof = session_proof(node, &nonce, &workspace, &name(agent));
        let signature = BASE64.encode(&key.sign(&proof).to_bytes());
        self.introduce(agent, key, signature, cursor).await;
    }

    pub(crate) async fn introduce(
        &mut self,
        agent: &str,
        key: &SigningKey,
        signature: String,
        cursor: Option<Version>,
    ) {
        self.say(&FromAgent::Hello {
            agent: name(agent),
            version: ProgramVersion::new("0.1.0").expect("valid"),
            system: System::new("x86_64-linux").expect("valid"),
            public_key: PublicKey::from_bytes(key.verifying_key().to_bytes()),
            signature,
            cursor,
        })
        .await;
    }

    pub(crate) async fn welcome(&mut self) -> Welcome {
        match self.hear().await {
            FromServer::Welcome { session, head, pending, running, .. } => Welcome {
                session,
                head,
                pending: pending.map(|pending| pending.deployment),
                running,
            },
            other => panic!("no welcome but {other:?}"),
        }
    }

    pub(crate) async fn say(&mut self, message: &FromAgent) {
        let text = serde_json::to_string(message).expect("JSON");
        self.socket.send(Message::text(text)).await.expect("sent");
    }

    /// Returns the next message, or none once the server closed the connection.
    pub(crate) async fn next(&mut self) -> Option<FromServer> {
        loop {
            let message = timeout(DEADLINE, self.socket.next()).await.expect("in time");
            match message {
                Some(Ok(Message::Text(text))) => {
                    return Some(serde_json::from_str(text.as_str()).expect("a message"));
                }
                Some(Ok(Message::Ping(_))) => self.pings += 1,
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(other)) => panic!("unexpected {other:?}"),
            }
        }
    }

    pub(crate) async fn hear(&mut self) -> FromServer {
        self.next().await.expect("a message before the end")
    }

    /// Returns the goodbye that must come before the end, passing over events.
    pub(crate) async fn goodbye(&mut self) -> GoodbyeReason {
        loop {
            match self.hear().await {
                FromServer::Goodbye { reason, .. } => {
                    assert_eq!(self.next().await, None, "nothing follows a goodbye");
                    return reason;
                }
                FromServer::Events { .. } => {}
                other => panic!("no goodbye but {other:?}"),
            }
        }
    }

    /// Returns the answer to a request, passing over events.
    pub(crate) async fn answer(&mut self, request: RequestId) -> Result<(), Code> {
        loop {
            match self.hear().await {
                FromServer::Claimed { request_id, .. }
                | FromServer::Acknowledged { request_id } => {
                    assert_eq!(request_id, request);
                    return Ok(());
                }
                FromServer::Refused { request_id, code, .. } => {
                    assert_eq!(request_id, request);
                    return Err(code);
                }
                FromServer::Events { .. } => {}
                other => panic!("no answer but {other:?}"),
            }
        }
    }

    /// Returns the types of the next events, at least so many, which must be gapless.
    pub(crate) async fn events(&mut self, after: Version, at_least: usize) -> Vec<String> {
        let mut last = after;
        let mut types = Vec::new();
        while types.len() < at_least {
            match self.hear().await {
                FromServer::Events { events } => {
                    assert!(!events.is_empty());
                    for event in events {
                        assert_eq!(event.version, last.next(), "a gap or a repetition");
                        last = event.version;
                        types.push(event.type_name);
                    }
                }
                other => panic!("no events but {other:?}"),
            }
        }
        types
    }

    pub(crate) async fn claim(&mut self, deployment: DeploymentId) -> Result<(), Code> {
        let request_id = request_id();
        self.say(&FromAgent::Claim { request_id, deployment }).await;
        self.answer(request_id).await
    }

    pub(crate) async fn report(
        &mut self,
        deployment: DeploymentId,
        report: Report,
    ) -> Result<(), Code> {
        let request_id = request_id();
        self.say(&FromAgent::Report { request_id, deployment, report, occurred_at: now() }).await;
        self.answer(request_id).await
    }

    pub(crate) async fn output(
        &mut self,
        deployment: DeploymentId,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), Code> {
        let request_id = request_id();
        let bytes = BASE64.encode(bytes);
        self.say(&FromAgent::Output { request_id, deployment, offset, bytes }).await;
        self.answer(request_id).await
    }
}

pub(crate) fn digest(bytes: &[u8]) -> OutputDigest {
    OutputDigest { blake3: Digest::of(bytes), bytes: bytes.len() as u64 }
}
