//! Servers that share one PostgreSQL: what one takes in, all have, and one that dies
//! or falls asleep is missed by the others.

mod fencing;
mod first_start;
mod servers;

use crate::rig::wait_for;
use crate::rig::wire::Puppet;
use api_client::http::{RequestError, new_request_id};
use api_wire::agent::FromServer;
use api_wire::http::{CreateWorkspaceRequest, LogEvent, Recorded};
use ledger_core::names::WorkspaceName;
use ledger_core::rights::TokenKind;
use ledger_core::{SessionId, Timestamp};
use rustix::process::Signal;
use servers::{NODE_TIMEOUT, Servers, activation, carry_out, claim, hear_of, reports, tell};
use std::time::{Duration, Instant};

/// Activations whose way is measured.
const N_MEASURED: usize = 60;
/// How soon an agent is to hear of an activation that another server accepted. One
/// that waited for the poll would hear of it after a quarter of a second: what is
/// asked for right after a poll, as here, waits for all of it.
const HEARD_WITHIN: Duration = Duration::from_millis(100);

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
