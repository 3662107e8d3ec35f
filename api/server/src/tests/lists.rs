//! Lists: page by page, filtered, and asked for again by ETag.

use super::harness::{Harness, request_id};
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use ledger_core::rights::TokenKind;
use ledger_core::{DeploymentId, SessionId};
use serde_json::{Value, json};

fn texts(list: &Value, key: &str) -> Vec<String> {
    let items = list.as_array().expect("a list").iter();
    items.map(|item| item[key].as_str().expect("text").to_owned()).collect()
}

/// Reads a list of one or two at a time, and returns what each item has under the key.
async fn paged(harness: &Harness, path: &str, list: &str, key: &str) -> Vec<String> {
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = harness.get(&format!("{path}limit=2{cursor}"), &harness.admin).await.ok();
        assert!(page[list].as_array().is_some_and(|items| items.len() <= 2), "{page}");
        seen.extend(texts(&page[list], key));
        cursor = match &page["next"] {
            Value::Null => return seen,
            Value::String(next) => format!("&after={next}"),
            next => format!("&after={next}"),
        };
    }
}

#[tokio::test]
async fn agents_tokens_and_workspaces_come_page_by_page_and_whole() {
    let harness = Harness::new().await;
    for name in ["a", "b", "c", "d", "e"] {
        harness.create_workspace(name).await;
        harness.connect("default", name).await;
        harness.token(TokenKind::Read, "default", &[]).await;
    }
    assert_eq!(paged(&harness, "/v1/agents?", "agents", "name").await, ["a", "b", "c", "d", "e"]);
    let workspaces = paged(&harness, "/v1/workspaces?", "workspaces", "name").await;
    assert_eq!(workspaces, ["a", "b", "c", "d", "default", "e"]);
    let all = harness.get("/v1/tokens", &harness.admin).await.ok();
    assert_eq!((all["tokens"].as_array().map(Vec::len), &all["next"]), (Some(6), &Value::Null));
    assert_eq!(paged(&harness, "/v1/tokens?", "tokens", "id").await, texts(&all["tokens"], "id"));
    // What is asked for beyond what there is, or of nothing, is still bounded.
    let page = harness.get("/v1/agents?limit=0&after=d", &harness.admin).await.ok();
    assert_eq!(
        (texts(&page["agents"], "name"), &page["next"]),
        (vec!["e".to_owned()], &json!(null))
    );
    let page = harness.get("/v1/agents?limit=1000000&after=nobody", &harness.admin).await.ok();
    assert_eq!(page["agents"], json!([]));
}

#[tokio::test]
async fn agents_are_filtered_by_connection_and_name() {
    let harness = Harness::new().await;
    let session = harness.connect("default", "web-1").await;
    harness.connect("default", "web-2").await;
    harness.connect("default", "db-1").await;
    harness.disconnect("default", "web-1", session).await;
    let names = async |query: &str| {
        let page = harness.get(&format!("/v1/agents?{query}"), &harness.admin).await.ok();
        texts(&page["agents"], "name")
    };
    assert_eq!(names("connected=true").await, ["db-1", "web-2"]);
    assert_eq!(names("connected=false").await, ["web-1"]);
    assert_eq!(names("name=web-*").await, ["web-1", "web-2"]);
    assert_eq!(names("name=*-1&connected=true").await, ["db-1"]);
    assert_eq!(harness.get("/v1/agents?connected=x", &harness.admin).await.code(), "bad_request");
    assert_eq!(harness.get("/v1/agents?nam=x", &harness.admin).await.code(), "bad_request");
}

/// Three activations of two agents: web's newest runs, and the rest waits or is over.
async fn activations(harness: &Harness) -> (Vec<String>, SessionId) {
    let session = harness.connect("default", "web").await;
    harness.connect("default", "db").await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let answer = harness.activate("default", &harness.admin, &["db", "web"]).await;
        ids.push(answer["id"].as_str().expect("an id").to_owned());
        if ids.len() == 2 {
            let of_web = answer["deployments"][1]["id"].as_str().expect("an id");
            let deployment: DeploymentId = of_web.parse().expect("a uuid");
            harness.start("web", deployment, session).await;
        }
    }
    (ids, session)
}

