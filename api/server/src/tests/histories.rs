//! What is read of an agent's stream for an answer: no more than it needs, however
//! long the stream is.

use super::harness::{Harness, PATH, name, request_id};
use crate::{given, limits};
use ledger_core::event::{self, Event};
use ledger_core::limits::ENDED_DEPLOYMENTS_KEPT;
use ledger_core::{
    ActivationId, DeploymentId, EventId, NewEvent, StreamId, Version, WorkspaceName,
};
use ledger_store::{Change, ReadError, Write};
use serde_json::{Value, json};
use std::sync::Arc;

/// Deployments that the agent had long ago.
const N_OLD: u64 = 4_000;
/// Deployments that it had since, each by an activation: more than the fold
/// remembers the ends of.
const N_NEW: u64 = 2 * ENDED_DEPLOYMENTS_KEPT as u64;
/// The version up to which nothing of the agent's stream can be read any more, where a
/// test says so. The old deployments have two events each, so it is the half of them.
const LOST: u64 = N_OLD;

fn web() -> StreamId {
    StreamId::Agent(WorkspaceName::initial(), name("web"))
}

/// An agent with a long history. Returns its deployments, the oldest first, and the
/// activations that asked for the new ones.
async fn long_history() -> (Harness, Vec<DeploymentId>, Vec<String>) {
    let harness = Harness::new().await;
    harness.connect("default", "web").await;
    let request = request_id();
    let activation = ActivationId::from_bytes([9; 16]);
    let store_path = PATH.parse().expect("a path");
    let asked = event::DeploymentRequested { activation, store_path, rollback_script: None };
    let mut events: Vec<Event> = vec![asked.clone().into()];
    let mut ids: Vec<DeploymentId> = vec![EventId::derive(request, 0).into()];
    for n in 1..N_OLD as u32 {
        let by = EventId::derive(request, 2 * n).into();
        let deployment = ids[ids.len() - 1];
        events.push(event::DeploymentSuperseded { deployment, by }.into());
        events.push(asked.clone().into());
        ids.push(by);
    }
    let write = Write {
        request_id: request,
        given: given::of_node(harness.server.node, request),
        actor: harness.server.actor(),
        expect: Vec::new(),
        change: Change::Events(Arc::new(
            events.into_iter().map(|e| NewEvent::new(web(), e)).collect(),
        )),
    };
    let written = harness.server.log.write(write).await.expect("written");
    let (_, last) = written.positions.expect("events");
    harness.server.live.wait_for(last, limits::FOLD_TIMEOUT).await.expect("folded");
    let mut activations = Vec::new();
    for index in N_OLD + 1..=N_OLD + N_NEW {
        let answer = harness.activate("default", &harness.admin, &["web"]).await;
        assert_eq!(answer["deployments"][0]["index"], json!(index));
        ids.push(serde_json::from_value(answer["deployments"][0]["id"].clone()).expect("an id"));
        activations.push(answer["id"].as_str().expect("an id").to_owned());
    }
    (harness, ids, activations)
}

/// Starts the server again, which forgets what it remembers of activations, and makes
/// the beginning of the agent's stream unreadable once the log is folded.
async fn with_lost_beginning(harness: Harness) -> Harness {
    let (folder, clock) = harness.kill().await;
    let harness = Harness::on(folder, clock).await;
    let path = harness.folder.path().join("ledger.db");
    let raw = rusqlite::Connection::open(path).expect("opened");
    let statements = "DROP TRIGGER events_no_update; UPDATE events SET actor_kind = 99 \
         WHERE stream = (SELECT id FROM names WHERE name = 'agent/default/web') AND version <= ";
    raw.execute_batch(&format!("{statements}{LOST}")).expect("damaged");
    for version in [1, LOST] {
        let read = harness.server.log.read_stream_bare(&web(), Version(version), 1).await;
        assert!(matches!(read, Err(ReadError::Corrupt { .. })), "version {version} can be read");
    }
    harness
}

#[tokio::test]
async fn each_deployment_has_its_number_from_either_end_of_a_long_history() {
    let (harness, ids, _) = long_history().await;
    let last = N_OLD + N_NEW;
    let newest = [last - 2 * ENDED_DEPLOYMENTS_KEPT as u64, last - 1, last];
    for index in [1, 2, 3, N_OLD / 3, N_OLD / 2, N_OLD - 1].into_iter().chain(newest) {
        let id = ids[index as usize - 1];
        let by_id = harness.get(&format!("/v1/deployments/{id}"), &harness.admin).await.ok();
        let by_number = format!("/v1/deployments/web%23{index}");
        let by_number = harness.get(&by_number, &harness.admin).await.ok();
        assert_eq!((&by_id["id"], &by_id["index"]), (&json!(id), &json!(index)));
        assert_eq!(by_id, by_number, "web#{index}");
        let by = ids.get(index as usize);
        assert_eq!(by_id["superseded_by"], by.map_or(Value::Null, |by| json!(by)));
    }
    for index in [0, last + 1, u64::MAX] {
        let path = format!("/v1/deployments/web%23{index}");
        assert_eq!(harness.get(&path, &harness.admin).await.code(), "deployment_not_found");
    }
}

#[tokio::test]
async fn what_is_asked_of_the_present_reads_nothing_of_a_long_past() {
    let (harness, ids, activations) = long_history().await;
    let harness = with_lost_beginning(harness).await;
    let get = async |path: &str| harness.get(path, &harness.admin).await.ok();
    // The oldest of these is no longer among those whose end the fold remembers.
    for (activation, index) in activations.iter().zip(N_OLD + 1..) {
        let told = get(&format!("/v1/activations/{activation}")).await;
        assert_eq!(told["deployments"][0]["index"], json!(index));
        let id = ids[index as usize - 1];
        assert_eq!(get(&format!("/v1/deployments/{id}")).await["index"], json!(index));
        assert_eq!(get(&format!("/v1/deployments/web%23{index}")).await["id"], json!(id));
        let list = get(&format!("/v1/deployments?activation={activation}")).await;
        assert_eq!(list["deployments"][0]["index"], json!(index));
    }
    // Page by page, and into the past until one would reach for what is lost.
    let (mut before, mut expected) = (String::new(), N_OLD + N_NEW);
    let reaches = 100 * limits::DEPLOYMENT_EVENTS as u64;
    while 2 * expected > LOST + reaches {
        let page = get(&format!("/v1/deployments?agent=web&limit=100{before}")).await;
        let listed = page["deployments"].as_array().expect("a list");
        assert_eq!(listed.len(), 100);
        for deployment in listed {
            assert_eq!(deployment["index"], json!(expected));
            expected -= 1;
        }
        before = format!("&before={}", page["next"]);
    }
    // Another stream, of which one event lies before and one behind it in the log.
    let sessions = get("/v1/log?stream=sessions/default&from=1").await;
    let types = sessions["events"].as_array().expect("a list").iter().map(|event| &event["type"]);
    assert!(types.eq(["AgentConnected", "SessionsLost"]), "{sessions}");
    let head = harness.server.log.head().borrow().0;
    assert_eq!(sessions["next"], json!(head + 1));
    // What lies in the part that is lost cannot be told: it is read, and only then.
    let id = ids[9];
    let answer = harness.get(&format!("/v1/deployments/{id}"), &harness.admin).await;
    assert_eq!(answer.code(), "internal");
}
