//! The log, its filters and its long polls; deployments page by page; output.

use super::harness::{Harness, activation, name, request_id};
use crate::limits;
use ledger_core::rights::TokenKind;
use ledger_core::{DeploymentId, Position};
use ledger_store::OutputWrite;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(20);

fn types(page: &Value) -> Vec<&str> {
    let events = page["events"].as_array().expect("a list");
    events.iter().map(|event| event["type"].as_str().expect("text")).collect()
}

fn id_of(answer: &Value) -> DeploymentId {
    answer["deployments"][0]["id"].as_str().expect("an id").parse().expect("a uuid")
}

#[tokio::test]
async fn filters_are_all_to_be_met_and_next_moves_past_what_they_leave_out() {
    let harness = Harness::new().await;
    let session = harness.connect("default", "web").await;
    harness.connect("default", "db").await;
    let answer = harness.activate("default", &harness.admin, &["db", "web"]).await;
    harness.disconnect("default", "web", session).await;
    let read =
        async |query: &str| harness.get(&format!("/v1/log?{query}"), &harness.admin).await.ok();
    let head = harness.server.log.head().borrow().0;
    let page = read("agent=web").await;
    let of_web = ["AgentRegistered", "AgentConnected", "DeploymentRequested", "AgentDisconnected"];
    assert_eq!(types(&page), of_web);
    assert_eq!((&page["next"], &page["head"]), (&json!(head + 1), &json!(head)));
    assert_eq!(types(&read("agent=web&type=AgentConnected").await), ["AgentConnected"]);
    assert_eq!(types(&read("stream=agent/default/db").await).len(), 2);
    let id = answer["id"].as_str().expect("an id");
    let page = read(&format!("activation={id}")).await;
    assert_eq!(types(&page), ["ActivationRequested", "DeploymentRequested", "DeploymentRequested"]);
    assert_eq!(page["events"][0]["position"], answer["position"]);
    // Page by page gives the same as all at once.
    let all = read("workspace=default").await;
    let (mut from, mut paged) = (1, Vec::new());
    loop {
        let page = read(&format!("workspace=default&limit=2&from={from}")).await;
        let events = page["events"].as_array().expect("a list").clone();
        assert!(events.len() <= 2);
        if events.is_empty() {
            break;
        }
        paged.extend(events);
        from = page["next"].as_u64().expect("a position");
    }
    assert_eq!(Value::from(paged), all["events"]);
    assert_eq!(types(&read(&format!("from={}", head + 100)).await), Vec::<&str>::new());
}

#[tokio::test]
async fn an_event_has_the_documented_keys_and_its_annex_for_who_may_read() {
    let harness = Harness::new().await;
    harness.connect("default", "web").await;
    let mut body = activation(&["web"]);
    body["description"] = json!("because");
    let answer = harness.post("/v1/activations", &harness.admin, body).await.ok();
    let id = answer["id"].as_str().expect("an id");
    let path = format!("/v1/log?activation={id}&limit=1");
    let page = harness.get(&path, &harness.admin).await.ok();
    let event = page["events"][0].as_object().expect("an object");
    let keys: Vec<&str> = event.keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "actor",
            "annex",
            "causation_id",
            "correlation_id",
            "event_id",
            "occurred_at",
            "payload",
            "position",
            "recorded_at",
            "stream",
            "type",
            "version"
        ]
    );
    assert_eq!(event["annex"], json!({ "client": "test/1", "description": "because" }));
    assert_eq!(event["payload"]["workspace"], "default");
    let follower = harness.token(TokenKind::Activate, "default", &[]).await;
    let page = harness.get(&path, &follower).await.ok();
    assert_eq!(page["events"][0].get("annex"), None);
}

#[tokio::test]
async fn a_long_poll_returns_with_the_next_event_and_at_the_latest_when_the_server_stops() {
    let harness = Arc::new(Harness::new().await);
    let from = harness.server.log.head().borrow().0 + 1;
    let poll = |from: u64| {
        let harness = harness.clone();
        let path = format!("/v1/log?from={from}&wait=25&type=WorkspaceCreated");
        tokio::spawn(async move { harness.get(&path, &harness.admin).await.ok() })
    };
    let waiting = poll(from);
    // Passed over by the filter, and no reason to answer.
    harness.token(TokenKind::Read, "default", &[]).await;
    harness.create_workspace("fresh").await;
    let page = timeout(DEADLINE, waiting).await.expect("in time").expect("answered");
    assert_eq!(types(&page), ["WorkspaceCreated"]);
    let waiting = poll(page["next"].as_u64().expect("a position"));
    harness.server.stopping.cancel();
    let page = timeout(DEADLINE, waiting).await.expect("in time").expect("answered");
    assert_eq!(types(&page), Vec::<&str>::new());
}

