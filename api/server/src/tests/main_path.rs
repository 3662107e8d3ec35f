//! What a user does, route by route.

use super::harness::{Harness, PATH, activation};
use ledger_core::rights::TokenKind;

#[tokio::test]
async fn an_activation_is_recorded_answered_and_shown() {
    let harness = Harness::new().await;
    let token = harness.token(TokenKind::Activate, "default", &[]).await;
    let session = harness.connect("default", "web-1").await;
    let body = activation(&["web-1"]);
    let answer = harness.post("/v1/activations", &token, body.clone()).await.ok();
    let deployment = &answer["deployments"][0];
    assert_eq!(deployment["agent"], "web-1");
    assert_eq!((&deployment["index"], &deployment["connected"]), (&1.into(), &true.into()));
    let id = deployment["id"].as_str().expect("an id").parse().expect("a uuid");
    harness.start("web-1", id, session).await;
    // A retry answers what was answered first, and so does a later look.
    let again = harness.post("/v1/activations", &token, body).await.ok();
    assert_eq!(again, answer);
    let path = format!("/v1/activations/{}", answer["id"].as_str().expect("an id"));
    assert_eq!(harness.get(&path, &token).await.ok(), answer);
    let shown = harness.get("/v1/deployments/web-1%231", &token).await.ok();
    assert_eq!((&shown["id"], &shown["status"]), (&deployment["id"], &"running".into()));
    assert_eq!(shown["store_path"], PATH);
    let agents = harness.get("/v1/agents", &harness.admin).await.ok();
    assert_eq!(agents["agents"][0]["running"], deployment["id"]);
}
