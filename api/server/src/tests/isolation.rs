//! A token of one workspace sees nothing of another, on any route, and cannot
//! even tell whether there is something.

use super::harness::{Answer, Harness, activation, request_id, secret};
use crate::auth::guard::Need;
use crate::routes::TABLE;
use ledger_core::rights::TokenKind;
use serde_json::{Value, json};

/// A request that reaches for something, told by name or id.
struct Reach {
    method: &'static str,
    route: &'static str,
    path: String,
    body: Option<Value>,
}

fn get(route: &'static str, path: String) -> Reach {
    Reach { method: "GET", route, path, body: None }
}

fn post(route: &'static str, path: String, body: Value) -> Reach {
    Reach { method: "POST", route, path, body: Some(body) }
}

/// What one workspace holds.
struct Things {
    activation: String,
    deployment: String,
    agent: String,
    token: String,
}

async fn things(harness: &Harness, workspace: &str, agent: &str) -> Things {
    harness.connect(workspace, agent).await;
    let answer = harness.activate(workspace, &harness.admin, &[agent]).await;
    let secret = secret(TokenKind::Read);
    let body = json!({
        "request_id": request_id(), "secret": secret, "kind": "read", "reach": "workspace",
    });
    let path = format!("/v1/tokens?workspace={workspace}");
    let issued = harness.post(&path, &harness.admin, body).await.ok();
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    Things {
        activation: text(&answer["id"]),
        deployment: text(&answer["deployments"][0]["id"]),
        agent: agent.to_owned(),
        token: text(&issued["id"]),
    }
}

/// Things that are nowhere.
fn nothing() -> Things {
    Things {
        activation: request_id().to_string(),
        deployment: request_id().to_string(),
        agent: "nowhere".to_owned(),
        token: request_id().to_string(),
    }
}

/// Every route, reaching for the things from the caller's own workspace.
fn reaches(of: &Things) -> Vec<Reach> {
    let plain = || json!({ "request_id": request_id() });
    let Things { activation: id, deployment, agent, token } = of;
    vec![
        post("/v1/activations", "/v1/activations".to_owned(), activation(&[agent])),
        get("/v1/activations/{id}", format!("/v1/activations/{id}")),
        get("/v1/log", format!("/v1/log?activation={id}")),
        get("/v1/events", format!("/v1/events?activation={id}")),
        get("/v1/output", format!("/v1/output?activation={id}")),
        get("/v1/output", format!("/v1/output?deployment={deployment}")),
        post("/v1/agents/{name}/rekey", format!("/v1/agents/{agent}/rekey"), plain()),
        post("/v1/agents/{name}/retire", format!("/v1/agents/{agent}/retire"), plain()),
        get("/v1/deployments", format!("/v1/deployments?agent={agent}")),
        get("/v1/deployments", format!("/v1/deployments?activation={id}")),
        get("/v1/deployments/{which}", format!("/v1/deployments/{deployment}")),
        get("/v1/deployments/{which}", format!("/v1/deployments/{agent}%231")),
        post(
            "/v1/deployments/{which}/cancel",
            format!("/v1/deployments/{deployment}/cancel"),
            plain(),
        ),
        post("/v1/tokens/{id}/revoke", format!("/v1/tokens/{token}/revoke"), plain()),
    ]
}

/// Every route that takes a workspace, asked for another one by name.
fn crossings(workspace: &str, of: &Things) -> Vec<Reach> {
    let query = format!("workspace={workspace}");
    let mut crossings: Vec<Reach> = reaches(of)
        .into_iter()
        .map(|mut reach| {
            reach.path.push(if reach.path.contains('?') { '&' } else { '?' });
            reach.path.push_str(&query);
            reach
        })
        .collect();
    crossings.push(get("/v1/agents", format!("/v1/agents?{query}")));
    crossings.push(get("/v1/log", format!("/v1/log?{query}")));
    crossings.push(get("/v1/events", format!("/v1/events?follow=false&{query}")));
    crossings.push(get("/v1/whoami", format!("/v1/whoami?{query}")));
    crossings.push(get("/v1/tokens", format!("/v1/tokens?{query}")));
    let body = json!({
        "request_id": request_id(), "secret": secret(TokenKind::Read), "kind": "read",
        "reach": "workspace",
    });
    crossings.push(post("/v1/tokens", format!("/v1/tokens?{query}"), body));
    crossings
}

async fn ask(harness: &Harness, reach: &Reach, token: &str) -> Answer {
    harness.ask(reach.method, &reach.path, token, reach.body.clone()).await
}

/// The answer with what was asked for cut out of its words.
fn blank(answer: &Answer, of: &Things, workspace: &str) -> String {
    let mut body = answer.body.clone();
    // The request's own id, which is another for each.
    body["instance"] = Value::Null;
    let mut text = body.to_string();
    for word in [&of.activation, &of.deployment, &of.agent, &of.token] {
        text = text.replace(word.as_str(), "…");
    }
    text.replace(workspace, "…")
}

