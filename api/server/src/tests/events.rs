//! The log as a stream: both forms, from any place, to any end.

use super::harness::{Harness, config, data_folder, request_id};
use crate::running::Config;
use axum::body::{Body, BodyDataStream};
use axum::http::{Request, StatusCode, header};
use futures_util::StreamExt;
use ledger_core::rights::TokenKind;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(20);

/// A stream under way, read piece by piece.
struct Reader {
    body: BodyDataStream,
    text: String,
    /// What stands between two pieces.
    between: &'static str,
}

impl Reader {
    async fn open(harness: &Harness, path: &str, token: &str, more: &[(&str, &str)]) -> Self {
        let mut request =
            Request::get(path).header(header::AUTHORIZATION, format!("Bearer {token}"));
        for (name, value) in more {
            request = request.header(*name, *value);
        }
        let response = harness.open(request.body(Body::empty()).expect("a request")).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let media = response.headers()[header::CONTENT_TYPE].to_str().expect("text").to_owned();
        let between = match media.as_str() {
            "text/event-stream" => "\n\n",
            "application/jsonl" => "\n",
            other => panic!("{other}"),
        };
        Self { body: response.into_body().into_data_stream(), text: String::new(), between }
    }

    /// Returns the next piece, or nothing at the end.
    async fn next(&mut self) -> Option<String> {
        let read = async {
            loop {
                if let Some((piece, rest)) = self.text.split_once(self.between) {
                    let (piece, rest) = (piece.to_owned(), rest.to_owned());
                    self.text = rest;
                    return Some(piece);
                }
                let bytes = self.body.next().await?.expect("infallible");
                self.text.push_str(std::str::from_utf8(&bytes).expect("UTF-8"));
            }
        };
        timeout(DEADLINE, read).await.expect("in time")
    }

    async fn next_json(&mut self) -> Value {
        let line = self.next().await.expect("one more line");
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"))
    }

    /// Returns the positions up to the first line that says how far the stream came.
    async fn catch_up(&mut self) -> (Vec<u64>, u64) {
        let mut positions = Vec::new();
        loop {
            let line = self.next_json().await;
            if let Some(cursor) = line["cursor"].as_u64() {
                return (positions, cursor);
            }
            positions.push(line["position"].as_u64().expect("a position"));
        }
    }
}

fn head(harness: &Harness) -> u64 {
    harness.server.log.head().borrow().0
}

#[tokio::test]
async fn as_server_sent_events_each_id_is_a_position_and_an_id_alone_moves_on() {
    let harness = Harness::new().await;
    harness.connect("default", "web").await;
    let path = "/v1/events?type=AgentConnected";
    let mut reader = Reader::open(&harness, path, &harness.admin, &[]).await;
    assert_eq!(reader.next().await.as_deref(), Some("retry: 2000"));
    let event = reader.next().await.expect("the event");
    let (id, data) = event.split_once("\ndata: ").expect("two fields");
    let data: Value = serde_json::from_str(data).expect("JSON on one line");
    assert_eq!(data["type"], "AgentConnected");
    assert_eq!(id, format!("id: {}", data["position"]));
    // Whatever stands behind it, and the end of the log, has passed when an id comes alone.
    let mut seen = head(&harness);
    if data["position"] != seen {
        assert_eq!(reader.next().await, Some(format!("id: {seen}")));
    }
    // Live, past what the filter leaves out.
    harness.create_workspace("fresh").await;
    harness.connect("fresh", "db").await;
    let event = reader.next().await.expect("the event");
    seen = head(&harness);
    assert!(event.contains("\"db\"") && event.starts_with("id: "), "{event}");
    // Whoever comes back says what it saw last, and gets only what is newer.
    harness.connect("fresh", "db-2").await;
    let last = [("Last-Event-ID", &*seen.to_string())];
    let mut again = Reader::open(&harness, &format!("{path}&from=1"), &harness.admin, &last).await;
    assert_eq!(again.next().await.as_deref(), Some("retry: 2000"));
    let event = again.next().await.expect("the event");
    assert!(event.contains("\"db-2\""), "{event}");
}

#[tokio::test]
async fn as_json_lines_it_says_the_same_as_the_log_page_by_page() {
    let harness = Harness::new().await;
    let session = harness.connect("default", "web").await;
    let answer = harness.activate("default", &harness.admin, &["web"]).await;
    harness.disconnect("default", "web", session).await;
    let id = answer["id"].as_str().expect("an id").to_owned();
    for filter in [
        String::new(),
        "workspace=default".to_owned(),
        "agent=web".to_owned(),
        "stream=agent/default/web".to_owned(),
        format!("activation={id}"),
        "type=AgentConnected&agent=web".to_owned(),
        "from=3".to_owned(),
        "type=NoSuchType".to_owned(),
    ] {
        let page = harness.get(&format!("/v1/log?{filter}"), &harness.admin).await.ok();
        let path = format!("/v1/events?follow=false&{filter}");
        for (path, accept) in
            [(path.clone(), "application/x-ndjson"), (format!("{path}&format=jsonl"), "*/*")]
        {
            let accept = [("Accept", accept)];
            let mut reader = Reader::open(&harness, &path, &harness.admin, &accept).await;
            let (mut events, mut cursor) = (Vec::new(), 0);
            while let Some(line) = reader.next().await {
                let line: Value = serde_json::from_str(&line).expect("JSON");
                match line.get("cursor") {
                    Some(position) => cursor = position.as_u64().expect("a position"),
                    None => {
                        cursor = line["position"].as_u64().expect("a position");
                        events.push(line);
                    }
                }
            }
            assert_eq!(Value::from(events), page["events"], "{filter}");
            assert_eq!(json!(cursor + 1), page["next"], "{filter}");
        }
    }
}

