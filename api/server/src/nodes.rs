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
use ledger_core::{Command, NodeId, RequestId, Timestamp};
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
    for sign in signs.iter().filter(|sign| running(&sign.node)) {
        let written = state.nodes.get(&sign.node).map(|node| node.seen_at);
        if silence(sign, written) <= timeout {
            continue;
        }
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

/// How long nothing was heard of a server, neither a sign of life nor, since one
/// that starts again was silent before, what it wrote to the log.
fn silence(sign: &Sign, written: Option<Timestamp>) -> Duration {
    let later = written.map_or(0, |written| written.micros().saturating_sub(sign.seen_at.micros()));
    sign.silent.saturating_sub(Duration::from_micros(u64::try_from(later).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_wrote_is_a_sign_of_life() {
        let seen_at = Timestamp::from_micros(5_000_000);
        let node = NodeId::new(uuid::Uuid::from_u128(1));
        let sign = Sign { node, seen_at, silent: Duration::from_secs(20) };
        let after =
            |seconds: i64| silence(&sign, Some(Timestamp::from_micros(seconds * 1_000_000)));
        assert_eq!(silence(&sign, None), Duration::from_secs(20));
        assert_eq!(after(3), Duration::from_secs(20));
        assert_eq!(after(24), Duration::from_secs(1));
        assert_eq!(after(99), Duration::ZERO);
    }
}
