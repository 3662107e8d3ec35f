//! Servers on one database, and agents that are only their protocol.

use crate::rig::postgres::Postgres;
use crate::rig::server::Server;
use crate::rig::story::check_log;
use crate::rig::wait_for;
use crate::rig::wire::{Puppet, Socket};
use api_client::endpoint::Endpoint;
use api_client::http::{Client, new_request_id};
use api_wire::agent::{FromAgent, FromServer};
use api_wire::http::{ActivateAnswer, ActivateRequest, IssueTokenRequest, LogEvent};
use api_wire::token::Secret;
use ledger_core::agent::Report;
use ledger_core::event::{ClosureKind, Digest, OutputDigest, Reach};
use ledger_core::rights::TokenKind;
use ledger_core::{DeploymentId, RequestId, SessionId};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// After how long without a sign of life a server counts as lost.
pub(super) const NODE_TIMEOUT: Duration = Duration::from_secs(2);
/// The servers' logins at the database.
pub(super) const LOGINS: [&str; 2] = ["ledger_1", "ledger_2"];
/// What the reports of an agent are in its stream, after the claim.
const REPORTS: [&str; 3] = ["ClosureFetched", "ActivationSucceeded", "DeploymentSucceeded"];

/// Servers with data folders of their own on one database.
pub(super) struct Servers {
    pub(super) servers: [Server; 2],
    pub(super) admin: String,
    agent: String,
    pub(super) runtime: Runtime,
    _folders: [TempDir; 2],
    /// Goes last.
    pub(super) postgres: Postgres,
}

impl Servers {
    pub(super) fn start() -> Self {
        let postgres = Postgres::start();
        let timeout = format!("{}s", NODE_TIMEOUT.as_secs());
        // Each by a login of its own, so that the database tells them apart.
        let [one, two] = LOGINS.map(|login| postgres.login(login));
        let options = |url: &str| postgres.options_as(url, &["--node-timeout", &timeout]);
        let folders = [(); 2].map(|()| TempDir::with_prefix("ledger-servers-").expect("a folder"));
        let first = Server::start(folders[0].path(), options(&one));
        give_key(&first, folders[1].path());
        let second = Server::start(folders[1].path(), options(&two));
        let admin = first.admin_token();
        let runtime = Runtime::new().expect("a runtime can be made");
        let mut servers = Self {
            servers: [first, second],
            admin,
            agent: String::new(),
            runtime,
            _folders: folders,
            postgres,
        };
        servers.agent = servers.issue(0, TokenKind::Agent);
        servers
    }

    pub(super) fn client(&self, server: usize, token: &str) -> Client {
        let secret = Secret::parse(token).expect("it is a token");
        let endpoint = Endpoint::new(self.servers[server].url(), secret).expect("an address");
        Client::new(endpoint, "ledger-test").expect("a client can be made")
    }

    /// Issues a token at a server, and returns its text.
    pub(super) fn issue(&self, server: usize, kind: TokenKind) -> String {
        let random = [*uuid::Uuid::now_v7().as_bytes(), [0; 16]].concat();
        let secret = Secret::new(kind, &data_encoding::BASE64URL_NOPAD.encode(&random));
        let request = IssueTokenRequest {
            request_id: new_request_id(),
            secret: secret.reveal().to_owned(),
            kind,
            reach: Reach::Workspace,
            agents: Vec::new(),
            expires_in_seconds: None,
            description: None,
        };
        let client = self.client(server, &self.admin);
        self.runtime.block_on(client.issue_token(&request)).expect("the token is issued");
        secret.reveal().to_owned()
    }

    pub(super) fn activate(&self, server: usize, agents: &[&Puppet]) -> ActivateAnswer {
        let client = self.client(server, &self.admin);
        let answer = self.runtime.block_on(client.activate(&activation(agents)));
        answer.expect("the activation is taken")
    }

    /// Asks for a deployment of one agent.
    pub(super) fn deploy(&self, server: usize, agent: &Puppet) -> DeploymentId {
        self.activate(server, &[agent]).deployments[0].id.expect("it is no dry run")
    }

    pub(super) fn connect(&self, server: usize, agent: &Puppet) -> (Socket, SessionId) {
        let url = self.servers[server].url();
        let opened = wait_for("a session", || agent.try_connect(url, &self.agent));
        let (socket, FromServer::Welcome { session, .. }) = opened else {
            panic!("no welcome: {:?}", opened.1)
        };
        (socket, session)
    }

