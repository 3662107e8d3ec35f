//! Servers that share one PostgreSQL: what one takes in, all have, and one that dies
//! or falls asleep is missed by the others.

use crate::rig::postgres::Postgres;
use crate::rig::server::Server;
use crate::rig::story::check_log;
use crate::rig::wait_for;
use crate::rig::wire::{Puppet, Socket};
use api_client::endpoint::Endpoint;
use api_client::http::{Client, RequestError, new_activation_id, new_request_id};
use api_wire::agent::{FromAgent, FromServer};
use api_wire::http::{
    ActivateAnswer, ActivateRequest, CreateWorkspaceRequest, IssueTokenRequest, LogEvent, Recorded,
};
use api_wire::token::Secret;
use ledger_core::agent::Report;
use ledger_core::event::{ClosureKind, Digest, OutputDigest, Reach};
use ledger_core::names::WorkspaceName;
use ledger_core::rights::TokenKind;
use ledger_core::{DeploymentId, RequestId, SessionId, Timestamp};
use rustix::process::Signal;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// After how long without a sign of life a server counts as lost.
const NODE_TIMEOUT: Duration = Duration::from_secs(2);
/// Activations whose way is measured.
const N_MEASURED: usize = 60;
/// How soon an agent is to hear of an activation that another server accepted. One
/// that waited for the poll would hear of it after a quarter of a second: what is
/// asked for right after a poll, as here, waits for all of it.
const HEARD_WITHIN: Duration = Duration::from_millis(100);
/// What the reports of an agent are in its stream, after the claim.
const REPORTS: [&str; 3] = ["ClosureFetched", "ActivationSucceeded", "DeploymentSucceeded"];

/// Servers with data folders of their own on one database.
struct Servers {
    servers: [Server; 2],
    admin: String,
    agent: String,
    runtime: Runtime,
    _folders: [TempDir; 2],
    /// Goes last.
    _postgres: Postgres,
}

impl Servers {
    fn start() -> Self {
        let postgres = Postgres::start();
        let timeout = format!("{}s", NODE_TIMEOUT.as_secs());
        let options = || postgres.options(&["--node-timeout", &timeout]);
        let folders = [(); 2].map(|()| TempDir::with_prefix("ledger-servers-").expect("a folder"));
        let first = Server::start(folders[0].path(), options());
        // Tokens are good wherever the key is with which they are hashed.
        let data = folders[1].path().join("data");
        DirBuilder::new().mode(0o700).create(&data).expect("a folder can be made");
        let key = first.data().join("token-key");
        std::fs::copy(key, data.join("token-key")).expect("the key can be copied");
        let second = Server::start(folders[1].path(), options());
        let admin = first.admin_token();
        let runtime = Runtime::new().expect("a runtime can be made");
        let mut servers = Self {
            servers: [first, second],
            admin,
            agent: String::new(),
            runtime,
            _folders: folders,
            _postgres: postgres,
        };
        servers.agent = servers.issue(0, TokenKind::Agent);
        servers
    }

    fn client(&self, server: usize, token: &str) -> Client {
        let secret = Secret::parse(token).expect("it is a token");
        let endpoint = Endpoint::new(self.servers[server].url(), secret).expect("an address");
        Client::new(endpoint, "ledger-test").expect("a client can be made")
    }