#[tokio::test]
async fn what_is_in_another_workspace_is_answered_as_what_is_nowhere() {
    let harness = Harness::new().await;
    harness.create_workspace("mine").await;
    harness.create_workspace("theirs").await;
    things(&harness, "mine", "own").await;
    let theirs = things(&harness, "theirs", "their-agent").await;
    let tokens = [
        harness.token(TokenKind::Admin, "mine", &[]).await,
        harness.token(TokenKind::Activate, "mine", &[]).await,
        harness.token(TokenKind::Read, "mine", &[]).await,
    ];
    let nowhere = nothing();
    let head = *harness.server.log.head().borrow();
    for token in &tokens {
        for (there, none) in reaches(&theirs).iter().zip(reaches(&nowhere)) {
            let (there, none) =
                (ask(&harness, there, token).await, ask(&harness, &none, token).await);
            assert!(there.status.is_client_error(), "{there:?}");
            assert_eq!(there.status, none.status);
            let (there, none) =
                (blank(&there, &theirs, "theirs"), blank(&none, &nowhere, "theirs"));
            assert_eq!(there, none, "an answer tells that there is something");
        }
        let crossings = crossings("theirs", &theirs).into_iter();
        for (there, none) in crossings.zip(self::crossings("nowhere", &nowhere)) {
            let place = format!("{} {}", there.method, there.path);
            let (there, none) =
                (ask(&harness, &there, token).await, ask(&harness, &none, token).await);
            assert_eq!(there.status, none.status, "{place}");
            assert!([403, 404].contains(&there.status.as_u16()), "{place}: {there:?}");
            assert_eq!(there.code(), none.code(), "{place}");
        }
    }
    assert_eq!(*harness.server.log.head().borrow(), head, "something was written");
}

#[tokio::test]
async fn lists_and_the_log_hold_the_own_workspace_only() {
    let harness = Harness::new().await;
    harness.create_workspace("mine").await;
    harness.create_workspace("theirs").await;
    let mine = things(&harness, "mine", "own").await;
    let theirs = things(&harness, "theirs", "their-agent").await;
    let token = harness.token(TokenKind::Admin, "mine", &[]).await;
    for path in ["/v1/agents", "/v1/deployments", "/v1/tokens", "/v1/log", "/v1/log?from=1"] {
        let text = harness.get(path, &token).await.ok().to_string();
        assert!(text.contains(&mine.agent) || text.contains(&mine.token), "{path}: {text}");
        for word in [&theirs.agent, &theirs.token, &theirs.deployment, &theirs.activation] {
            assert!(!text.contains(word.as_str()), "{path} shows {word}");
        }
        // Nor what belongs to the whole ledger.
        assert!(!text.contains("NodeStarted"), "{path} shows the node");
    }
    let all = harness.get("/v1/log", &harness.admin).await.ok().to_string();
    for word in [&mine.agent, &theirs.agent, &"NodeStarted".to_owned()] {
        assert!(all.contains(word.as_str()), "the ledger's token does not see {word}");
    }
}

#[tokio::test]
async fn every_route_stands_in_the_test_of_isolation() {
    let cases = crossings("theirs", &nothing());
    // These are about no workspace: the ledger's own, the figures, and the socket, whose
    // token names the workspace. What needs no token tells nothing of any: an open route
    // that is not listed here is looked at with suspicion.
    let none = [
        "/v1/workspaces",
        api_wire::agent::PATH,
        "/metrics",
        // Hashes and keys of the whole log tell nothing of a workspace; erasing and the
        // entries need a token of the ledger. Proofs of events have a test of their own.
        "/v1/proofs/consistency",
        "/v1/proofs/inclusion",
        "/v1/signing-keys",
        "/v1/erasures",
        "/tile/entries/{*index}",
    ];
    let open = [
        "/v1/openapi.json",
        "/v1/docs",
        "/v1/docs/{file}",
        "/healthz",
        "/readyz",
        "/checkpoint",
        "/tile/{level}/{*index}",
    ];
    for route in TABLE {
        let needs_nothing = matches!(route.need, Need::Nothing);
        assert_eq!(needs_nothing, open.contains(&route.path), "{}", route.path);
    }
    let about_none = |path: &&str| none.contains(path) || open.contains(path);
    for route in TABLE.iter().filter(|route| !about_none(&route.path)) {
        let listed = cases.iter().any(|c| c.route == route.path && c.method == route.method);
        assert!(listed, "{} {} is not tested for isolation", route.method, route.path);
    }
}

#[tokio::test]
async fn a_workspaces_admin_rules_nothing_of_the_whole_ledger() {
    let harness = Harness::new().await;
    let token = harness.token(TokenKind::Admin, "default", &[]).await;
    let body = json!({
        "request_id": request_id(), "secret": secret(TokenKind::Admin), "kind": "admin",
        "reach": "ledger",
    });
    assert_eq!(harness.post("/v1/tokens", &token, body).await.code(), "forbidden");
    let all = harness.get("/v1/tokens", &harness.admin).await.ok();
    let first = all["tokens"].as_array().expect("a list").iter().find(|t| t["reach"] == "ledger");
    let id = first.expect("the first admin token")["id"].as_str().expect("an id");
    let path = format!("/v1/tokens/{id}/revoke");
    let revoke = || json!({ "request_id": request_id() });
    assert_eq!(harness.post(&path, &token, revoke()).await.code(), "token_not_found");
    assert!(!harness.get("/v1/tokens", &token).await.ok().to_string().contains(id));
    // Who rules the ledger may.
    harness.post(&path, &harness.admin, revoke()).await.ok();
    assert_eq!(harness.get("/v1/tokens", &harness.admin).await.code(), "unauthorized");
}
