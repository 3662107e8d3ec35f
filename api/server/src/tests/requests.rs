//! The id of a request: on every answer, and in every problem.

use super::harness::Harness;
use crate::limits;
use crate::metrics::Metrics;
use crate::routes::around;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use axum::routing::get;
use futures_util::FutureExt;
use ledger_core::Position;
use serde_json::Value;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use tower::ServiceExt;
use tracing::subscriber::DefaultGuard;

fn request(method: &str, path: &str, token: &str) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("X-Request-Id", "mine-1")
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(Body::empty())
        .expect("a request")
}

#[tokio::test]
async fn every_answer_carries_the_id_of_its_request() {
    let harness = Harness::new().await;
    let admin = harness.admin.as_str();
    for (method, path, token, status) in [
        ("GET", "/v1/agents", admin, 200),
        ("GET", "/healthz", "", 200),
        ("GET", "/v1/agents", "bad", 401),
        ("GET", "/v1/agent/socket", admin, 403),
        ("GET", "/nowhere", admin, 404),
        ("DELETE", "/v1/agents", admin, 405),
        ("POST", "/v1/workspaces", admin, 415),
    ] {
        let answer = harness.send(request(method, path, token)).await;
        assert_eq!((answer.status.as_u16(), &*answer.request_id), (status, "mine-1"), "{path}");
        if status >= 400 {
            assert_eq!(answer.body["instance"], "urn:ledger:request:mine-1", "{answer:?}");
            answer.code();
        }
    }
    let (one, two) = (harness.get("/healthz", "").await, harness.get("/healthz", "").await);
    assert_ne!(one.request_id, two.request_id, "one that was not given is made");
}

/// Routes of the test's own, with all that stands around those of the server.
fn router() -> Router {
    let routes = Router::new()
        .route("/panics", get(async || -> Response { panic!("a defect") }))
        .route("/hangs", get(async || std::future::pending::<Response>().await));
    around(routes, Arc::new(Metrics::new(Position::ZERO)))
}

async fn problem(path: &str) -> (StatusCode, Value) {
    let response = router().oneshot(request("GET", path, "")).await.expect("infallible");
    assert_eq!(response.headers()["x-request-id"], "mine-1");
    let status = response.status();
    let body = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
    (status, serde_json::from_slice(&body).expect("JSON"))
}

#[tokio::test]
async fn a_panic_is_answered_with_the_id_and_none_of_its_words() {
    let (status, body) = problem("/panics").await;
    assert_eq!((status.as_u16(), &body["code"]), (500, &Value::from("internal")));
    assert_eq!(body["instance"], "urn:ledger:request:mine-1");
    assert!(!body.to_string().contains("a defect"), "{body}");
}

/// What is logged, line by line.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("healthy").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// Takes what this thread logs, in JSON, as far as the filter lets it.
    fn gather(&self, filter: &str) -> DefaultGuard {
        let lines = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(move || lines.clone())
            .json()
            .flatten_event(true)
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    fn read(&self) -> Vec<Value> {
        let bytes = self.0.lock().expect("healthy").clone();
        let text = String::from_utf8(bytes).expect("text");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

#[tokio::test]
async fn a_fault_is_logged_by_default_with_the_id_that_was_answered_and_a_refusal_is_not() {
    let lines = Lines::default();
    let _guard = lines.gather("info,ledger::request=warn");
    assert_eq!(problem("/nowhere").await.0, StatusCode::NOT_FOUND);
    assert_eq!(lines.read(), Vec::<Value>::new());
    problem("/panics").await;
    let lines = lines.read();
    let [error, line] = lines.as_slice() else { panic!("{lines:#?}") };
    assert_eq!(
        (&error["message"], &error["level"]),
        (&"A request panicked.".into(), &"ERROR".into())
    );
    assert_eq!(error["span"]["id"], "mine-1", "the span is there, however quiet the lines are");
    assert_eq!((&line["message"], &line["level"]), (&"A request failed.".into(), &"WARN".into()));
    assert_eq!((&line["request"], &line["status"]), (&"mine-1".into(), &500.into()));
    assert_eq!(line["target"], "ledger::request");
}

#[tokio::test]
async fn a_request_that_nobody_waits_for_any_more_is_logged_as_such() {
    let lines = Lines::default();
    let _guard = lines.gather("info");
    let hanging = router().oneshot(request("GET", "/hangs", ""));
    assert!(hanging.now_or_never().is_none());
    let lines = lines.read();
    let [line] = lines.as_slice() else { panic!("{lines:#?}") };
    assert_eq!(line["message"], "Nobody waits for an answer any more.");
    assert_eq!((&line["request"], &line["status"]), (&"mine-1".into(), &Value::Null));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_takes_too_long_is_answered_with_the_id() {
    let begun = tokio::time::Instant::now();
    let (status, body) = problem("/hangs").await;
    assert!(begun.elapsed() >= limits::REQUEST_TIMEOUT);
    assert_eq!((status.as_u16(), &body["code"]), (408, &Value::from("timeout")));
    assert_eq!(body["instance"], "urn:ledger:request:mine-1");
}
