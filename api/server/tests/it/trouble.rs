//! Sessions while the log takes no writes, and while the server makes mistakes.

use crate::client::{Agent, key};
use crate::node::{DEADLINE, Node, config, data_folder};
use api_server::Failed;
use api_wire::agent::GoodbyeReason;
use futures_util::StreamExt;
use ledger_core::event::DisconnectReason;
use ledger_core::rights::TokenKind;
use ledger_core::{Event, Timestamp};
use ledger_store::{Clock, Readiness, SystemClock};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::timeout;

/// A clock that jumps back, or that breaks, once it is told to.
#[derive(Default)]
struct Faulty {
    set_back: AtomicBool,
    broken: AtomicBool,
}

impl Clock for Faulty {
    fn now(&self) -> Timestamp {
        assert!(!self.broken.load(Ordering::SeqCst), "the clock broke, as the test wants");
        let set_back = self.set_back.load(Ordering::SeqCst);
        SystemClock.now().plus_micros(if set_back { -5 * 3_600_000_000 } else { 0 })
    }
    fn uptime(&self) -> Duration {
        SystemClock.uptime()
    }
}

async fn node() -> (Node, Arc<Faulty>, Arc<Faulty>) {
    let folder = data_folder();
    let config = config(folder.path(), Duration::from_secs(20));
    let (of_log, of_server) = (Arc::<Faulty>::default(), Arc::<Faulty>::default());
    let node = Node::with_clocks(folder, config, of_log.clone(), of_server.clone()).await;
    (node, of_log, of_server)
}

/// Waits until the server has let go of the connection.
async fn is_gone(mut agent: Agent) {
    let gone = async { while let Some(Ok(_)) = agent.socket.next().await {} };
    timeout(DEADLINE, gone).await.expect("the connection ends");
}

#[tokio::test]
async fn a_socket_on_a_log_that_takes_no_writes_is_told_so_and_let_go() {
    let (node, of_log, _) = node().await;
    let (token, _) = node.token(TokenKind::Agent, &[]).await;
    of_log.set_back.store(true, Ordering::SeqCst);
    for n in 1..=5 {
        let mut agent = Agent::connect(&node, &token).await.expect("connected");
        agent.hello(&format!("web-{n}"), &key(n), None).await;
        assert_eq!(agent.goodbye().await, GoodbyeReason::Unavailable);
        is_gone(agent).await;
    }
    assert!(matches!(node.log.readiness(), Readiness::NotReady(_)));
    // What was not opened has no end, neither then nor later.
    assert!(
        !node
            .events()
            .await
            .iter()
            .any(|event| matches!(event, Event::AgentConnected(_) | Event::AgentDisconnected(_)))
    );
    node.stop().await;
}

#[tokio::test]
async fn a_panic_while_a_session_opens_leaves_none_open() {
    let (node, _, of_server) = node().await;
    let (token, _) = node.token(TokenKind::Agent, &[]).await;
    let mut agent = Agent::connect(&node, &token).await.expect("connected");
    of_server.broken.store(true, Ordering::SeqCst);
    agent.hello("web", &key(1), None).await;
    assert_eq!(agent.goodbye().await, GoodbyeReason::Unavailable);
    node.event(|event| {
        matches!(event, Event::AgentDisconnected(e) if e.reason == DisconnectReason::ConnectionLost)
    })
    .await;
    of_server.broken.store(false, Ordering::SeqCst);
    let (_again, _) = Agent::welcomed(&node, "web", 1).await;
    node.stop().await;
}

#[tokio::test]
async fn a_server_whose_log_ended_under_it_says_that_it_failed() {
    let (node, _, _) = node().await;
    node.log.close().await;
    let failed = timeout(DEADLINE, node.running.failed()).await.expect("in time");
    assert!(matches!(failed, Failed::Log), "{failed}");
    node.stop().await;
}
