//! Every route with every kind of token: the table of rights, kept.

use super::harness::{Harness, activation, request_id, secret};
use crate::auth::guard::Need;
use crate::routes::TABLE;
use axum::http::StatusCode;
use ledger_core::Position;
use ledger_core::rights::TokenKind;
use serde_json::{Value, json};

/// A request that each route would grant to who may send it.
struct Case {
    method: &'static str,
    route: &'static str,
    path: String,
    body: Value,
    /// Which of agent, activate, read, admin and admin of the ledger may.
    may: [bool; 5],
}

const FOLLOW: [bool; 5] = [false, true, true, true, true];
const READ: [bool; 5] = [false, false, true, true, true];
const ACTIVATE: [bool; 5] = [false, true, false, true, true];
const MANAGE: [bool; 5] = [false, false, false, true, true];
const LEDGER: [bool; 5] = [false, false, false, false, true];
const ANY: [bool; 5] = [true; 5];
const CONNECT: [bool; 5] = [true, false, false, false, false];

fn get(route: &'static str, path: impl Into<String>, may: [bool; 5]) -> Case {
    Case { method: "GET", route, path: path.into(), body: Value::Null, may }
}

fn post(route: &'static str, path: impl Into<String>, body: Value, may: [bool; 5]) -> Case {
    Case { method: "POST", route, path: path.into(), body, may }
}

async fn cases(harness: &Harness) -> Vec<Case> {
    let answer = harness.activate("default", &harness.admin, &["web"]).await;
    let id = answer["id"].as_str().expect("an id");
    let deployment = answer["deployments"][0]["id"].as_str().expect("an id");
    let plain = || json!({ "request_id": request_id() });
    let token = json!({
        "request_id": request_id(), "secret": secret(TokenKind::Read), "kind": "read",
        "reach": "workspace",
    });
    let workspace = json!({ "request_id": request_id(), "name": format!("w{}", &id[28..]) });
    let records = harness.server.log.read(Position(1), 5_000).await.expect("read");
    let with_annex = records.iter().rfind(|record| record.annex.is_some());
    let erase = json!({
        "request_id": request_id(), "reason": "asked for",
        "position": with_annex.map(|record| record.position),
    });
    vec![
        // Position 1 is the creation of the workspace `default`.
        get("/v1/proofs/inclusion", "/v1/proofs/inclusion?position=1", READ),
        get("/v1/proofs/consistency", "/v1/proofs/consistency?from=1", ANY),
        get("/v1/signing-keys", "/v1/signing-keys", ANY),
        get("/tile/entries/{*index}", "/tile/entries/000.p/2", LEDGER),
        post("/v1/erasures", "/v1/erasures", erase, LEDGER),
        post(
            "/v1/deployments/{which}/cancel",
            // Before a newer one supersedes it.
            format!("/v1/deployments/{deployment}/cancel"),
            plain(),
            ACTIVATE,
        ),
        post("/v1/activations", "/v1/activations", activation(&["web"]), ACTIVATE),
        get("/v1/activations/{id}", format!("/v1/activations/{id}"), FOLLOW),
        get("/v1/log", "/v1/log", READ),
        get("/v1/log", format!("/v1/log?activation={id}"), FOLLOW),
        get("/v1/events", "/v1/events?follow=false", READ),
        get("/v1/events", format!("/v1/events?follow=false&activation={id}"), FOLLOW),
        get("/v1/output", format!("/v1/output?activation={id}"), FOLLOW),
        get("/v1/agents", "/v1/agents", READ),
        get("/v1/deployments", "/v1/deployments", FOLLOW),
        get("/v1/deployments/{which}", format!("/v1/deployments/{deployment}"), FOLLOW),
        get("/v1/deployments/{which}", "/v1/deployments/web%231", FOLLOW),
        get("/v1/tokens", "/v1/tokens", MANAGE),
        post("/v1/tokens", "/v1/tokens", token, MANAGE),
        post(
            "/v1/tokens/{id}/revoke",
            format!("/v1/tokens/{}/revoke", request_id()),
            plain(),
            MANAGE,
        ),
        get("/v1/whoami", "/v1/whoami", ANY),
        get("/v1/workspaces", "/v1/workspaces", LEDGER),
        post("/v1/workspaces", "/v1/workspaces", workspace, LEDGER),
        get("/v1/agent/socket", "/v1/agent/socket", CONNECT),
        get("/metrics", "/metrics", LEDGER),
        post("/v1/agents/{name}/rekey", "/v1/agents/web/rekey", plain(), MANAGE),
        post("/v1/agents/{name}/retire", "/v1/agents/web/retire", plain(), MANAGE),
    ]
}

#[tokio::test]
async fn each_kind_of_token_may_do_what_the_table_says_and_nothing_else() {
    let harness = Harness::new().await;
    let tokens = [
        harness.token(TokenKind::Agent, "default", &[]).await,
        harness.token(TokenKind::Activate, "default", &[]).await,
        harness.token(TokenKind::Read, "default", &[]).await,
        harness.token(TokenKind::Admin, "default", &[]).await,
        harness.admin.clone(),
    ];
    harness.connect("default", "web").await;
    for (n, token) in tokens.iter().enumerate() {
        // Fresh bodies for each, for a request id is used once.
        for case in cases(&harness).await {
            let body = (case.method == "POST").then_some(case.body);
            let answer = harness.ask(case.method, &case.path, token, body).await;
            let refused = answer.status == StatusCode::FORBIDDEN;
            assert_eq!(
                !refused, case.may[n],
                "{} {} with token {n}: {answer:?}",
                case.method, case.path
            );
            if refused {
                assert_eq!(answer.code(), "forbidden");
            } else if case.route != "/v1/agent/socket" && !case.path.contains("/revoke") {
                // Granted, and then done: the socket wants an upgrade, the revoked token is made up.
                assert_eq!(answer.status, StatusCode::OK, "{}: {answer:?}", case.path);
            }
            // What was retired comes back for the next case.
            if case.path.ends_with("/retire") && case.may[n] {
                let rekey = json!({ "request_id": request_id() });
                harness.post("/v1/agents/web/rekey", &harness.admin, rekey).await.ok();
                harness.connect("default", "web").await;
            }
        }
    }
}

#[tokio::test]
async fn every_route_stands_in_the_test_of_rights_and_refuses_who_has_no_token() {
    let harness = Harness::new().await;
    harness.connect("default", "web").await;
    harness.server.signer.sign(&harness.server.log).await.expect("signed");
    let cases = cases(&harness).await;
    for route in TABLE {
        if matches!(route.need, Need::Nothing) {
            let path = route.path.replace("{file}", "start.js");
            let path = path.replace("{level}/{*index}", "0/000.p/2");
            assert_eq!(harness.get(&path, "").await.status, StatusCode::OK, "{path}");
            continue;
        }
        let listed = cases.iter().any(|c| c.route == route.path && c.method == route.method);
        assert!(listed, "{} {} is not tested for rights", route.method, route.path);
    }
    for case in &cases {
        for token in ["", "x", &secret(TokenKind::Admin), &secret(TokenKind::Agent)] {
            harness.clock.advance(crate::limits::REFUSALS_WINDOW);
            let answer = harness.ask(case.method, &case.path, token, None).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{} {}", case.method, case.path);
            assert_eq!(answer.code(), "unauthorized");
        }
    }
}
