//! No bytes from the network make the server panic or stop.

use crate::client::{Agent, key};
use crate::node::Node;
use api_wire::agent::GoodbyeReason;
use futures_util::SinkExt;
use ledger_core::Event;
use ledger_core::event::DisconnectReason;
use ledger_core::rights::TokenKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

fn garbage() -> Vec<Message> {
    let deep = "[".repeat(10_000);
    let mut messages: Vec<Message> = [
        "",
        "{}",
        "null",
        "[]",
        "{\"type\":\"nothing\"}",
        "{\"type\":\"claim\"}",
        "{\"type\":\"claim\",\"request_id\":\"x\",\"deployment\":\"y\"}",
        "{\"type\":\"goodbye\",\"extra\":1}",
        "{\"type\":\"hello\",\"agent\":\"../etc\"}",
        "\u{0}\u{1}\u{ffff}",
        &deep,
    ]
    .into_iter()
    .map(Message::text)
    .collect();
    messages.push(Message::binary(vec![0xff; 100]));
    messages
}

#[tokio::test]
async fn what_the_protocol_does_not_know_ends_the_session_and_nothing_else() {
    let node = Node::new().await;
    for message in garbage() {
        let (token, _) = node.token(TokenKind::Agent, &[]).await;
        let mut before = Agent::connect(&node, &token).await.expect("connected");
        before.hear().await;
        before.socket.send(message.clone()).await.expect("sent");
        assert_eq!(before.goodbye().await, GoodbyeReason::ProtocolError, "{message:?}");
        let mut after = Agent::connect(&node, &token).await.expect("connected");
        after.hello("web", &key(1), None).await;
        after.welcome().await;
        after.socket.send(message.clone()).await.expect("sent");
        assert_eq!(after.goodbye().await, GoodbyeReason::ProtocolError, "{message:?}");
    }
    let is = |event: &Event| matches!(event, Event::AgentDisconnected(e) if e.reason == DisconnectReason::ProtocolError);
    node.event(is).await;
    node.stop().await;
}

#[tokio::test]
async fn a_message_beyond_its_bound_ends_the_session() {
    let node = Node::new().await;
    let (mut agent, _) = Agent::welcomed(&node, "web", 1).await;
    let large = "x".repeat(ledger_core::limits::MESSAGE_BYTES_MAX + 1);
    // The server may close before all of it has left.
    let _ = agent.socket.send(Message::text(large)).await;
    let is = |event: &Event| matches!(event, Event::AgentDisconnected(e) if e.reason == DisconnectReason::ProtocolError);
    node.event(is).await;
    node.stop().await;
}

#[tokio::test]
async fn bytes_that_are_no_http_or_no_frames_are_survived() {
    let node = Node::new().await;
    let (token, _) = node.token(TokenKind::Agent, &[]).await;
    let upgrade = format!(
        "GET /v1/agent/socket HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
         connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    );
    for start in ["", "GET / HTTP/1.1\r\n", upgrade.as_str()] {
        for seed in 0..20u8 {
            let mut noise = [0; 2_048];
            blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut noise);
            let mut socket = TcpStream::connect(node.running.address()).await.expect("connected");
            // The server may close at any byte.
            let _ = socket.write_all(start.as_bytes()).await;
            let _ = socket.write_all(&noise).await;
            let _ = socket.shutdown().await;
            let _ = socket.read_to_end(&mut Vec::new()).await;
        }
    }
    node.get("/v1/agents").await;
    node.stop().await;
}