#[tokio::test]
async fn deployments_are_filtered_by_activation_and_status() {
    let harness = Harness::new().await;
    let (ids, _) = activations(&harness).await;
    let list = async |query: &str| {
        let mut seen = Vec::new();
        let mut before = String::new();
        loop {
            let path = format!("/v1/deployments?limit=1&{query}{before}");
            let page = harness.get(&path, &harness.admin).await.ok();
            for of in page["deployments"].as_array().expect("a list") {
                seen.push(format!("{}#{}", of["agent"].as_str().expect("text"), of["index"]));
            }
            match page["next"].as_u64() {
                Some(next) => before = format!("&before={next}"),
                None => return seen,
            }
        }
    };
    assert_eq!(list(&format!("activation={}", ids[0])).await, ["web#1", "db#1"]);
    assert_eq!(list(&format!("activation={}&agent=db", ids[2])).await, ["db#3"]);
    assert_eq!(list("status=pending").await, ["web#3", "db#3"]);
    assert_eq!(list("status=running").await, ["web#2"]);
    assert_eq!(list("status=superseded&agent=db").await, ["db#2", "db#1"]);
    assert_eq!(list("status=superseded").await, ["db#2", "web#1", "db#1"]);
    assert_eq!(list(&format!("status=running&activation={}", ids[1])).await, ["web#2"]);
    assert_eq!(list("status=failed").await, Vec::<String>::new());
    let unknown = format!("/v1/deployments?activation={}", request_id());
    assert_eq!(harness.get(&unknown, &harness.admin).await.code(), "not_found");
    let answer = harness.get("/v1/deployments?status=lost", &harness.admin).await;
    assert_eq!(answer.code(), "bad_request");
}

#[tokio::test]
async fn a_token_limited_to_agents_finds_no_others_by_activation() {
    let harness = Harness::new().await;
    let (ids, _) = activations(&harness).await;
    let token = harness.token(TokenKind::Activate, "default", &["db"]).await;
    let path = format!("/v1/deployments?activation={}", ids[0]);
    let page = harness.get(&path, &token).await.ok();
    assert_eq!(texts(&page["deployments"], "agent"), ["db"]);
    // Nor does another workspace.
    harness.create_workspace("other").await;
    let token = harness.token(TokenKind::Read, "other", &[]).await;
    assert_eq!(harness.get(&path, &token).await.code(), "not_found");
}

#[tokio::test]
async fn who_holds_an_answer_is_told_that_nothing_changed_until_something_does() {
    let harness = Harness::new().await;
    harness.connect("default", "web").await;
    let ask = async |path: &str, etag: &str| {
        let request = Request::get(path)
            .header(header::AUTHORIZATION, format!("Bearer {}", harness.admin))
            .header(header::IF_NONE_MATCH, etag)
            .body(Body::empty());
        harness.send(request.expect("a request")).await
    };
    for path in [
        "/v1/agents",
        "/v1/workspaces",
        "/v1/tokens",
        "/v1/deployments",
        "/v1/openapi.json",
        "/v1/docs",
        "/v1/docs/start.js",
        "/v1/docs/swagger-ui.css",
    ] {
        let first = ask(path, "\"other\"").await;
        assert_eq!(first.status, StatusCode::OK, "{path}");
        let etag = first.etag.expect("an ETag");
        let again = ask(path, &etag).await;
        assert_eq!(again.status, StatusCode::NOT_MODIFIED, "{path}");
        assert_eq!((again.body.as_str(), again.etag), (Some(""), Some(etag)), "{path}");
        assert!(!again.headers.contains_key(header::CONTENT_TYPE), "{path}");
    }
    let before = ask("/v1/agents", "").await;
    assert_eq!(before.headers[header::CACHE_CONTROL], "private, no-cache");
    harness.connect("default", "db").await;
    let after = ask("/v1/agents", &before.etag.expect("an ETag")).await;
    assert_eq!(texts(&after.ok()["agents"], "name"), ["db", "web"]);
    // Nobody reads by an ETag what the token does not let him read.
    let refused = harness.get("/v1/agents", "").await;
    assert_eq!((refused.code().as_str(), refused.etag), ("unauthorized", None));
}