    /// Issues a token at a server, and returns its text.
    fn issue(&self, server: usize, kind: TokenKind) -> String {
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

    fn activate(&self, server: usize, agents: &[&Puppet]) -> ActivateAnswer {
        let client = self.client(server, &self.admin);
        let answer = self.runtime.block_on(client.activate(&activation(agents)));
        answer.expect("the activation is taken")
    }

    /// Asks for a deployment of one agent.
    fn deploy(&self, server: usize, agent: &Puppet) -> DeploymentId {
        self.activate(server, &[agent]).deployments[0].id.expect("it is no dry run")
    }

    fn connect(&self, server: usize, agent: &Puppet) -> (Socket, SessionId) {
        let url = self.servers[server].url();
        let opened = wait_for("a session", || agent.try_connect(url, &self.agent));
        let (socket, FromServer::Welcome { session, .. }) = opened else {
            panic!("no welcome: {:?}", opened.1)
        };
        (socket, session)
    }

    fn log(&self, server: usize) -> Vec<LogEvent> {
        self.servers[server].log(&self.admin)
    }

    /// Waits until the log has such an event, as a server reads it.
    fn wait_for(&self, server: usize, what: &str, passes: impl Fn(&LogEvent) -> bool) -> LogEvent {
        wait_for(what, || self.log(server).into_iter().find(&passes))
    }

    /// The stream of a server's node: it says itself who it is.
    fn node(&self, server: usize) -> String {
        let id = std::fs::read_to_string(self.servers[server].data().join("node"));
        format!("node/{}", id.expect("a server has an id").trim())
    }

    /// Checks that everybody reads the same whole log, in which every deployment
    /// began and ended once, and stops the servers.
    fn end(mut self, deployments: &[DeploymentId]) {
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

fn is_about(event: &LogEvent, deployment: DeploymentId) -> bool {
    event.payload["deployment"] == deployment.to_string()
}

fn activation(agents: &[&Puppet]) -> ActivateRequest {
    let path = format!("/nix/store/{}-never-fetched", "0".repeat(32));
    let agents = agents.iter().map(|agent| (agent.name.to_string(), path.clone().into()));
    let agents: serde_json::Map<_, _> = agents.collect();
    ActivateRequest {
        id: new_activation_id(),
        spec: serde_json::json!({ "agents": agents }).to_string(),
        agents: Vec::new(),
        dry_run: false,
        ci: None,
        description: None,
    }
}

/// Waits until the agent hears that it is to deploy this.
fn hear_of(socket: &mut Socket, deployment: DeploymentId) {
    loop {
        if let FromServer::Events { events } = socket.receive()
            && events.iter().any(|event| DeploymentId::from(event.event_id) == deployment)
        {
            return;
        }
    }
}

/// Sends a claim or a report, and waits until it is answered.
fn tell(socket: &mut Socket, message: &FromAgent) {
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

fn claim(deployment: DeploymentId) -> FromAgent {
    FromAgent::Claim { request_id: new_request_id(), deployment }
}

fn reports(deployment: DeploymentId) -> [FromAgent; REPORTS.len()] {
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
fn carry_out(socket: &mut Socket, deployment: DeploymentId) {
    tell(socket, &claim(deployment));
    for report in reports(deployment) {
        tell(socket, &report);
    }
}

/// Whether the event records that the session was lost with its server.
fn loses(event: &LogEvent, session: SessionId) -> bool {
    let lost = event.payload["sessions"].as_array();
    event.type_name == "SessionsLost"
        && lost.is_some_and(|lost| lost.iter().any(|s| s["session"] == session.to_string()))
}

#[test]
fn an_activation_that_one_server_accepts_reaches_the_other_servers_agents_at_once() {
    let servers = Servers::start();
    let agents = [Puppet::new("here"), Puppet::new("there")];
    let (mut here, _) = servers.connect(0, &agents[0]);
    let (mut there, _) = servers.connect(1, &agents[1]);
    let client = servers.client(0, &servers.admin);
    let (mut after_answer, mut in_all) = (Vec::new(), Vec::new());
    let mut last = None;
    for _ in 0..N_MEASURED {
        let request = activation(&[&agents[1]]);
        let sent = Instant::now();
        let answer = servers.runtime.block_on(client.activate(&request));
        let answered = Instant::now();
        let deployment = answer.expect("it is taken").deployments[0].id.expect("no dry run");
        hear_of(&mut there, deployment);
        after_answer.push(answered.elapsed());
        in_all.push(sent.elapsed());
        last = Some(deployment);
    }
    let show = |name, mut times: Vec<Duration>| {
        times.sort();
        let [median, p95] = [50, 95].map(|part| times[times.len() * part / 100]);
        let most = times[times.len() - 1];
        eprintln!("{name}: median {median:?}, 95 % within {p95:?}, at most {most:?}");
        median
    };
    show("from the request to the other server's agent", in_all);
    let median = show("from the answer to the other server's agent", after_answer);
    assert!(median < HEARD_WITHIN, "an agent of the other server hears of it after {median:?}");

    let last = last.expect("there were some");
    carry_out(&mut there, last);
    // And the other way round.
    let back = servers.deploy(1, &agents[0]);
    hear_of(&mut here, back);
    carry_out(&mut here, back);
    servers.end(&[last, back]);
}

#[test]
fn the_agents_of_a_killed_server_go_on_at_another() {
    let mut servers = Servers::start();
    let agents = ["quick", "slow"].map(Puppet::new);
    let (mut quick, quick_session) = servers.connect(0, &agents[0]);
    let (mut slow, slow_session) = servers.connect(0, &agents[1]);
    let asked = servers.activate(1, &[&agents[0], &agents[1]]);
    let [one, two] = [0, 1].map(|n| asked.deployments[n].id.expect("it is no dry run"));
    // Each in the middle of its deployment.
    let (claimed, [fetched, activated, succeeded]) = (claim(one), reports(one));
    hear_of(&mut quick, one);
    tell(&mut quick, &claimed);
    tell(&mut quick, &fetched);
    hear_of(&mut slow, two);
    tell(&mut slow, &claim(two));

    let node = servers.node(0);
    servers.servers[0].kill();
    let killed = Instant::now();
    // This one comes back at once, and does not know what was heard of it.
    let (mut quick, newer_session) = servers.connect(1, &agents[0]);
    for message in [&claimed, &fetched, &activated, &succeeded] {
        tell(&mut quick, message);
    }
    let lost = servers.wait_for(1, "the loss of the session", |e| loses(e, slow_session));
    let took = killed.elapsed();
    eprintln!("a killed server is recorded as lost after {took:?}");
    assert!(took >= NODE_TIMEOUT / 2, "a server was given up after {took:?}");
    let log = servers.log(1);
    let is_node_lost = |e: &&LogEvent| e.type_name == "NodeLost" && e.stream.to_string() == node;
    let nodes: Vec<_> = log.iter().filter(is_node_lost).collect();
    assert_eq!(nodes.len(), 1, "{nodes:?}");
    let alive_until = |event: &LogEvent| -> Timestamp {
        event.payload["alive_until"].as_str().and_then(|t| t.parse().ok()).expect("a time")
    };
    let opened = |e: &&LogEvent| e.payload["session"] == slow_session.to_string();
    let opened = log.iter().find(opened).expect("the session is in the log");
    let lived = opened.recorded_at..lost.recorded_at;
    for event in [nodes[0], &lost] {
        assert!(lived.contains(&alive_until(event)), "{event:?} of one that lived {lived:?}");
    }
    // The newer session had ended the older one before.
    assert!(!log.iter().any(|e| loses(e, quick_session) || loses(e, newer_session)));

    // The other comes back after it was given up.
    let (mut slow, _) = servers.connect(1, &agents[1]);
    for report in reports(two) {
        tell(&mut slow, &report);
    }
    // So does the server, and takes its agents in again.
    servers.servers[0].restart_anywhere();
    let log = servers.log(1);
    let starts = log.iter().filter(|e| e.type_name == "NodeStarted");
    assert_eq!(starts.filter(|e| e.stream.to_string() == node).count(), 2);
    assert_eq!(log.iter().filter(is_node_lost).count(), 1, "it died once");
    let three = servers.deploy(1, &agents[0]);
    let (mut quick, _) = servers.connect(0, &agents[0]);
    carry_out(&mut quick, three);
    servers.end(&[one, two, three]);
}

#[test]
fn a_server_that_slept_for_too_long_starts_again() {
    let mut servers = Servers::start();
    let agents = ["asleep", "awake"].map(Puppet::new);
    let (mut asleep, session) = servers.connect(0, &agents[0]);
    let (mut awake, awake_session) = servers.connect(1, &agents[1]);
    let node = servers.node(0);
    servers.servers[0].process().signal(Signal::STOP);
    // What is asked of it meanwhile waits.
    let request = activation(&[&agents[0], &agents[1]]);
    let asked = {
        let (client, request) = (servers.client(0, &servers.admin), request.clone());
        servers.runtime.spawn(async move { client.activate(&request).await })
    };
    servers.wait_for(1, "the loss of the session", |e| loses(e, session));
    let client = servers.client(1, &servers.admin);
    let answer = servers.runtime.block_on(client.activate(&request)).expect("it is taken");
    let [one, two] = [0, 1].map(|n| answer.deployments[n].id.expect("it is no dry run"));
    servers.servers[0].process().signal(Signal::CONT);

    let of_node = |e: &LogEvent, name: &str| e.type_name == name && e.stream.to_string() == node;
    let is_second_start =
        |log: &[LogEvent]| log.iter().filter(|event| of_node(event, "NodeStarted")).count() == 2;
    wait_for("the second start of the server", || is_second_start(&servers.log(1)).then_some(()));
    let late = servers.runtime.block_on(asked).expect("it does not panic").expect("it is answered");
    assert_eq!(late.deployments, answer.deployments, "one request counts twice");
    // The session that was given up ends, not for good.
    while let Some(message) = asleep.try_receive() {
        if let FromServer::Goodbye { reason, detail, .. } = message {
            assert!(!reason.is_final(), "{detail}");
        }
    }
    let (mut asleep, _) = servers.connect(0, &agents[0]);
    carry_out(&mut asleep, one);
    hear_of(&mut awake, two);
    carry_out(&mut awake, two);
    let log = servers.log(0);
    assert_eq!(log.iter().filter(|event| of_node(event, "NodeLost")).count(), 1);
    assert!(!log.iter().any(|event| loses(event, awake_session)), "who was awake is not lost");
    servers.end(&[one, two]);
}

#[test]
fn a_request_that_several_servers_get_counts_once() {
    const N_REQUESTS: usize = 40;
    let servers = Servers::start();
    let clients = [0, 1].map(|server| servers.client(server, &servers.admin));
    let both = async |n: usize| -> [Result<Recorded, RequestError>; 2] {
        let name = WorkspaceName::new(format!("w-{n}")).expect("a good name");
        let request = CreateWorkspaceRequest { request_id: new_request_id(), name };
        let [one, two] = &clients;
        tokio::join!(one.create_workspace(&request), two.create_workspace(&request)).into()
    };
    for n in 0..N_REQUESTS {
        let answers = servers.runtime.block_on(both(n));
        let [one, two] = answers.map(|answer| answer.expect("both are answered").position);
        assert!(one.is_some() && one == two, "{one:?} and {two:?} for one request");
    }
    let created =
        |log: &[LogEvent]| log.iter().filter(|e| e.type_name == "WorkspaceCreated").count();
    assert_eq!(created(&servers.log(1)), 1 + N_REQUESTS);

    // A token that one issued, at the other.
    let token = servers.issue(1, TokenKind::Read);
    let issued = Instant::now();
    let client = servers.client(0, &token);
    wait_for("the token to be good at the other server", || {
        servers.runtime.block_on(client.whoami()).ok()
    });
    eprintln!("a token is good at the other server after {:?}", issued.elapsed());
    servers.end(&[]);
}
