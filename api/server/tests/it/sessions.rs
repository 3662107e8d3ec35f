//! Who gets a session, and how one ends.

use crate::client::{Agent, key};
use crate::node::{Node, request_id};
use api_wire::agent::{FromAgent, GoodbyeReason};
use data_encoding::BASE64;
use ledger_core::Event;
use ledger_core::event::DisconnectReason;
use ledger_core::rights::TokenKind;
use serde_json::json;
use tokio_tungstenite::tungstenite::Error;

async fn ended(node: &Node, reason: DisconnectReason) {
    node.event(|event| matches!(event, Event::AgentDisconnected(e) if e.reason == reason)).await;
}

#[tokio::test]
async fn an_agent_that_proves_its_key_is_welcomed_and_leaves_in_good_order() {
    let node = Node::new().await;
    let (mut agent, welcome) = Agent::welcomed(&node, "web", 1).await;
    assert_eq!((welcome.head.0, welcome.pending, welcome.running), (1, None, None));
    let agents = node.get("/v1/agents").await;
    assert_eq!(agents["agents"][0]["session"], json!(welcome.session));
    agent.say(&FromAgent::Goodbye {}).await;
    ended(&node, DisconnectReason::AgentStopped).await;
    let connected = node.event(|event| matches!(event, Event::AgentConnected(_))).await;
    let annex = connected.annex.as_ref().and_then(ledger_core::SealedAnnex::open);
    assert_eq!(annex.and_then(|annex| annex.address).as_deref(), Some("127.0.0.1"));
    assert_eq!(connected.actor.id, "web");
    node.stop().await;
}

#[tokio::test]
async fn a_signature_of_another_key_opens_nothing() {
    let node = Node::new().await;
    let (token, _) = node.token(TokenKind::Agent, &[]).await;
    for signature in [String::new(), BASE64.encode(&[0; 64]), "no base 64".to_owned()] {
        let mut agent = Agent::connect(&node, &token).await.expect("connected");
        agent.hear().await;
        agent.introduce("web", &key(1), signature, None).await;
        assert_eq!(agent.goodbye().await, GoodbyeReason::ProtocolError);
    }
    assert!(!node.events().await.iter().any(|event| matches!(event, Event::AgentConnected(_))));
    node.stop().await;
}

#[tokio::test]
async fn another_key_under_the_name_is_refused_until_an_operator_rekeys_it() {
    let node = Node::new().await;
    let (_first, _) = Agent::welcomed(&node, "web", 1).await;
    let (token, _) = node.token(TokenKind::Agent, &[]).await;
    let mut other = Agent::connect(&node, &token).await.expect("connected");
    other.hello("web", &key(2), None).await;
    assert_eq!(other.goodbye().await, GoodbyeReason::KeyMismatch);
    node.post("/v1/agents/web/rekey", json!({ "request_id": request_id() })).await;
    let mut other = Agent::connect(&node, &token).await.expect("connected");
    other.hello("web", &key(2), None).await;
    other.welcome().await;
    node.stop().await;
}

#[tokio::test]
async fn the_newer_session_replaces_the_older_without_an_end_in_the_log() {
    let node = Node::new().await;
    let (mut older, _) = Agent::welcomed(&node, "web", 1).await;
    let (_newer, welcome) = Agent::welcomed(&node, "web", 1).await;
    assert_eq!(older.goodbye().await, GoodbyeReason::Replaced);
    let agents = node.get("/v1/agents").await;
    assert_eq!(agents["agents"][0]["session"], json!(welcome.session));
    assert!(!node.events().await.iter().any(|e| matches!(e, Event::AgentDisconnected(_))));
    node.stop().await;
}

#[tokio::test]
async fn a_token_opens_sessions_of_its_names_only_and_only_an_agents_token_does() {
    let node = Node::new().await;
    let (token, _) = node.token(TokenKind::Agent, &["db-*"]).await;
    let mut agent = Agent::connect(&node, &token).await.expect("connected");
    agent.hello("web", &key(1), None).await;
    assert_eq!(agent.goodbye().await, GoodbyeReason::TokenRefused);
    for (kind, status) in [(TokenKind::Activate, 403), (TokenKind::Read, 403)] {
        let (token, _) = node.token(kind, &[]).await;
        let Err(Error::Http(response)) = Agent::connect(&node, &token).await else {
            panic!("{kind} opened a socket")
        };
        assert_eq!(response.status(), status);
    }
    let Err(Error::Http(response)) = Agent::connect(&node, "ldg_agent_x").await else {
        panic!("a bad token opened a socket")
    };
    assert_eq!(response.status(), 401);
    node.stop().await;
}

#[tokio::test]
async fn retiring_and_rekeying_end_a_session_at_once() {
    let node = Node::new().await;
    let (mut agent, _) = Agent::welcomed(&node, "web", 1).await;
    node.post("/v1/agents/web/retire", json!({ "request_id": request_id() })).await;
    assert_eq!(agent.goodbye().await, GoodbyeReason::Retired);
    ended(&node, DisconnectReason::Revoked).await;
    let (token, _) = node.token(TokenKind::Agent, &[]).await;
    let mut retired = Agent::connect(&node, &token).await.expect("connected");
    retired.hello("web", &key(1), None).await;
    assert_eq!(retired.goodbye().await, GoodbyeReason::Retired);
    let (mut agent, _) = Agent::welcomed(&node, "db", 1).await;
    let to_itself = json!({ "request_id": request_id(), "public_key": ledger_core::key::PublicKey::from_bytes(key(1).verifying_key().to_bytes()) });
    node.post("/v1/agents/db/rekey", to_itself).await;
    // The same key keeps its session, and hears of it.
    let types = agent.events(ledger_core::Version(1), 1).await;
    assert_eq!(types, ["AgentRekeyed"]);
    node.post("/v1/agents/db/rekey", json!({ "request_id": request_id() })).await;
    assert_eq!(agent.goodbye().await, GoodbyeReason::Retired);
    node.stop().await;
}

#[tokio::test]
async fn revoking_a_token_ends_its_sessions_at_once_and_no_others() {
    let node = Node::new().await;
    let (token, id) = node.token(TokenKind::Agent, &[]).await;
    let mut agent = Agent::connect(&node, &token).await.expect("connected");
    agent.hello("web", &key(1), None).await;
    agent.welcome().await;
    let (mut other, _) = Agent::welcomed(&node, "db", 2).await;
    node.post(&format!("/v1/tokens/{id}/revoke"), json!({ "request_id": request_id() })).await;
    assert_eq!(agent.goodbye().await, GoodbyeReason::TokenRefused);
    let Err(Error::Http(response)) = Agent::connect(&node, &token).await else {
        panic!("a revoked token opened a socket")
    };
    assert_eq!(response.status(), 401);
    let deployment = node.activate("db").await;
    assert_eq!(other.claim(deployment).await, Ok(()));
    node.stop().await;
}
