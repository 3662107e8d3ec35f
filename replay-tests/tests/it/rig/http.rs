//! One request and its answer, to the letter.

use super::DEADLINE;
use api_client::http::new_activation_id;
use api_wire::http::ActivateRequest;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The lines before the body.
    pub(crate) head: String,
    pub(crate) body: Value,
}

/// Asks on a connection of its own: `POST` with a body, `GET` without.
pub(crate) fn ask(url: &str, token: &str, path: &str, body: Option<&Value>) -> Answer {
    let host = url.strip_prefix("http://").expect("it is in the clear");
    let mut socket = TcpStream::connect(host).expect("the server listens");
    socket.set_read_timeout(Some(DEADLINE)).expect("a time-out can be set");
    let (method, body) = match body {
        Some(body) => ("POST", body.to_string()),
        None => ("GET", String::new()),
    };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\
         authorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).expect("the request is sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("the server answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("it has a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Answer {
        status: status.expect("it has a status"),
        head: head.to_ascii_lowercase(),
        body: serde_json::from_str(body).unwrap_or_else(|e| panic!("{e} in {answer}")),
    }
}

/// Asks agents to deploy what is nowhere.
pub(crate) fn activation<'a>(agents: impl IntoIterator<Item = &'a str>) -> ActivateRequest {
    let path = format!("/nix/store/{}-never-fetched", "0".repeat(32));
    let agents = agents.into_iter().map(|agent| (agent.to_owned(), path.clone().into()));
    let agents: serde_json::Map<_, _> = agents.collect();
    ActivateRequest {
        id: new_activation_id(),
        spec: serde_json::json!({ "agents": agents }).to_string(),
        agents: Vec::new(),
        dry_run: false,
        ci: None,
        description: None,
    }
}
