//! Many agents at once: one activation is one append, and reaches them all.

use super::assert_code;
use super::reports::{answer, new_request, report, reports};
use crate::rig::nix::Closure;
use crate::rig::wire::{Puppet, Socket};
use crate::rig::world::World;
use api_wire::agent::{FromAgent, FromServer};
use ledger_core::{DeploymentId, RequestId, StorePath};
use std::collections::BTreeMap;

/// Enough that a cost for each agent and each of the others would show.
const AGENTS: usize = 400;

/// Reads on until the agent is asked to deploy.
fn requested(socket: &mut Socket) -> DeploymentId {
    loop {
        let FromServer::Events { events } = socket.receive() else { continue };
        if let Some(event) = events.iter().find(|e| e.type_name == "DeploymentRequested") {
            return event.event_id.into();
        }
    }
}

/// Sends something on every socket before it reads the first answer, so that
/// the server gathers the writes of many.
fn all_at_once(
    sockets: &mut [(Socket, DeploymentId)],
    message: impl Fn(RequestId, DeploymentId) -> FromAgent,
) {
    let sent: Vec<RequestId> = sockets
        .iter_mut()
        .map(|(socket, deployment)| {
            let request = new_request();
            socket.send(&message(request, *deployment));
            request
        })
        .collect();
    for ((socket, _), request) in sockets.iter_mut().zip(sent) {
        let answer = answer(socket, request);
        assert!(!matches!(answer, FromServer::Refused { .. }), "{answer:?}");
    }
}

#[test]
fn one_activation_reaches_hundreds_of_agents_and_each_step_is_recorded_once() {
    let world = World::new();
    let path: StorePath = world.nix.build(&Closure::plain("never-fetched"));
    let puppets: Vec<Puppet> = (0..AGENTS).map(|n| Puppet::new(&format!("puppet-{n}"))).collect();
    let sockets: Vec<Socket> = puppets.iter().map(|puppet| puppet.connect(&world).0).collect();

    let names: Vec<&str> = puppets.iter().map(|puppet| puppet.name.as_str()).collect();
    let agents: Vec<(&str, &StorePath)> = names.iter().map(|name| (*name, &path)).collect();
    let activate = world.start_activate(&agents, &[]);
    let mut sockets: Vec<(Socket, DeploymentId)> = sockets
        .into_iter()
        .map(|mut socket| {
            let deployment = requested(&mut socket);
            (socket, deployment)
        })
        .collect();
    all_at_once(&mut sockets, |request_id, deployment| FromAgent::Claim { request_id, deployment });
    for step in reports() {
        all_at_once(&mut sockets, |request, deployment| report(request, deployment, &step));
    }
    assert_code(&activate.output(), 0);

    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for event in world.log().into_iter().filter(|e| e.type_name.contains("Deployment")) {
        *counts.entry(event.type_name).or_default() += 1;
    }
    let expected = ["DeploymentRequested", "DeploymentStarted", "DeploymentSucceeded"];
    assert_eq!(counts, expected.map(|step| (step.to_owned(), AGENTS)).into());
}
