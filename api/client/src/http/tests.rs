//! The client against a server of a few scripted answers.

use super::*;
use api_wire::http::{
    CreateWorkspaceRequest, EventsQuery, LogQuery, Recorded, RetireRequest, StreamProblem,
};
use api_wire::problem::Code;
use api_wire::token::Secret;
use ledger_core::rights::TokenKind;
use std::collections::VecDeque;
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the server does with one request.
enum Play {
    Answer(&'static str, String),
    /// Says this much of a longer answer, and closes the connection.
    BreakOff(String),
    /// Closes the connection without a word.
    HangUp,
}

struct Server {
    address: String,
    heard: Arc<Mutex<Vec<String>>>,
}

async fn server(plays: Vec<Play>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = format!("http://{}", listener.local_addr().expect("bound"));
    let heard = Arc::new(Mutex::new(Vec::new()));
    let requests = heard.clone();
    tokio::spawn(async move {
        let mut plays = VecDeque::from(plays);
        while let Some(play) = plays.pop_front() {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let request = hear(&mut stream).await;
            requests.lock().expect("not poisoned").push(request);
            let (head, body, length) = match play {
                Play::Answer(head, body) => (head, body.clone(), body.len()),
                Play::BreakOff(body) => ("200 OK", body.clone(), body.len() + 1000),
                Play::HangUp => continue,
            };
            let answer = format!(
                "HTTP/1.1 {head}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
            );
            stream.write_all(answer.as_bytes()).await.expect("written");
        }
    });
    Server { address, heard }
}

/// Reads one request: its head, and as much body as that promises.
async fn hear(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let read = stream.read_buf(&mut bytes).await.expect("readable");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let complete = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
            let length = head.lines().find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok()
            });
            body.len() >= length.unwrap_or(0)
        });
        if complete || read == 0 {
            return text;
        }
    }
}

fn client(server: &Server) -> Client {
    let secret = Secret::new(TokenKind::Admin, &"s".repeat(43));
    let endpoint = Endpoint::new(&server.address, secret).expect("loopback");
    Client::new(endpoint, "ledger/test").expect("a client")
}

fn recorded() -> String {
    r#"{"position":7}"#.to_owned()
}

fn retire() -> RetireRequest {
    RetireRequest { request_id: new_request_id(), reason: None }
}

#[tokio::test]
async fn a_write_is_sent_again_with_the_same_id_until_it_is_answered() {
    let server = server(vec![
        Play::HangUp,
        Play::Answer("503 Service Unavailable", String::new()),
        Play::Answer("429 Too Many Requests\r\nRetry-After: 0", "<html>busy</html>".to_owned()),
        Play::Answer("200 OK", recorded()),
    ])
    .await;
    let retries = Arc::new(Mutex::new(0));
    let counted = retries.clone();
    let on_retry: OnRetry = Arc::new(move |_, _| *counted.lock().expect("not poisoned") += 1);
    let request = retire();
    let agent = "web-1".parse().expect("valid");
    let answer = client(&server).on_retry(on_retry).retire_agent(&agent, &request).await;
    assert_eq!(answer.expect("answered"), Recorded { position: Some(ledger_core::Position(7)) });
    assert_eq!(*retries.lock().expect("not poisoned"), 3);
    let heard = server.heard.lock().expect("not poisoned");
    assert_eq!(heard.len(), 4);
    for request_text in heard.iter() {
        assert!(
            request_text.starts_with("POST /v1/agents/web-1/retire HTTP/1.1"),
            "{request_text}"
        );
        assert!(request_text.contains(&request.request_id.to_string()), "{request_text}");
        assert!(request_text.contains("user-agent: ledger/test"), "{request_text}");
        assert!(request_text.contains("authorization: Bearer ldg_admin_sss"), "{request_text}");
    }
}

#[tokio::test]
async fn a_refusal_is_returned_at_once_in_the_words_of_the_server() {
    let problem = Problem::new(Code::AgentNotFound, "unknown agent: web-9");
    let body = serde_json::to_string(&problem).expect("encodes");
    let server = server(vec![Play::Answer("404 Not Found", body)]).await;
    let agent = "web-9".parse().expect("valid");
    let error = client(&server).retire_agent(&agent, &retire()).await.expect_err("refused");
    assert_eq!(error.to_string(), "unknown agent: web-9");
    assert_eq!(error.code(), Some(Code::AgentNotFound));
    assert!(error.is_refusal() && !error.is_transient());
    let late = RequestError::Refused { code: Code::Timeout, detail: String::new(), request: None };
    assert!(late.is_transient() && !late.is_refusal(), "the server asks for it again");
}

