//! An agent's stream reaches it whole, whenever it connects and however slow it is.

use crate::client::{Agent, name};
use crate::node::{Node, request_id};
use ledger_core::event::{self, Digest};
use ledger_core::record::ActorKind;
use ledger_core::{Actor, DeploymentId, NewEvent, StreamId, Version, WorkspaceName};
use ledger_store::{Change, Write};
use serde_json::json;
use std::sync::Arc;

/// Writes many events of the agent's stream at once.
async fn burst(node: &Node, agent: &str, n: u32) {
    let stream = StreamId::Agent(WorkspaceName::initial(), name(agent));
    let deployment = DeploymentId::from_bytes([3; 16]);
    let event = event::ClosureFetched { deployment, closure_bytes: 1, closure_paths: 1 };
    let event = NewEvent::new(stream, event);
    let request_id = request_id();
    let write = Write {
        request_id,
        given: Digest::of(&request_id.bytes()),
        actor: Actor { kind: ActorKind::Node, id: "test".to_owned() },
        expect: Vec::new(),
        change: Change::Events(Arc::new(vec![event; n as usize])),
    };
    node.log.write(write).await.expect("written");
}

#[tokio::test]
async fn a_session_that_overflows_reads_from_its_own_cursor() {
    let node = Node::new().await;
    let (mut agent, welcome) = Agent::welcomed(&node, "web", 1).await;
    // Far more than the queue holds, in one page: the session cannot keep up.
    burst(&node, "web", 1_500).await;
    burst(&node, "web", 1_500).await;
    let types = agent.events(welcome.head, 3_000).await;
    assert_eq!(types.len(), 3_000);
    // And it is live again afterwards.
    let deployment = node.activate("web").await;
    let types = agent.events(Version(welcome.head.0 + 3_000), 1).await;
    assert_eq!(types, ["DeploymentRequested"]);
    assert_eq!(agent.claim(deployment).await, Ok(()));
    node.stop().await;
}

#[tokio::test]
async fn a_cursor_is_caught_up_and_none_begins_now() {
    let node = Node::new().await;
    let (agent, _) = Agent::welcomed(&node, "web", 1).await;
    drop(agent);
    burst(&node, "web", 700).await;
    let deployment = node.activate("web").await;
    let (mut resumed, welcome) = Agent::resumed(&node, "web", 1, Some(Version(1))).await;
    assert_eq!((welcome.head, welcome.pending), (Version(702), Some(deployment)));
    let types = resumed.events(Version(1), 701).await;
    assert_eq!((types.len(), types[700].as_str()), (701, "DeploymentRequested"));
    let (mut fresh, welcome) = Agent::resumed(&node, "web", 1, None).await;
    assert_eq!(welcome.pending, Some(deployment));
    let cancel = json!({ "request_id": request_id() });
    node.post(&format!("/v1/deployments/{deployment}/cancel"), cancel).await;
    assert_eq!(fresh.events(welcome.head, 1).await, ["DeploymentCancelled"]);
    // A cursor beyond the head is answered with the head, for the agent to judge.
    let (_beyond, welcome) = Agent::resumed(&node, "web", 1, Some(Version(9_999))).await;
    assert_eq!(welcome.head, Version(703));
    node.stop().await;
}

#[tokio::test]
async fn no_event_falls_between_catching_up_and_going_live() {
    let node = Node::new().await;
    let (agent, _) = Agent::welcomed(&node, "web", 1).await;
    drop(agent);
    for round in 0..10u64 {
        let from = Version(1 + round * 40);
        let write = async {
            for _ in 0..20 {
                burst(&node, "web", 2).await;
            }
        };
        let read = async {
            let (mut agent, _) = Agent::resumed(&node, "web", 1, Some(from)).await;
            agent.events(from, 40).await;
        };
        tokio::join!(write, read);
    }
    node.stop().await;
}
