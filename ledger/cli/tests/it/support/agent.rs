//! An agent that speaks the protocol and does nothing but follow a script.

use super::DEADLINE;
use api_client::endpoint::Endpoint;
use api_client::http::new_request_id;
use api_client::socket::{Received, Socket, SocketError};
use api_wire::agent::{FromAgent, FromServer};
use api_wire::token::Secret;
use data_encoding::BASE64;
use ed25519_dalek::{Signer, SigningKey};
use ledger_core::agent::Report;
use ledger_core::event::{ClosureKind, Digest, FailureOutcome, FailureReason, OutputDigest};
use ledger_core::key::{PublicKey, session_proof};
use ledger_core::names::AgentName;
use ledger_core::{DeploymentId, Timestamp, Version};
use std::path::Path;

/// What an agent does with a deployment.
#[derive(Clone, Debug)]
pub(crate) enum Script {
    /// Says this and succeeds.
    Succeed(&'static str),
    /// Says this and fails.
    Fail(&'static str, FailureOutcome),
}

/// An agent with a name and a key.
pub(crate) struct Agent {
    name: AgentName,
    key: SigningKey,
    endpoint: Endpoint,
    socket: Socket,
    pending: Option<DeploymentId>,
}

impl Agent {
    /// Connects, and returns when the server knows the agent.
    pub(crate) async fn connect(url: &str, token: &Path, name: &str) -> Self {
        let text = std::fs::read_to_string(token).expect("a token");
        let secret = Secret::parse(&text).expect("a token");
        let endpoint = Endpoint::new(url, secret).expect("loopback");
        let seed = *Digest::of(name.as_bytes()).0.first_chunk().expect("32 bytes");
        let key = SigningKey::from_bytes(&seed);
        let name = name.parse().expect("a name");
        let (socket, pending) = open(&endpoint, &name, &key).await.expect("connects");
        Self { name, key, endpoint, socket, pending }
    }

    /// Connects again after the server went away.
    pub(crate) async fn connect_again(&mut self) {
        let opened = open(&self.endpoint, &self.name, &self.key).await;
        (self.socket, self.pending) = opened.expect("connects again");
    }

    /// Waits for a deployment and claims it.
    pub(crate) async fn claim(&mut self) -> DeploymentId {
        let deployment = loop {
            if let Some(pending) = self.pending.take() {
                break pending;
            }
            if let FromServer::Events { events } = self.hear().await {
                let requested = events.iter().rfind(|e| e.type_name == "DeploymentRequested");
                self.pending = requested.map(|e| e.event_id.into());
            }
        };
        let request_id = new_request_id();
        self.socket.send(&FromAgent::Claim { request_id, deployment }).await.expect("sent");
        while !matches!(self.hear().await, FromServer::Claimed { .. }) {}
        deployment
    }

    /// Sends a piece of output and waits until it is stored.
    pub(crate) async fn say(&mut self, deployment: DeploymentId, offset: usize, text: &str) {
        let output = FromAgent::Output {
            request_id: new_request_id(),
            deployment,
            offset: offset as u64,
            bytes: BASE64.encode(text.as_bytes()),
        };
        self.send_until_acknowledged(&output).await;
    }

    /// Reports the end, after `output`.
    pub(crate) async fn end(&mut self, deployment: DeploymentId, script: &Script) {
        match script {
            Script::Succeed(output) => {
                let fetched = Report::ClosureFetched { closure_bytes: 2048, closure_paths: 2 };
                self.report(deployment, fetched).await;
                let activated = Report::ActivationSucceeded {
                    closure: ClosureKind::Plain,
                    generation: Some(1),
                    previous: None,
                };
                self.report(deployment, activated).await;
                self.report(deployment, Report::Succeeded { output: digest(output) }).await;
            }
            Script::Fail(output, outcome) => {
                let failed = Report::Failed {
                    reason: FailureReason::FetchFailed,
                    outcome: *outcome,
                    output: digest(output),
                    error: "no such path".to_owned(),
                };
                self.report(deployment, failed).await;
            }
        }
    }

    /// Waits for a deployment, and plays the script with it.
    pub(crate) async fn play(&mut self, script: Script) {
        let deployment = self.claim().await;
        let (Script::Succeed(output) | Script::Fail(output, _)) = &script;
        if !output.is_empty() {
            self.say(deployment, 0, output).await;
        }
        self.end(deployment, &script).await;
    }

    async fn report(&mut self, deployment: DeploymentId, report: Report) {
        let occurred_at = Timestamp::from_micros(1_772_366_400_000_000);
        let request_id = new_request_id();
        let report = FromAgent::Report { request_id, deployment, report, occurred_at };
        self.send_until_acknowledged(&report).await;
    }

    async fn send_until_acknowledged(&mut self, message: &FromAgent) {
        self.socket.send(message).await.expect("sent");
        loop {
            match self.hear().await {
                FromServer::Acknowledged { .. } => return,
                FromServer::Refused { detail, .. } => panic!("refused: {detail}"),
                _ => {}
            }
        }
    }

    async fn hear(&mut self) -> FromServer {
        hear(&mut self.socket).await.expect("the server speaks")
    }
}

fn digest(output: &str) -> OutputDigest {
    OutputDigest { blake3: Digest::of(output.as_bytes()), bytes: output.len() as u64 }
}

async fn hear(socket: &mut Socket) -> Result<FromServer, SocketError> {
    let heard = async {
        loop {
            if let Received::Message(message) = socket.receive().await? {
                return Ok(message);
            }
        }
    };
    tokio::time::timeout(DEADLINE, heard).await.expect("in time")
}

async fn open(
    endpoint: &Endpoint,
    name: &AgentName,
    key: &SigningKey,
) -> Result<(Socket, Option<DeploymentId>), SocketError> {
    let mut socket = Socket::connect(endpoint).await?;
    let FromServer::Challenge { node, workspace, nonce } = hear(&mut socket).await? else {
        panic!("the server begins with a challenge");
    };
    let nonce = BASE64.decode(nonce.as_bytes()).expect("base 64").try_into().expect("32 bytes");
    let proof = session_proof(node, &nonce, &workspace, name);
    let hello = FromAgent::Hello {
        agent: name.clone(),
        version: "0.0.1".parse().expect("valid"),
        system: "x86_64-linux".parse().expect("valid"),
        public_key: PublicKey::from_bytes(key.verifying_key().to_bytes()),
        signature: BASE64.encode(&key.sign(&proof).to_bytes()),
        cursor: Some(Version::ZERO),
    };
    socket.send(&hello).await?;
    match hear(&mut socket).await? {
        FromServer::Welcome { pending, .. } => Ok((socket, pending.map(|p| p.deployment))),
        other => panic!("no welcome: {other:?}"),
    }
}
