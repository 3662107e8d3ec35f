//! A live server under garbage: it answers, refuses or closes, and lives on.

use super::mutator::Mutator;
use super::{seed, seeds};
use crate::rig::story::check_log;
use crate::rig::wire::{Puppet, Socket};
use crate::rig::world::World;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use tokio_tungstenite::tungstenite::Message;

/// How many inputs each test sends. Each costs a connection.
const INPUTS: usize = 400;

/// Requests to begin from; `HOST` and `TOKEN` stand for the real ones.
const REQUESTS: &[&str] = &[
    "GET /healthz HTTP/1.1\r\nhost: HOST\r\n\r\n",
    "GET /v1/agents?workspace=default HTTP/1.1\r\nhost: HOST\r\nauthorization: Bearer TOKEN\r\n\r\n",
    "GET /v1/log?from=1&limit=2&stream=agent/default/a&wait=0 HTTP/1.1\r\nhost: HOST\r\nauthorization: Bearer TOKEN\r\n\r\n",
    "GET /v1/deployments/web-1%231 HTTP/1.1\r\nhost: HOST\r\nauthorization: Bearer TOKEN\r\n\r\n",
    "POST /v1/workspaces HTTP/1.1\r\nhost: HOST\r\nauthorization: Bearer TOKEN\r\ncontent-type: application/json\r\ncontent-length: 69\r\n\r\n{\"request_id\":\"0190b1f2-7c1e-7d3a-9f00-5c2d6e1a4b90\",\"name\":\"team-1\"}",
    "POST /v1/activations HTTP/1.1\r\nhost: HOST\r\nauthorization: Bearer TOKEN\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n4\r\n{\"id\r\n0\r\n\r\n",
    "GET /v1/agent/socket HTTP/1.1\r\nhost: HOST\r\nauthorization: Bearer TOKEN\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\u{81}\u{85}0000hello",
];

/// Checks that the server is well: it answers, its log is sound, nothing panicked.
fn check_alive(world: &mut World, seed: u64) {
    assert_eq!(world.server.process().has_ended(), None, "the server died; seed {seed}");
    check_log(&world.log());
    let stderr = world.server.process().stderr();
    assert!(!stderr.contains("panicked"), "the server panicked; seed {seed}:\n{stderr}");
}

#[test]
fn no_garbage_over_http_kills_a_server() {
    let mut world = World::new();
    let seed = seed();
    let mut mutator = Mutator::new(seed);
    let host = world.server_url().trim_start_matches("http://").to_owned();
    let token = world.server.admin_token();
    let fill = |r: &&str| r.replace("HOST", &host).replace("TOKEN", &token).into_bytes();
    let requests: Vec<_> = REQUESTS.iter().map(fill).collect();
    for _ in 0..INPUTS {
        let mut stream = TcpStream::connect(&host).expect("the server listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("it can be set");
        // The server may refuse before it has read everything.
        let _ = stream.write_all(&mutator.mutate(&requests));
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = (&stream).take(1024 * 1024).read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert!(!answer.starts_with("HTTP/1.1 5"), "seed {seed}: {answer}");
    }
    check_alive(&mut world, seed);
}

#[test]
fn no_garbage_over_an_agents_socket_kills_a_server() {
    let mut world = World::new();
    let seed = seed();
    let mut mutator = Mutator::new(seed);
    let messages = seeds::from_agent();
    let puppet = Puppet::new("puppet");
    for round in 0..INPUTS / 4 {
        // Before the hello in one half, in an open session in the other.
        let mut socket = match round % 2 {
            0 => Socket::open(&world).expect("the server listens"),
            _ => puppet.connect(&world).0,
        };
        for _ in 0..=mutator.below(4) {
            let bytes = mutator.mutate(&messages);
            socket.send_raw(match String::from_utf8(bytes) {
                Ok(text) => Message::text(text),
                Err(error) => Message::binary(error.into_bytes()),
            });
        }
    }
    let (_, welcome) = puppet.connect(&world);
    drop(welcome);
    check_alive(&mut world, seed);
}