#[tokio::test]
async fn deployments_are_paged_from_the_newest() {
    let harness = Harness::new().await;
    harness.connect("default", "web").await;
    harness.connect("default", "db").await;
    for _ in 0..3 {
        harness.activate("default", &harness.admin, &["db", "web"]).await;
    }
    let list = async |query: String| {
        let mut seen = Vec::new();
        let mut before = String::new();
        loop {
            let path = format!("/v1/deployments?limit=2&{query}{before}");
            let page = harness.get(&path, &harness.admin).await.ok();
            for deployment in page["deployments"].as_array().expect("a list") {
                let of = (&deployment["agent"], &deployment["index"], &deployment["status"]);
                let text = |value: &Value| value.to_string().replace('"', "");
                seen.push(format!("{}#{} {}", text(of.0), text(of.1), text(of.2)));
            }
            match page["next"].as_u64() {
                Some(next) => before = format!("&before={next}"),
                None => return seen,
            }
        }
    };
    let all = [
        "web#3 pending",
        "db#3 pending",
        "web#2 superseded",
        "db#2 superseded",
        "web#1 superseded",
        "db#1 superseded",
    ];
    assert_eq!(list(String::new()).await, all);
    let of_web = ["web#3 pending", "web#2 superseded", "web#1 superseded"];
    assert_eq!(list("agent=web".to_owned()).await, of_web);
    assert_eq!(
        harness.get("/v1/deployments?agent=nowhere", &harness.admin).await.code(),
        "agent_not_found"
    );
}

#[tokio::test]
async fn output_is_followed_by_activation_and_by_deployment() {
    let harness = Arc::new(Harness::new().await);
    let session = harness.connect("default", "web").await;
    let answer = harness.activate("default", &harness.admin, &["web"]).await;
    let deployment = id_of(&answer);
    harness.start("web", deployment, session).await;
    let write = async |offset: u64, bytes: &[u8]| {
        let output = OutputWrite { deployment, offset, bytes: bytes.to_vec() };
        harness.server.log.write_output(output).await.expect("stored");
    };
    write(0, b"one").await;
    let id = answer["id"].as_str().expect("an id").to_owned();
    let page = harness.get(&format!("/v1/output?activation={id}"), &harness.admin).await.ok();
    assert_eq!(page["chunks"][0]["bytes"], "b25l");
    let next = page["next"].as_u64().expect("a cursor");
    let waiting = {
        let harness = harness.clone();
        let path = format!("/v1/output?activation={id}&after={next}&wait=25");
        tokio::spawn(async move { harness.get(&path, &harness.admin).await.ok() })
    };
    write(3, b"two").await;
    let page = timeout(DEADLINE, waiting).await.expect("in time").expect("answered");
    assert_eq!(
        (&page["chunks"][0]["bytes"], &page["chunks"][0]["offset"]),
        (&json!("dHdv"), &json!(3))
    );
    let path = format!("/v1/output?deployment={deployment}");
    let whole = harness.get(&path, &harness.admin).await.ok();
    assert_eq!(whole["chunks"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn a_token_limited_to_agents_sees_and_moves_those_only() {
    let harness = Harness::new().await;
    harness.connect("default", "web-1").await;
    harness.connect("default", "db-1").await;
    let token = harness.token(TokenKind::Activate, "default", &["web-*"]).await;
    let answer = harness.activate("default", &harness.admin, &["db-1", "web-1"]).await;
    let refused = harness.post("/v1/activations", &token, activation(&["db-1", "web-1"])).await;
    assert_eq!(refused.code(), "forbidden");
    assert!(refused.body["detail"].as_str().is_some_and(|text| text.contains("db-1")));
    let id = answer["id"].as_str().expect("an id");
    for path in [
        format!("/v1/activations/{id}"),
        format!("/v1/log?activation={id}&type=DeploymentRequested"),
        "/v1/deployments".to_owned(),
    ] {
        let text = harness.get(&path, &token).await.ok().to_string();
        assert!(text.contains("web-1") && !text.contains("db-1"), "{path}: {text}");
    }
    let db = harness.get("/v1/deployments/db-1%231", &harness.admin).await.ok();
    let path = format!("/v1/deployments/{}", db["id"].as_str().expect("an id"));
    assert_eq!(harness.get(&path, &token).await.code(), "deployment_not_found");
    let cancel = json!({ "request_id": request_id() });
    assert_eq!(harness.post(&format!("{path}/cancel"), &token, cancel).await.code(), "forbidden");
    harness.activate("default", &token, &["web-1"]).await;
}

#[tokio::test]
async fn a_page_is_bounded_however_much_is_asked_for() {
    let harness = Harness::new().await;
    harness.connect("default", "web").await;
    let page = harness.get("/v1/log?limit=1000000000", &harness.admin).await.ok();
    assert!(types(&page).len() <= limits::LOG_EVENTS_MAX);
    let page = harness.get("/v1/deployments?limit=0", &harness.admin).await.ok();
    assert_eq!(page["deployments"], json!([]));
    let last = (1_u64 << 53) - 1;
    harness.get(&format!("/v1/log?from={last}"), &harness.admin).await.ok();
    harness.get(&format!("/v1/deployments?before={last}"), &harness.admin).await.ok();
    for beyond in [last + 1, u64::MAX] {
        let refused = harness.get(&format!("/v1/log?from={beyond}"), &harness.admin).await;
        assert_eq!(refused.code(), "bad_request");
    }
    harness.get("/v1/deployments?before=0", &harness.admin).await.ok();
    assert!(
        harness
            .server
            .image()
            .state
            .fleet
            .agent(&"default".parse().expect("valid"), &name("web"))
            .is_some()
    );
    assert!(*harness.server.log.head().borrow() > Position(1));
}