    pub(super) fn log(&self, server: usize) -> Vec<LogEvent> {
        self.servers[server].log(&self.admin)
    }

    /// Waits until the log has such an event, as a server reads it.
    pub(super) fn wait_for(
        &self,
        server: usize,
        what: &str,
        passes: impl Fn(&LogEvent) -> bool,
    ) -> LogEvent {
        wait_for(what, || self.log(server).into_iter().find(&passes))
    }

    /// The stream of a server's node: it says itself who it is.
    pub(super) fn node(&self, server: usize) -> String {
        let id = std::fs::read_to_string(self.servers[server].data().join("node"));
        format!("node/{}", id.expect("a server has an id").trim())
    }

    /// Checks that everybody reads the same whole log, in which every deployment
    /// began and ended once, and stops the servers.
    pub(super) fn end(mut self, deployments: &[DeploymentId]) {
        let log = self.log(0);
        check_log(&log);
        for deployment in deployments {
            let steps = log.iter().filter(|event| is_about(event, *deployment));
            let steps: Vec<_> = steps.map(|event| event.type_name.as_str()).collect();
            let expected = ["DeploymentStarted"].into_iter().chain(REPORTS);
            assert!(steps.iter().copied().eq(expected), "{deployment}: {steps:?}");
        }
        let keys = |log: Vec<LogEvent>| -> Vec<_> {
            log.into_iter().map(|e| (e.position, e.event_id, e.payload.to_string())).collect()
        };
        let other = keys(self.log(1));
        assert!(keys(log) == other[..], "the servers read different logs");
        for server in &mut self.servers {
            assert!(server.terminate().success(), "a server does not stop well");
            assert!(!server.process().stderr().contains("panicked"));
        }
    }
}

pub(super) fn is_about(event: &LogEvent, deployment: DeploymentId) -> bool {
    event.payload["deployment"] == deployment.to_string()
}

pub(super) fn activation(agents: &[&Puppet]) -> ActivateRequest {
    crate::rig::http::activation(agents.iter().map(|agent| agent.name.as_str()))
}

/// Waits until the agent hears that it is to deploy this.
pub(super) fn hear_of(socket: &mut Socket, deployment: DeploymentId) {
    loop {
        if let FromServer::Events { events } = socket.receive()
            && events.iter().any(|event| DeploymentId::from(event.event_id) == deployment)
        {
            return;
        }
    }
}

/// Sends a claim or a report, and waits until it is answered.
pub(super) fn tell(socket: &mut Socket, message: &FromAgent) {
    let (FromAgent::Claim { request_id, .. } | FromAgent::Report { request_id, .. }) = message
    else {
        panic!("nothing answers {message:?}")
    };
    socket.send(message);
    loop {
        match socket.receive() {
            FromServer::Claimed { request_id: answered, .. }
            | FromServer::Acknowledged { request_id: answered }
                if answered == *request_id =>
            {
                return;
            }
            FromServer::Events { .. } => {}
            other => panic!("{message:?} is answered by {other:?}"),
        }
    }
}

pub(super) fn claim(deployment: DeploymentId) -> FromAgent {
    FromAgent::Claim { request_id: new_request_id(), deployment }
}

pub(super) fn reports(deployment: DeploymentId) -> [FromAgent; REPORTS.len()] {
    let output = OutputDigest { blake3: Digest::of(b""), bytes: 0 };
    let activated = Report::ActivationSucceeded {
        closure: ClosureKind::Plain,
        generation: Some(1),
        previous: None,
    };
    let reports = [
        Report::ClosureFetched { closure_bytes: 7, closure_paths: 2 },
        activated,
        Report::Succeeded { output },
    ];
    let occurred_at = "2026-03-01T12:00:00Z".parse().expect("a good time");
    reports.map(|report| {
        let request_id: RequestId = new_request_id();
        FromAgent::Report { request_id, deployment, report, occurred_at }
    })
}

/// Does a whole deployment on a session.
pub(super) fn carry_out(socket: &mut Socket, deployment: DeploymentId) {
    tell(socket, &claim(deployment));
    for report in reports(deployment) {
        tell(socket, &report);
    }
}

/// Gives a server that is not there yet the key with which another's tokens are
/// hashed, so that they are good there, too.
pub(super) fn give_key(from: &Server, folder: &Path) {
    let data = folder.join("data");
    DirBuilder::new().recursive(true).mode(0o700).create(&data).expect("a folder can be made");
    let key = from.data().join("token-key");
    std::fs::copy(key, data.join("token-key")).expect("the key can be copied");
}
