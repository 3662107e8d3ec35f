//! Servers that share a log watch over each other: who gives no sign of life any
//! more is recorded as lost, with the sessions that it held.
//!
//! A server that was only paused, or cut off from the database, finds itself lost
//! when it comes back. Its sessions are over then (the registry ends them when it
//! reads so), and it records its start anew before it holds others.

use crate::boot::start_node;
use crate::given;
use crate::problem::chain;
use crate::server::Server;
use ledger_core::{Command, NodeId, RequestId};
use ledger_store::{OutputError, Sign};
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// Signs of life within the time after which a server counts as dead.
const BEATS: u32 = 3;

/// Gives signs of life and looks after the others, for as long as the server runs.
pub(crate) async fn watch(server: Server, timeout: Duration) {
    if !server.log.is_shared() {
        return;
    }
    let mut beats = tokio::time::interval(timeout / BEATS);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = beats.tick() => {}
            () = server.stopping.cancelled() => return,
        }
        match server.log.beat(server.node).await {
            Ok(signs) => look_after(&server, signs, timeout).await,
            Err(OutputError::Unavailable { why }) => {
                tracing::warn!("No sign of life can be given: {why}.");
            }
            Err(error) => tracing::warn!(error = chain(&error), "No sign of life can be given."),
        }
    }
}

async fn look_after(server: &Server, signs: Vec<Sign>, timeout: Duration) {
    // What others wrote is part of the state only once it was read.
    if server.log.tree().await.is_err() {
        return;
    }
    let Some(state) = server.log.state().await else { return };
    let running = |node: &NodeId| state.nodes.get(node).is_some_and(|node| node.running);
    if !running(&server.node) {
        tracing::warn!("This server was taken for dead; it starts again.");
        if let Err(error) = start_node(server).await {
            tracing::error!(error = chain(&error), "The start cannot be recorded.");
        }
    }
    for sign in signs.iter().filter(|sign| sign.silent > timeout && running(&sign.node)) {
        tracing::warn!(node = %sign.node, silent = ?sign.silent, "A server is lost.");
        let request = RequestId::new(uuid::Uuid::now_v7());
        let given = given::of_node(server.node, request);
        let command = Command::LoseNode { node: sign.node, alive_until: sign.seen_at };
        // If another server was faster, there is nothing left to record.
        if let Err(error) = server.commit(request, given, server.actor(), command).await {
            tracing::warn!(error = chain(&error), "The loss cannot be recorded yet.");
        }
    }
}