#[tokio::test]
async fn a_fault_of_the_server_is_shown_with_the_request_that_its_operator_can_look_up() {
    let answer = |problem: Problem| {
        let body = serde_json::to_string(&problem).expect("encodes");
        let head = match problem.status {
            500 => "500 Internal Server Error",
            _ => "404 Not Found",
        };
        Play::Answer(head, body)
    };
    let broken = || Problem::new(Code::Internal, "it broke");
    let mut forged = broken();
    forged.instance = Some("urn:ledger:request:\u{1b}[31m".to_owned());
    let server = server(vec![
        answer(broken().about("0190-7")),
        answer(broken()),
        answer(forged),
        answer(Problem::new(Code::NotFound, "nowhere").about("0190-8")),
    ])
    .await;
    let client = client(&server);
    for expected in ["it broke (request 0190-7)", "it broke", "it broke", "nowhere"] {
        let error = client.agents().await.expect_err("refused");
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test]
async fn what_is_no_answer_of_ledger_is_shown_as_what_it_is() {
    let server = server(vec![
        Play::Answer("404 Not Found", "<h1>nginx</h1>\n".to_owned()),
        Play::Answer("302 Found\r\nLocation: http://127.0.0.1:1/", String::new()),
        Play::Answer("200 OK", "hello".to_owned()),
        Play::Answer("200 OK", r#"{"machines":[]}"#.to_owned()),
    ])
    .await;
    let client = client(&server);
    let error = client.agents().await.expect_err("no answer").to_string();
    assert!(error.contains("404") && error.contains("<h1>nginx</h1>"), "{error}");
    let error = client.agents().await.expect_err("not followed").to_string();
    assert!(error.contains("302"), "{error}");
    let error = client.agents().await.expect_err("not JSON").to_string();
    assert!(error.contains("200") && error.contains("hello"), "{error}");
    let error = client.agents().await.expect_err("of another version");
    assert!(matches!(error, RequestError::Unreadable { .. }), "{error:?}");
}

#[tokio::test]
async fn without_patience_the_first_error_is_the_last() {
    let server = server(vec![Play::HangUp]).await;
    let client = client(&server).with_patience(Duration::ZERO);
    let error = client.agents().await.expect_err("hung up");
    assert!(matches!(error, RequestError::Unreachable { .. }) && error.is_transient(), "{error:?}");
}

#[tokio::test]
async fn queries_carry_the_workspace_and_only_what_is_asked() {
    let page = r#"{"events":[],"next":5,"head":4}"#.to_owned();
    let server =
        server(vec![Play::Answer("200 OK", page), Play::Answer("200 OK", recorded())]).await;
    let client = client(&server).in_workspace(Some("team-1".parse().expect("valid")));
    let stream = "agent/team-1/web@a+b".parse().expect("valid");
    let query = LogQuery {
        stream: Some(stream),
        wait: Some(20),
        from: Some(ledger_core::Position(5)),
        ..LogQuery::default()
    };
    client.log(&query).await.expect("answered");
    let body = CreateWorkspaceRequest {
        request_id: new_request_id(),
        name: "team-2".parse().expect("valid"),
    };
    client.create_workspace(&body).await.expect("answered");
    let heard = server.heard.lock().expect("not poisoned");
    let line = |n: usize| heard[n].lines().next().unwrap_or_default().to_owned();
    assert_eq!(
        line(0),
        "GET /v1/log?workspace=team-1&from=5&stream=agent%2Fteam-1%2Fweb%40a%2Bb&wait=20 HTTP/1.1"
    );
    assert_eq!(line(1), "POST /v1/workspaces HTTP/1.1");
}

fn event(position: u64) -> String {
    let id = "0190b1f2-7c1e-7d3a-9f00-5c2d6e1a4b90";
    format!(
        r#"{{"position":{position},"stream":"node/{id}","version":1,"event_id":"{id}","type":"NodeStopped","occurred_at":"2026-03-01T12:00:00Z","recorded_at":"2026-03-01T12:00:00Z","actor":{{"kind":"node","id":"{id}"}},"correlation_id":null,"causation_id":null,"payload":{{}}}}"#
    )
}

async fn heard_of(events: &mut Events) -> Vec<String> {
    let mut heard = Vec::new();
    loop {
        heard.push(match events.next().await.expect("goes on") {
            Streamed::Event(event) => format!("event {}", event.position),
            Streamed::Cursor(cursor) => format!("cursor {cursor}"),
            Streamed::End => return heard,
        });
    }
}

#[tokio::test]
async fn a_stream_that_breaks_is_taken_up_where_it_was_read_whole() {
    let half = &event(6)[..40];
    let server = server(vec![
        Play::BreakOff(format!("{}\n{{\"cursor\":5}}\n{half}", event(1))),
        Play::HangUp,
        Play::Answer("503 Service Unavailable", String::new()),
        Play::BreakOff(format!("{}\n", event(6))),
        Play::Answer("200 OK", format!("{}\n{{\"cursor\":9}}\n", event(7))),
    ])
    .await;
    let query = EventsQuery { follow: Some(false), ..EventsQuery::default() };
    let mut events = client(&server).events(query);
    let heard = heard_of(&mut events).await;
    assert_eq!(heard, ["event 1", "cursor 5", "event 6", "event 7", "cursor 9"]);
    let asked = server.heard.lock().expect("not poisoned");
    let lines: Vec<&str> = asked.iter().filter_map(|text| text.lines().next()).collect();
    let from = |from: &str| format!("GET /v1/events?{from}follow=false&format=jsonl HTTP/1.1");
    assert_eq!(
        lines,
        [from(""), from("from=6&"), from("from=6&"), from("from=6&"), from("from=7&")]
    );
}

#[tokio::test]
async fn a_stream_that_is_refused_or_cannot_be_read_is_not_opened_again() {
    let problem = Problem::new(Code::Unauthorized, "revoked");
    let line = serde_json::to_string(&StreamProblem { problem }).expect("encodes");
    let server = server(vec![
        Play::Answer("200 OK", format!("{{\"cursor\":5}}\n{line}\n")),
        Play::Answer("200 OK", "hello\n".to_owned()),
        Play::Answer("200 OK", "{}\n".to_owned()),
    ])
    .await;
    let mut events = client(&server).events(EventsQuery::default());
    assert_eq!(events.next().await.expect("told"), Streamed::Cursor(ledger_core::Position(5)));
    let error = events.next().await.expect_err("refused");
    assert_eq!(error.code(), Some(Code::Unauthorized));
    for _ in 0..2 {
        let mut events = client(&server).events(EventsQuery::default());
        let error = events.next().await.expect_err("no event");
        assert!(matches!(error, RequestError::Unreadable { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn who_follows_is_told_that_the_stream_ended_when_patience_is_over() {
    let server = server(vec![Play::Answer("200 OK", "{\"cursor\":5}\n".to_owned())]).await;
    let client = client(&server).with_patience(Duration::ZERO);
    let mut events = client.events(EventsQuery::default());
    events.next().await.expect("the cursor");
    let error = events.next().await.expect_err("it ended");
    assert!(matches!(error, RequestError::StreamEnded { .. }), "{error:?}");
}

#[tokio::test]
async fn lists_are_asked_for_until_the_last_page() {
    let page = |next: &str| {
        format!(r#"{{"workspaces":[{{"name":"w","agents":0,"connected":0}}],"next":{next}}}"#)
    };
    let server = server(vec![
        Play::Answer("200 OK", page(r#""team-1""#)),
        Play::Answer("200 OK", page("null")),
        Play::Answer("200 OK", r#"{"position":4,"agents":[],"next":"web-1"}"#.to_owned()),
        Play::Answer("200 OK", r#"{"position":5,"agents":[],"next":null}"#.to_owned()),
        Play::Answer("200 OK", r#"{"tokens":[],"next":7}"#.to_owned()),
        Play::Answer("200 OK", r#"{"tokens":[],"next":null}"#.to_owned()),
    ])
    .await;
    let client = client(&server).in_workspace(Some("team-1".parse().expect("valid")));
    let list = client.workspaces().await.expect("answered");
    assert_eq!((list.workspaces.len(), list.next), (2, None));
    let list = client.agents().await.expect("answered");
    assert_eq!((list.position, list.next), (ledger_core::Position(4), None));
    client.tokens().await.expect("answered");
    let heard = server.heard.lock().expect("not poisoned");
    let lines: Vec<&str> = heard.iter().filter_map(|request| request.lines().next()).collect();
    assert_eq!(
        lines,
        [
            "GET /v1/workspaces HTTP/1.1",
            "GET /v1/workspaces?after=team-1 HTTP/1.1",
            "GET /v1/agents?workspace=team-1 HTTP/1.1",
            "GET /v1/agents?workspace=team-1&after=web-1 HTTP/1.1",
            "GET /v1/tokens?workspace=team-1 HTTP/1.1",
            "GET /v1/tokens?workspace=team-1&after=7 HTTP/1.1",
        ]
    );
}

#[tokio::test]
async fn a_look_at_a_server_tells_whether_it_is_ready_and_sends_no_token() {
    let look = async |status: &'static str, body: &str| {
        let server = server(vec![Play::Answer(status, body.to_owned())]).await;
        let found = probe(&server.address, "test/1", Duration::from_secs(20)).await;
        let heard = server.heard.lock().expect("not poisoned").concat();
        assert!(heard.starts_with("GET /readyz") && !heard.contains("uthorization"), "{heard}");
        found
    };
    let ready = look("200 OK", r#"{"status":"ok"}"#).await.expect("found");
    assert_eq!(ready, Probe { not_ready: None, certificate_ends: None });
    let stopping = look("503 Service Unavailable", r#"{"status":"stopping"}"#).await;
    assert_eq!(stopping.expect("found").not_ready.as_deref(), Some("stopping"));
    for foreign in [look("503 Nobody", "<html>").await, look("404 Not Found", "{}").await] {
        let foreign = matches!(foreign, Err(ProbeError::Request(RequestError::Foreign { .. })));
        assert!(foreign, "taken for a server of Ledger");
    }
}
