//! A report counts once, however often and on whichever session it is sent.

use super::assert_code;
use crate::rig::nix::Closure;
use crate::rig::story::{WELL, check_log};
use crate::rig::wire::{Puppet, Socket};
use crate::rig::world::World;
use api_wire::agent::{FromAgent, FromServer};
use api_wire::problem::Code;
use ledger_core::agent::Report;
use ledger_core::event::{ClosureKind, Digest, OutputDigest};
use ledger_core::{DeploymentId, EventId, RequestId, Timestamp};

pub(super) fn new_request() -> RequestId {
    RequestId::new(uuid::Uuid::now_v7())
}

/// Reads on until the request is answered.
pub(super) fn answer(socket: &mut Socket, wanted: RequestId) -> FromServer {
    loop {
        match socket.receive() {
            answer @ (FromServer::Acknowledged { request_id }
            | FromServer::Claimed { request_id, .. }
            | FromServer::Refused { request_id, .. })
                if request_id == wanted =>
            {
                return answer;
            }
            FromServer::Goodbye { detail, .. } => panic!("the server says goodbye: {detail}"),
            _ => {}
        }
    }
}

/// The reports of a deployment that goes well.
pub(super) fn reports() -> Vec<Report> {
    vec![
        Report::ClosureFetched { closure_bytes: 7, closure_paths: 2 },
        Report::ActivationSucceeded {
            closure: ClosureKind::Plain,
            generation: Some(1),
            previous: None,
        },
        Report::Succeeded { output: OutputDigest { blake3: Digest::of(b""), bytes: 0 } },
    ]
}

pub(super) fn report(
    request_id: RequestId,
    deployment: DeploymentId,
    report: &Report,
) -> FromAgent {
    let occurred_at: Timestamp = "2026-03-01T12:00:00Z".parse().expect("a good time");
    FromAgent::Report { request_id, deployment, report: report.clone(), occurred_at }
}

/// Begins a deployment of an agent that has just connected.
pub(super) fn begin(world: &World, socket: &mut Socket) -> (DeploymentId, RequestId) {
    let path = world.nix.build(&Closure::plain("never-fetched"));
    assert_code(&world.activate(&[("puppet", &path)], &["--async"]), 0);
    let requested = world.wait_for_steps("puppet", "DeploymentRequested", 1);
    let (deployment, claim) = (requested.event_id.into(), new_request());
    socket.send(&FromAgent::Claim { request_id: claim, deployment });
    assert!(matches!(answer(socket, claim), FromServer::Claimed { .. }));
    (deployment, claim)
}

#[test]
fn what_is_acknowledged_is_in_the_log_once_though_sent_again_after_a_kill() {
    let mut world = World::new();
    let puppet = Puppet::new("puppet");
    let (mut socket, _) = puppet.connect(&world);
    let (deployment, claim) = begin(&world, &mut socket);
    let mut acknowledged = vec![claim];
    for step in reports() {
        let id = new_request();
        let message = report(id, deployment, &step);
        // Twice at once, once more after the answer, and once to a server that
        // died right after it answered.
        socket.send(&message);
        socket.send(&message);
        assert!(matches!(answer(&mut socket, id), FromServer::Acknowledged { .. }));
        world.server.restart();
        (socket, _) = puppet.connect(&world);
        socket.send(&FromAgent::Claim { request_id: claim, deployment });
        socket.send(&message);
        assert!(matches!(answer(&mut socket, id), FromServer::Acknowledged { .. }));
        acknowledged.push(id);
    }
    let log = world.log();
    check_log(&log);
    for id in acknowledged {
        let id = EventId::derive(id, 0);
        assert_eq!(log.iter().filter(|event| event.event_id == id).count(), 1);
    }
    let expected: Vec<_> = ["AgentRegistered"].into_iter().chain(WELL).collect();
    assert_eq!(world.story("puppet"), expected);
}

#[test]
fn a_report_that_does_not_follow_is_refused_and_leaves_nothing() {
    let world = World::new();
    let puppet = Puppet::new("puppet");
    let (mut socket, _) = puppet.connect(&world);
    let (deployment, _) = begin(&world, &mut socket);
    let mut refused = |request_id, deployment, step: &Report, expected: Code| {
        socket.send(&report(request_id, deployment, step));
        match answer(&mut socket, request_id) {
            FromServer::Refused { code, .. } => assert_eq!(code, expected),
            other => panic!("{other:?}"),
        }
    };
    let steps = reports();
    refused(new_request(), deployment, &steps[2], Code::ReportOutOfOrder);
    let unknown = DeploymentId::new(uuid::Uuid::now_v7());
    refused(new_request(), unknown, &steps[0], Code::DeploymentNotFound);

    let id = new_request();
    socket.send(&report(id, deployment, &steps[0]));
    assert!(matches!(answer(&mut socket, id), FromServer::Acknowledged { .. }));
    // The same id with other contents is another report, and is not taken for the first.
    let mut refused = |request_id, step: &Report, expected: Code| {
        socket.send(&report(request_id, deployment, step));
        match answer(&mut socket, request_id) {
            FromServer::Refused { code, .. } => assert_eq!(code, expected),
            other => panic!("{other:?}"),
        }
    };
    refused(id, &steps[1], Code::IdempotencyMismatch);
    let expected = ["AgentRegistered", WELL[0], WELL[1], WELL[2]];
    assert_eq!(world.story("puppet"), expected);
    check_log(&world.log());
}

#[test]
fn a_claim_of_what_gave_way_is_refused_with_the_reason() {
    let world = World::new();
    let puppet = Puppet::new("puppet");
    let (mut socket, _) = puppet.connect(&world);
    let path = world.nix.build(&Closure::plain("never-fetched"));
    for _ in 0..2 {
        assert_code(&world.activate(&[("puppet", &path)], &["--async"]), 0);
    }
    let requested = world.wait_for_events("DeploymentRequested", 2, |_| true);
    let request_id = new_request();
    let deployment = requested[0].event_id.into();
    socket.send(&FromAgent::Claim { request_id, deployment });
    match answer(&mut socket, request_id) {
        FromServer::Refused { code, .. } => assert_eq!(code, Code::DeploymentSuperseded),
        other => panic!("{other:?}"),
    }
    let newest = new_request();
    let deployment = requested[1].event_id.into();
    socket.send(&FromAgent::Claim { request_id: newest, deployment });
    assert!(matches!(answer(&mut socket, newest), FromServer::Claimed { .. }));
    check_log(&world.log());
}
