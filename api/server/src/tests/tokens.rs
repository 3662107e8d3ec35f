//! Tokens: issued, listed, expired and revoked.

use super::harness::{Harness, request_id, secret};
use ledger_core::rights::TokenKind;
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn a_token_works_until_it_expires_and_is_listed_with_its_description() {
    let harness = Harness::new().await;
    let secret = secret(TokenKind::Read);
    let body = json!({
        "request_id": request_id(), "secret": secret, "kind": "read", "reach": "workspace",
        "expires_in_seconds": 60, "description": "for the dashboard",
    });
    let issued = harness.post("/v1/tokens", &harness.admin, body.clone()).await.ok();
    harness.get("/v1/agents", &secret).await.ok();
    harness.clock.advance(Duration::from_secs(30));
    // Sent again later, it is answered as it was first.
    let again = harness.post("/v1/tokens", &harness.admin, body).await.ok();
    assert_eq!(again, issued);
    let list = harness.get("/v1/tokens", &harness.admin).await.ok();
    let tokens = list["tokens"].as_array().expect("a list");
    // By age: the first admin token leads.
    assert_eq!((tokens.len(), &tokens[0]["kind"]), (2, &json!("admin")));
    assert_eq!((&tokens[1]["id"], &tokens[1]["expired"]), (&issued["id"], &json!(false)));
    assert_eq!(tokens[1]["description"], "for the dashboard");
    assert!(!list.to_string().contains(&secret));
    harness.clock.advance(Duration::from_secs(30));
    let refused = harness.get("/v1/agents", &secret).await;
    assert_eq!(refused.code(), "unauthorized");
    assert!(refused.body["detail"].as_str().is_some_and(|text| text.contains("expired")));
    let list = harness.get("/v1/tokens", &harness.admin).await.ok();
    assert_eq!(list["tokens"][1]["expired"], true);
}

#[tokio::test]
async fn a_token_is_told_what_it_is_and_which_server_answers() {
    let harness = Harness::new().await;
    harness.create_workspace("team-1").await;
    let secret = harness.token(TokenKind::Activate, "team-1", &["web-*"]).await;
    let told = harness.get("/v1/whoami", &secret).await.ok();
    assert_eq!(told["kind"], "activate");
    assert_eq!((&told["reach"], &told["workspace"]), (&json!("workspace"), &json!("team-1")));
    assert_eq!(told["agents"], json!(["web-*"]));
    assert_eq!(told["rights"], json!(["activate", "follow"]));
    assert_eq!((&told["expires_at"], &told["ready"]), (&json!(null), &json!(true)));
    assert_eq!(told["node"], harness.server.node.to_string());
    assert_eq!(told["now"], json!(harness.server.clock.now()));
    assert!(!told.to_string().contains(&secret));
    let admin = harness.get("/v1/whoami?workspace=team-1", &harness.admin).await.ok();
    assert_eq!((&admin["reach"], &admin["workspace"]), (&json!("ledger"), &json!("team-1")));
    let rights = "activate follow read manage manage_ledger";
    assert_eq!(admin["rights"], json!(rights.split(' ').collect::<Vec<_>>()));
    let here = harness.get("/v1/whoami", &harness.admin).await.ok();
    assert_eq!(here["workspace"], "default");
    // A workspace's admin is not told that it may do what needs the whole ledger.
    let own = harness.token(TokenKind::Admin, "team-1", &[]).await;
    let own = harness.get("/v1/whoami", &own).await.ok();
    assert!(!own["rights"].to_string().contains("manage_ledger"), "{own}");
}

/// A token that reads, and the path that revokes it.
async fn revocable(harness: &Harness) -> (String, String) {
    let secret = secret(TokenKind::Read);
    let body = json!({
        "request_id": request_id(), "secret": secret, "kind": "read", "reach": "workspace",
    });
    let issued = harness.post("/v1/tokens", &harness.admin, body).await.ok();
    let path = format!("/v1/tokens/{}/revoke", issued["id"].as_str().expect("an id"));
    (secret, path)
}

#[tokio::test]
async fn a_revoked_token_is_refused_from_the_answer_on() {
    let harness = Harness::new().await;
    let (secret, path) = revocable(&harness).await;
    let revoke = json!({ "request_id": request_id() });
    let first = harness.post(&path, &harness.admin, revoke.clone()).await.ok();
    assert_eq!(harness.get("/v1/agents", &secret).await.code(), "unauthorized");
    assert_eq!(harness.post(&path, &harness.admin, revoke).await.ok(), first);
    let other = json!({ "request_id": request_id() });
    assert_eq!(harness.post(&path, &harness.admin, other).await.code(), "token_not_found");
}

#[tokio::test]
async fn a_token_revoked_while_its_request_waits_is_told_nothing_more() {
    let harness = Harness::new().await;
    let (secret, path) = revocable(&harness).await;
    let from = harness.server.log.head().borrow().next();
    let poll = format!("/v1/log?from={from}&wait=25");
    // Polled in this order: the request has passed the guard when the other begins.
    let revoke = json!({ "request_id": request_id() });
    let (waited, revoked) =
        tokio::join!(harness.get(&poll, &secret), harness.post(&path, &harness.admin, revoke));
    revoked.ok();
    assert_eq!(waited.code(), "unauthorized");
}

#[tokio::test]
async fn what_is_no_good_token_is_not_issued() {
    let harness = Harness::new().await;
    let known = harness.token(TokenKind::Read, "default", &[]).await;
    let issue = async |secret: &str, kind: &str, reach: &str, agents: &[&str]| {
        let body = json!({
            "request_id": request_id(), "secret": secret, "kind": kind, "reach": reach,
            "agents": agents,
        });
        harness.post("/v1/tokens", &harness.admin, body).await.code()
    };
    assert_eq!(issue("short", "read", "workspace", &[]).await, "bad_request");
    assert_eq!(issue(&secret(TokenKind::Admin), "read", "workspace", &[]).await, "bad_request");
    // A secret that another token has already would open both.
    assert_eq!(issue(&known, "read", "workspace", &[]).await, "secret_taken");
    let agent = secret(TokenKind::Agent);
    assert_eq!(issue(&agent, "agent", "ledger", &[]).await, "reach_not_allowed");
    let read = secret(TokenKind::Read);
    assert_eq!(issue(&read, "read", "workspace", &["web-*"]).await, "patterns_not_allowed");
    let many = vec!["a"; ledger_core::limits::TOKEN_PATTERNS_MAX + 1];
    assert_eq!(issue(&agent, "agent", "workspace", &many).await, "too_many_patterns");
}

#[tokio::test]
async fn no_secret_is_in_the_log() {
    let harness = Harness::new().await;
    let secret = harness.token(TokenKind::Activate, "default", &[]).await;
    let (folder, _) = harness.kill().await;
    for entry in std::fs::read_dir(folder.path()).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.file_name().is_some_and(|name| name == "admin-token") {
            continue;
        }
        let bytes = std::fs::read(&path).expect("read");
        let held = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!held, "{} holds a secret", path.display());
    }
}
