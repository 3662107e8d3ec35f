//! Writes: once, however often they are sent, and shown when they are answered.

use super::harness::{Harness, activation, request_id};
use ledger_core::rights::TokenKind;
use serde_json::{Value, json};

#[tokio::test]
async fn every_write_sent_again_is_answered_as_first_also_after_a_restart() {
    let harness = Harness::new().await;
    harness.connect("default", "web").await;
    harness.connect("default", "db").await;
    let admin = harness.admin.clone();
    let first = harness.activate("default", &admin, &["db"]).await;
    let db = first["deployments"][0]["id"].as_str().expect("an id").to_owned();
    let plain = || json!({ "request_id": request_id() });
    let writes: Vec<(String, Value)> = vec![
        ("/v1/workspaces".to_owned(), json!({ "request_id": request_id(), "name": "fresh" })),
        ("/v1/activations".to_owned(), activation(&["web"])),
        (format!("/v1/deployments/{db}/cancel"), plain()),
        ("/v1/agents/db/retire".to_owned(), plain()),
        ("/v1/agents/db/rekey".to_owned(), plain()),
    ];
    let mut answers = Vec::new();
    for (path, body) in &writes {
        answers.push(harness.post(path, &admin, body.clone()).await.ok());
    }
    let head = *harness.server.log.head().borrow();
    for ((path, body), answer) in writes.iter().zip(&answers) {
        assert_eq!(harness.post(path, &admin, body.clone()).await.ok(), *answer, "{path}");
    }
    assert_eq!(*harness.server.log.head().borrow(), head, "a retry wrote");
    let (folder, clock) = harness.kill().await;
    let harness = Harness::on(folder, clock).await;
    for ((path, body), answer) in writes.iter().zip(&answers) {
        let mut again = harness.post(path, &admin, body.clone()).await.ok();
        // How the agent stands is of the moment: its session died with the server.
        if path == "/v1/activations" {
            let now = &mut again["deployments"][0];
            assert_eq!((&now["connected"], now["last_seen"].is_string()), (&json!(false), true));
            now["connected"] = json!(true);
            now["last_seen"] = Value::Null;
        }
        assert_eq!(again, *answer, "{path}");
    }
}

#[tokio::test]
async fn the_same_id_for_another_request_is_refused() {
    let harness = Harness::new().await;
    harness.create_workspace("other").await;
    harness.connect("default", "web").await;
    harness.connect("other", "web").await;
    let body = activation(&["web"]);
    harness.post("/v1/activations", &harness.admin, body.clone()).await.ok();
    let mut changed = body.clone();
    changed["description"] = json!("more");
    for (path, body) in [
        ("/v1/activations", &changed),
        ("/v1/activations?workspace=other", &body),
        ("/v1/workspaces", &json!({ "request_id": body["id"], "name": "fresh" })),
    ] {
        let answer = harness.post(path, &harness.admin, body.clone()).await;
        assert_eq!(answer.code(), "idempotency_mismatch", "{path}");
    }
}

#[tokio::test]
async fn an_activation_answers_how_each_agent_stands() {
    let harness = Harness::new().await;
    let web = harness.connect("default", "web").await;
    let db = harness.connect("default", "db").await;
    let first = harness.activate("default", &harness.admin, &["web"]).await;
    let running = first["deployments"][0]["id"].as_str().expect("an id");
    harness.start("web", running.parse().expect("a uuid"), web).await;
    harness.disconnect("default", "db", db).await;
    let answer = harness.activate("default", &harness.admin, &["db", "web"]).await;
    let [db, web] = &answer["deployments"].as_array().expect("a list")[..] else {
        panic!("two deployments")
    };
    assert_eq!((&db["agent"], &db["connected"]), (&json!("db"), &json!(false)));
    assert!(db["last_seen"].is_string() && db["waits_for"].is_null());
    assert_eq!((&web["connected"], &web["index"]), (&json!(true), &json!(2)));
    assert_eq!(web["waits_for"], running);
    // A dry run says the same of the moment, and records nothing.
    let head = *harness.server.log.head().borrow();
    let mut dry = activation(&["db", "web"]);
    dry["dry_run"] = json!(true);
    let dry = harness.post("/v1/activations", &harness.admin, dry).await.ok();
    assert_eq!((&dry["position"], &dry["deployments"][1]["id"]), (&Value::Null, &Value::Null));
    assert_eq!(dry["deployments"][1]["waits_for"], running);
    assert_eq!(*harness.server.log.head().borrow(), head);
}

#[tokio::test]
async fn a_rollback_script_goes_to_the_agents_of_its_system() {
    let harness = Harness::new().await;
    harness.connect("default", "web").await;
    let path = super::harness::PATH;
    let spec = json!({
        "agents": { "web": path },
        "rollbackScript": { "x86_64-linux": format!("{path}-back"), "aarch64-linux": path },
    });
    let body = json!({ "id": request_id(), "spec": spec.to_string() });
    let token = harness.token(TokenKind::Activate, "default", &[]).await;
    let answer = harness.post("/v1/activations", &token, body).await.ok();
    let log = format!("/v1/log?activation={}", answer["id"].as_str().expect("an id"));
    let page = harness.get(&log, &token).await.ok();
    assert_eq!(page["events"][1]["payload"]["rollback_script"], format!("{path}-back"));
    let scripts = page["events"][0]["payload"]["rollback_scripts"].as_object();
    assert_eq!(scripts.map(serde_json::Map::len), Some(2));
}

#[tokio::test]
async fn workspaces_are_listed_with_their_agents_in_service() {
    let harness = Harness::new().await;
    let session = harness.connect("default", "web").await;
    harness.connect("default", "db").await;
    harness.disconnect("default", "web", session).await;
    harness.create_workspace("empty").await;
    let list = harness.get("/v1/workspaces", &harness.admin).await.ok();
    assert_eq!(
        list["workspaces"],
        json!([
            { "name": "default", "agents": 2, "connected": 1 },
            { "name": "empty", "agents": 0, "connected": 0 },
        ])
    );
    let again = json!({ "request_id": request_id(), "name": "empty" });
    let answer = harness.post("/v1/workspaces", &harness.admin, again).await;
    assert_eq!(answer.code(), "workspace_exists");
}

/// A body of unknown length may be as large as its route allows.
#[tokio::test]
async fn large_bodies_wait_for_their_turn_and_small_ones_do_not() {
    let server = Harness::new().await;
    server.connect("default", "web").await;
    let turns = u32::try_from(crate::limits::LARGE_BODIES_AT_ONCE).expect("few");
    let held = server.server.large_bodies.acquire_many(turns).await.expect("open");
    let large = server.activate("default", &server.admin, &["web"]);
    let mut large = std::pin::pin!(large);
    let small = async {
        for _ in 0..3 {
            let body = activation(&["web"]).to_string();
            let request = axum::http::Request::post("/v1/activations?workspace=default")
                .header("authorization", format!("Bearer {}", server.admin))
                .header("content-type", "application/json")
                .header("content-length", body.len())
                .body(axum::body::Body::from(body));
            server.send(request.expect("a request")).await.ok();
        }
    };
    tokio::select! {
        biased;
        _ = &mut large => panic!("it did not wait for its turn"),
        () = small => {}
    }
    drop(held);
    assert!(large.await["deployments"][0]["id"].is_string());
}
