//! Everything that goes wrong is a problem with a code of the closed set.

use super::harness::{Harness, activation, name, request_id};
use crate::limits;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use ledger_core::rights::TokenKind;
use ledger_core::{Command, WorkspaceName};
use serde_json::{Value, json};

async fn raw(harness: &Harness, path: &str, content_type: &str, body: &[u8]) -> Value {
    let request = Request::post(path)
        .header(header::AUTHORIZATION, format!("Bearer {}", harness.admin))
        .header(header::CONTENT_TYPE, content_type)
        .body(Body::from(body.to_vec()))
        .expect("a request");
    let answer = harness.send(request).await;
    answer.code();
    answer.body
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_the_place() {
    let harness = Harness::new().await;
    let json = "application/json";
    let cases = [
        raw(&harness, "/v1/workspaces", "text/plain", b"{}").await,
        raw(&harness, "/v1/workspaces", json, b"{").await,
        raw(&harness, "/v1/workspaces", json, b"\xff").await,
        raw(&harness, "/v1/workspaces", json, br#"{"name":"a"}"#).await,
        raw(&harness, "/v1/workspaces", json, "[".repeat(5_000).as_bytes()).await,
        raw(&harness, "/v1/tokens/x/revoke", json, b"{}").await,
        raw(&harness, "/v1/tokens?workspace=A%20B", json, b"{}").await,
        raw(&harness, "/v1/nothing", json, b"").await,
        raw(&harness, "/v1/log", json, b"").await,
        harness.get("/v1/log?from=-1", &harness.admin).await.body,
        harness.get("/v1/log?unknown=1", &harness.admin).await.body,
        harness.get("/v1/output", &harness.admin).await.body,
        harness.get("/v1/deployments/web", &harness.admin).await.body,
        harness.get("/v1/deployments/web%23x", &harness.admin).await.body,
        harness.get("/v1/deployments/%ff", &harness.admin).await.body,
        harness.get("/v1/activations", &harness.admin).await.body,
        harness
            .get("/v1/agent/socket", &harness.token(TokenKind::Agent, "default", &[]).await)
            .await
            .body,
    ];
    let lines: Vec<String> = cases
        .iter()
        .map(|problem| {
            let text = |key: &str| problem[key].as_str().expect("text").to_owned();
            format!("{} {}: {}", problem["status"], text("code"), text("detail"))
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[tokio::test]
async fn a_problem_is_whole() {
    let harness = Harness::new().await;
    let answer = harness.get("/v1/workspaces", "").await;
    insta::assert_json_snapshot!(answer.body, { ".instance" => "urn:ledger:request:[id]" }, @r#"
    {
      "code": "unauthorized",
      "detail": "this is no token of Ledger: one begins with ldg_agent_, ldg_activate_, ldg_read_ or ldg_admin_ and has 43 characters after that",
      "instance": "urn:ledger:request:[id]",
      "status": 401,
      "title": "The token is not accepted",
      "type": "urn:ledger:problem:unauthorized"
    }
    "#);
}

#[tokio::test]
async fn bodies_are_bounded_by_their_route() {
    let harness = Harness::new().await;
    let large = vec![b' '; ledger_core::limits::REQUEST_BYTES_MAX + 1];
    let json = "application/json";
    assert_eq!(raw(&harness, "/v1/workspaces", json, &large).await["code"], "too_large");
    // The same is nothing for a spec.
    assert_eq!(raw(&harness, "/v1/activations", json, &large).await["code"], "bad_request");
    let beyond = vec![b' '; limits::ACTIVATE_BYTES_MAX + 1];
    assert_eq!(raw(&harness, "/v1/activations", json, &beyond).await["code"], "too_large");
}

#[tokio::test]
async fn a_body_is_not_read_for_whom_may_not_send_it() {
    let harness = Harness::new().await;
    let token = harness.token(TokenKind::Read, "default", &[]).await;
    let request = Request::post("/v1/activations")
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(Body::from("no json"))
        .expect("a request");
    assert_eq!(harness.send(request).await.code(), "forbidden");
}

#[tokio::test]
async fn bad_tokens_slow_down_and_good_ones_never_do() {
    let harness = Harness::new().await;
    for n in 0..limits::REFUSALS_FREE + 5 {
        let answer = harness.get("/v1/agents", "bad").await;
        let slowed = n >= limits::REFUSALS_FREE;
        assert_eq!(answer.code() == "too_many_requests", slowed);
        assert_eq!(answer.status == StatusCode::TOO_MANY_REQUESTS, slowed);
        assert_eq!(answer.retry_after.is_some(), slowed);
        harness.get("/v1/agents", &harness.admin).await.ok();
    }
    harness.clock.advance(limits::REFUSALS_WINDOW);
    assert_eq!(harness.get("/v1/agents", "bad").await.code(), "unauthorized");
}

#[tokio::test]
async fn a_spec_that_breaks_a_rule_is_refused_and_nothing_is_recorded() {
    let harness = Harness::new().await;
    harness.connect("default", "web").await;
    let head = *harness.server.log.head().borrow();
    let refused = async |spec: &str, agents: &[&str], dry_run: bool| {
        let body = json!({
            "id": request_id(), "spec": spec, "agents": agents, "dry_run": dry_run,
        });
        let answer = harness.post("/v1/activations", &harness.admin, body).await;
        (answer.code(), answer.body["detail"].as_str().expect("text").to_owned())
    };
    for dry_run in [false, true] {
        let (code, detail) = refused(r#"{"agents":{"web":"/etc"}}"#, &[], dry_run).await;
        assert_eq!(code, "invalid_spec");
        assert!(detail.contains("agents.web") && detail.contains("line 1"), "{detail}");
        assert_eq!(refused(r#"{"agents":{}}"#, &["web"], dry_run).await.0, "invalid_spec");
        let unknown = activation(&["web", "nowhere"]);
        let spec = unknown["spec"].as_str().expect("text");
        let (code, detail) = refused(spec, &[], dry_run).await;
        assert_eq!((code.as_str(), detail.as_str()), ("agent_not_found", "unknown agent: nowhere"));
    }
    let agent = name("web");
    let workspace = WorkspaceName::initial();
    let annex = ledger_core::Annex::default();
    harness.command(Command::RetireAgent { workspace, agent, annex }).await;
    for dry_run in [false, true] {
        let spec = activation(&["web"])["spec"].as_str().expect("text").to_owned();
        assert_eq!(refused(&spec, &[], dry_run).await.0, "agent_retired");
    }
    assert_eq!(harness.server.log.head().borrow().0, head.0 + 1, "only the retirement");
}

#[tokio::test]
async fn health_tells_whether_the_server_can_serve() {
    let harness = Harness::new().await;
    assert_eq!(harness.get("/healthz", "").await.ok(), json!({ "status": "ok" }));
    assert_eq!(harness.get("/readyz", "").await.ok(), json!({ "status": "ok" }));
    harness.server.stopping.cancel();
    let answer = harness.get("/readyz", "").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.body, json!({ "status": "the server is stopping" }));
    harness.get("/healthz", "").await.ok();
}

#[tokio::test]
async fn a_clock_that_jumps_makes_the_server_unready_and_writes_unavailable() {
    let harness = Harness::new().await;
    harness.clock.jump_back(std::time::Duration::from_secs(7_200));
    let body = json!({ "request_id": request_id(), "name": "late" });
    let answer = harness.post("/v1/workspaces", &harness.admin, body).await;
    assert_eq!((answer.code().as_str(), answer.status.as_u16()), ("unavailable", 503));
    assert!(answer.retry_after.is_some());
    let ready = harness.get("/readyz", "").await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_ne!(ready.body["status"], "ok");
    harness.get("/v1/agents", &harness.admin).await.ok();
}
