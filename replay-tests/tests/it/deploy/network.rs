//! A network that goes away without a word, and TLS from end to end.

use super::{assert_code, assert_home, assert_runs, well};
use crate::rig::agent::{Agent, Settings};
use crate::rig::netns::Network;
use crate::rig::nix::{Closure, Kind};
use crate::rig::server::Options;
use crate::rig::wait_for;
use crate::rig::world::World;
use std::path::Path;
use tempfile::TempDir;

/// Writes a certificate for the address and the key of its own authority, and
/// returns the arguments that make a server use them.
fn certificate(folder: &Path, address: &str) -> Vec<String> {
    let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no name is no wrong name");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_key = rcgen::KeyPair::generate().expect("a key can be made");
    let ca = params.self_signed(&ca_key).expect("it can be signed");
    let issuer = rcgen::Issuer::new(params, ca_key);
    let key = rcgen::KeyPair::generate().expect("a key can be made");
    let params = rcgen::CertificateParams::new(vec![address.to_owned()]).expect("it is an address");
    let cert = params.signed_by(&key, &issuer).expect("it can be signed");
    let file = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("a file can be written");
        path.to_str().expect("the path is UTF-8").to_owned()
    };
    file("ca.pem", ca.pem());
    let (cert, key) = (file("cert.pem", cert.pem()), file("key.pem", key.serialize_pem()));
    vec!["--tls-cert".into(), cert, "--tls-key".into(), key]
}

#[test]
fn a_network_cut_longer_than_the_liveness_deadline_costs_a_session_and_nothing_else() {
    let network = Network::new();
    let keys = TempDir::new().expect("a folder can be made");
    let mut args = certificate(keys.path(), network.address());
    args.extend(["--ping-interval".into(), "300ms".into()]);
    let host = network.address().to_owned();
    let server = Options { wrapper: network.at_server(), host, args };
    let ca = keys.path().join("ca.pem").display().to_string();
    let env = vec![("SSL_CERT_FILE".to_owned(), ca)];
    let clients = Settings { wrapper: network.at_server(), env: env.clone(), substituter: None };
    let world = World::with(server, clients);
    assert!(world.server_url().starts_with("https://"), "{}", world.server_url());

    // The machine's cache is a folder, which no cut reaches.
    let substituter = Some(world.nix.file_cache());
    let settings = Settings { wrapper: network.at_machine(), env, substituter };
    let agent = Agent::launch(&world, "web-1", "web-1", settings);
    world.wait_for_sessions("web-1", 1);

    let path = world.nix.offer(&Closure::new(Kind::HomeManager, "home").gated());
    let activate = world.start_activate(&[("web-1", &path)], &[]);
    world.wait_for_steps("web-1", "ClosureFetched", 1);
    network.cut();
    world.wait_for_events("AgentDisconnected", 1, |e| e.payload["reason"] == "timed_out");
    world.nix.open_gate();
    wait_for("the activation to end", || (world.nix.calls().len() == 2).then_some(()));
    assert_eq!(world.story("web-1").last().map(String::as_str), Some("ClosureFetched"));
    network.heal();
    assert_code(&activate.output(), 0);
    assert_home(&agent, &path, 1);
    assert_eq!(world.nix.calls().len(), 2, "the activation was repeated");
    let sessions = world.wait_for_events("AgentConnected", 2, |_| true);
    assert_eq!(sessions.len(), 2, "one cut costs one session");
    world.check_story(&agent, &well(1));
}

#[test]
fn an_agent_that_freezes_is_given_up_and_comes_back() {
    let world = World::with_ping_interval("300ms");
    let mut agent = world.agent("web-1");
    agent.process().signal(rustix::process::Signal::STOP);
    world.wait_for_events("AgentDisconnected", 1, |e| e.payload["reason"] == "timed_out");
    let path = world.nix.offer(&Closure::plain("site"));
    let activate = world.start_activate(&[("web-1", &path)], &[]);
    world.wait_for_steps("web-1", "DeploymentRequested", 1);
    agent.process().signal(rustix::process::Signal::CONT);
    assert_code(&activate.output(), 0);
    assert_runs(&agent, &path, 1);
    world.check_story(&agent, &well(1));
}