#[tokio::test]
async fn a_long_history_comes_in_pages_without_gap_and_then_goes_on_live() {
    let harness = Harness::new().await;
    for n in 0..(crate::limits::STREAM_EVENTS + 10) {
        harness.create_workspace(&format!("team-{n}")).await;
    }
    let path = "/v1/events?format=jsonl";
    let mut reader = Reader::open(&harness, path, &harness.admin, &[]).await;
    let mut expected = 1;
    while expected <= head(&harness) {
        let line = reader.next_json().await;
        if line.get("cursor").is_none() {
            assert_eq!(line["position"], expected);
            expected += 1;
        }
    }
    harness.create_workspace("late").await;
    let line = reader.next_json().await;
    assert_eq!((&line["position"], &line["type"]), (&json!(expected), &json!("WorkspaceCreated")));
}

#[tokio::test]
async fn a_stream_ends_with_its_token_and_with_the_server() {
    let harness = Harness::new().await;
    let path = "/v1/events?format=jsonl&type=NodeStopped";
    let open = async |token: &str| {
        let mut reader = Reader::open(&harness, path, token, &[]).await;
        assert_eq!(reader.catch_up().await.0, Vec::<u64>::new());
        reader
    };
    let reader_token = harness.token(TokenKind::Read, "default", &[]).await;
    let mut revoked = open(&reader_token).await;
    let mut stopped = open(&harness.admin).await;
    let list = harness.get("/v1/tokens", &harness.admin).await.ok();
    let tokens = list["tokens"].as_array().expect("a list");
    let token = tokens.iter().find(|token| token["kind"] == "read").expect("listed");
    let id = token["id"].as_str().expect("an id");
    let body = json!({ "request_id": request_id() });
    harness.post(&format!("/v1/tokens/{id}/revoke"), &harness.admin, body).await.ok();
    let last = revoked.next_json().await;
    assert_eq!(last["problem"]["code"], "unauthorized", "{last}");
    assert_eq!(revoked.next().await, None);
    harness.server.stopping.cancel();
    assert_eq!(stopped.next().await, None);
}

#[tokio::test]
async fn a_quiet_stream_says_again_and_again_how_far_it_is() {
    let folder = data_folder();
    let heartbeat = Duration::from_millis(20);
    let config = Config { ping_interval: heartbeat, ..config(folder.path()) };
    let harness = Harness::with(folder, Arc::default(), config).await;
    let path = "/v1/events?format=jsonl&type=NodeStopped";
    let mut reader = Reader::open(&harness, path, &harness.admin, &[]).await;
    let (_, cursor) = reader.catch_up().await;
    assert_eq!(cursor, head(&harness));
    for _ in 0..3 {
        let begun = std::time::Instant::now();
        assert_eq!(reader.next_json().await, json!({ "cursor": cursor }));
        assert!(begun.elapsed() >= heartbeat / 2, "no heartbeat, but a storm");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_before_the_stream_begins() {
    let harness = Harness::new().await;
    for last in ["x", "-1", "1.5", "99999999999999999999", "9007199254740992"] {
        let request = Request::get("/v1/events")
            .header(header::AUTHORIZATION, format!("Bearer {}", harness.admin))
            .header("Last-Event-ID", last);
        let answer = harness.send(request.body(Body::empty()).expect("a request")).await;
        assert_eq!(answer.code(), "bad_request", "{last}");
    }
    let refused = harness.get("/v1/events?wait=3", &harness.admin).await;
    assert_eq!(refused.code(), "bad_request");
    let activate = harness.token(TokenKind::Activate, "default", &[]).await;
    assert_eq!(harness.get("/v1/events", &activate).await.code(), "forbidden");
}

#[tokio::test]
async fn a_stream_holds_the_own_workspace_only() {
    let harness = Harness::new().await;
    harness.create_workspace("theirs").await;
    harness.connect("theirs", "their-agent").await;
    harness.connect("default", "own-agent").await;
    let token = harness.token(TokenKind::Read, "default", &[]).await;
    let path = "/v1/events?format=jsonl&follow=false";
    let mut reader = Reader::open(&harness, path, &token, &[]).await;
    let mut text = String::new();
    while let Some(line) = reader.next().await {
        text.push_str(&line);
    }
    assert!(text.contains("own-agent") && !text.contains("their-agent"), "{text}");
    assert!(!text.contains("NodeStarted"), "{text}");
}
