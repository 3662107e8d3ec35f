//! A log with a damaged annex: what a fold does not need keeps nothing from being served.

use crate::client::Agent;
use crate::node::{Node, config, request_id};
use api_server::{SignError, StartError, start};
use data_encoding::BASE64URL_NOPAD;
use ledger_core::Event;
use ledger_store::{Clock, Log, SystemClock};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const DESCRIPTION: &str = "a description that stands nowhere else";

/// Changes the one place of a closed log's file that says the description.
fn damage(folder: &Path) {
    let path = folder.join("ledger.db");
    let mut bytes = std::fs::read(&path).expect("the log");
    let places: Vec<usize> = bytes
        .windows(DESCRIPTION.len())
        .enumerate()
        .filter(|(_, window)| *window == DESCRIPTION.as_bytes())
        .map(|(place, _)| place)
        .collect();
    let [place] = places[..] else { panic!("the description stands at {places:?}") };
    bytes[place] = b'A';
    std::fs::write(&path, bytes).expect("written");
}

#[tokio::test]
async fn a_damaged_annex_is_said_to_be_and_all_else_is_served() {
    let node = Node::new().await;
    let secret = format!("ldg_read_{}", BASE64URL_NOPAD.encode(&[7; 32]));
    let body = json!({
        "request_id": request_id(), "secret": secret, "kind": "read", "reach": "workspace",
        "description": DESCRIPTION,
    });
    node.post("/v1/tokens", body).await;
    let folder = node.stop().await;
    damage(folder.path());
    let config = config(folder.path(), Duration::from_secs(20));
    let node = Node::on(folder, config).await;
    let (agent, _) = Agent::welcomed(&node, "web", 1).await;
    // The token whose description is damaged is shown, and good.
    let (status, _) = node.http("GET", "/v1/agents", &secret, &Value::Null).await;
    assert_eq!(status, 200);
    let tokens = node.get("/v1/tokens").await.to_string();
    assert!(tokens.contains("damaged") && !tokens.contains(DESCRIPTION), "{tokens}");
    // Only a page of the log with this event cannot be given, and the answer says which.
    let (status, problem) = node.http("GET", "/v1/log", &node.admin, &Value::Null).await;
    assert_eq!(status, 500);
    let detail = problem["detail"].as_str().expect("a detail");
    let from = detail.split("from=").nth(1).and_then(|rest| rest.split(',').next());
    let rest = node.get(&format!("/v1/log?from={}", from.expect("a place"))).await;
    assert!(rest["events"].as_array().is_some_and(|events| events.len() >= 3), "{rest}");
    node.get("/v1/log?type=NodeStarted").await;
    drop(agent);
    node.stop().await;
}

#[tokio::test]
async fn a_log_whose_first_workspace_was_renamed_is_not_begun_anew() {
    let folder = Node::new().await.stop().await;
    let path = folder.path().join("ledger.db");
    let (name, other) = (b"workspace/default", b"workspace/degault");
    let mut bytes = std::fs::read(&path).expect("the log");
    while let Some(place) = bytes.windows(name.len()).position(|window| window == name) {
        bytes[place..place + name.len()].copy_from_slice(other);
    }
    std::fs::write(&path, bytes).expect("written");
    let admin_token = std::fs::read(folder.path().join("admin-token")).expect("the token");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let again = async || {
        let log = Log::open_sqlite(folder.path(), clock.clone()).await.expect("a log");
        start(config(folder.path(), Duration::from_secs(20)), log, clock.clone()).await
    };
    // What was signed tells it first: as the folder remembers it, and as the log has it.
    for file in ["checkpoint", "signing-key"] {
        let started = again().await;
        assert!(matches!(started, Err(StartError::Sign(SignError::Fork { .. }))), "{file}");
        std::fs::remove_file(folder.path().join(file)).expect("removed");
    }
    let started = again().await;
    assert!(matches!(started, Err(StartError::NoFirstWorkspace)));
    assert_eq!(std::fs::read(folder.path().join("admin-token")).expect("still there"), admin_token);
}

#[tokio::test]
async fn a_page_of_the_log_is_full_with_few_large_annexes_and_none_is_left_out() {
    const TOKENS: usize = 150;
    let node = Node::new().await;
    // 32 KiB each: all of them would be more than a page's 4 MiB.
    let description = "😀".repeat(8 * 1024);
    for n in 0..TOKENS {
        let mut random = [9; 32];
        random[0] = n as u8;
        let secret = format!("ldg_read_{}", BASE64URL_NOPAD.encode(&random));
        let body = json!({
            "request_id": request_id(), "secret": secret, "kind": "read", "reach": "workspace",
            "description": description,
        });
        node.post("/v1/tokens", body).await;
    }
    let is_issued = |event: &Event| matches!(event, Event::TokenIssued(_));
    let written = node.events().await.iter().filter(|event| is_issued(event)).count();
    let (mut next, mut seen, mut pages) = (1, 0, 0);
    loop {
        let path = format!("/v1/log?type=TokenIssued&from={next}");
        let page = node.get(&path).await;
        let events = page["events"].as_array().expect("events");
        if events.is_empty() {
            break;
        }
        let whole = |event: &&Value| event["annex"]["description"] == json!(description);
        // The first token of all has no description.
        assert!(events.iter().filter(whole).count() + usize::from(pages == 0) >= events.len());
        seen += events.len();
        pages += 1;
        next = page["next"].as_u64().expect("a place");
    }
    assert_eq!(seen, written);
    assert!(pages > 1, "one page of {seen} events");
    node.stop().await;
}
