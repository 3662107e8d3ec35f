//! What a server logs of its requests, and what it never does.

use crate::support::{Agent, DEADLINE, ledger, run};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use tempfile::TempDir;

/// A server whose log is read.
struct Logged {
    child: Child,
    folder: TempDir,
    address: String,
    lines: Receiver<String>,
    read: Vec<String>,
}

impl Logged {
    fn start(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = ledger(&["serve", "--listen", "127.0.0.1:0", "--config", "/dev/null"]);
        command.arg("--data").arg(folder.path().join("data")).args(flags);
        let mut child = command.stderr(Stdio::piped()).spawn().expect("starts");
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut logged = Self { child, folder, address: String::new(), lines, read: Vec::new() };
        let line = logged.until(&["listening on http://"]);
        let (_, address) = line.split_once("listening on http://").expect("it is there");
        let is_address = |c: char| c.is_ascii_digit() || ".:".contains(c);
        logged.address = address.chars().take_while(|c| is_address(*c)).collect();
        logged
    }

    fn admin_token(&self) -> PathBuf {
        self.folder.path().join("data/admin-token")
    }

    fn admin(&self) -> String {
        std::fs::read_to_string(self.admin_token()).expect("a token").trim().to_owned()
    }

    /// Makes a token of an agent, and returns its file.
    fn agent_token(&self) -> PathBuf {
        let mut command = ledger(&["token", "create", "--kind", "agent", "--token-file"]);
        let url = format!("http://{}", self.address);
        let made = run(command.arg(self.admin_token()).args(["--url", &url]));
        assert_eq!(made.code, 0, "{made:?}");
        let file = self.folder.path().join("agent-token");
        std::fs::write(&file, made.stdout).expect("written");
        file
    }

    /// Waits for a line with all of the words.
    fn until(&mut self, words: &[&str]) -> String {
        loop {
            let line = self.lines.recv_timeout(DEADLINE);
            let line = line.unwrap_or_else(|_| panic!("no {words:?} in {:#?}", self.read));
            self.read.push(line.clone());
            if words.iter().all(|word| line.contains(word)) {
                return line;
            }
        }
    }

    /// Sends a request, and returns the head of the answer.
    fn ask(&self, request: &str, token: &str, more: &str) -> String {
        let mut socket = TcpStream::connect(&self.address).expect("connected");
        let head = format!(
            "{request} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n{more}\r\n"
        );
        socket.write_all(head.as_bytes()).expect("sent");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("answered");
        answer.split("\r\n\r\n").next().unwrap_or_default().to_owned()
    }

    /// Stops the server in good order, and returns all that it said.
    fn stop(mut self) -> Vec<String> {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().expect("runs").success());
        assert!(self.child.wait().expect("ends").success());
        self.read.extend(self.lines.iter());
        std::mem::take(&mut self.read)
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        // Ended already, or ended now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the id that an answer carries.
fn id_of(answer: &str) -> &str {
    let line = answer.lines().find_map(|line| line.strip_prefix("x-request-id: "));
    line.unwrap_or_else(|| panic!("no id in {answer}"))
}

#[test]
fn requests_that_did_no_harm_are_quiet_unless_asked_for() {
    let server = Logged::start(&[]);
    let admin = server.admin();
    for (path, token, status) in [
        ("/v1/agents", &*admin, "200 OK"),
        ("/v1/agents", "bad", "401 Unauthorized"),
        ("/nowhere", &*admin, "404 Not Found"),
    ] {
        let answer = server.ask(&format!("GET {path}"), token, "");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
    let said = server.stop().join("\n");
    assert!(said.contains("The server listens.") && said.ends_with("stopped"), "{said}");
    assert!(!said.contains("A request"), "{said}");
}

#[test]
fn a_line_of_text_names_the_request_its_route_and_its_token() {
    let mut server = Logged::start(&["--log", "info"]);
    let admin = server.admin();
    let answer = server.ask("GET /v1/deployments/web-7%231", &admin, "X-Request-Id: mine-1\r\n");
    assert_eq!(id_of(&answer), "mine-1");
    let line = server.until(&["request=mine-1 "]);
    for words in ["method=GET ", "route=/v1/deployments/{which} ", "status=404", "token=0"] {
        assert!(line.contains(words), "{words} is not in {line}");
    }
    assert!(line.contains("INFO") && line.contains("A request was answered."), "{line}");
    assert!(!line.contains("web-7") && !line.contains("127.0.0.1"), "{line}");
    server.stop();
}

/// Returns the object of a line; every line must be one.
fn json(line: &str) -> Value {
    let value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    for key in ["timestamp", "level", "target", "message"] {
        assert!(value[key].is_string(), "{key} is not in {line}");
    }
    value
}

#[test]
fn lines_of_json_are_all_objects_and_their_ids_are_those_of_the_answers() {
    let mut server = Logged::start(&["--log-format", "json", "--log", "info"]);
    let admin = server.admin();
    let answer = server.ask("GET /v1/agents", &admin, "");
    let id = id_of(&answer).to_owned();
    let line = json(&server.until(&["A request was answered.", &id]));
    let length = answer.lines().find_map(|line| line.strip_prefix("content-length: "));
    assert_eq!(line["target"], "ledger::request");
    assert_eq!((&line["request"], &line["level"]), (&Value::from(id), &Value::from("INFO")));
    assert_eq!(
        (&line["method"], &line["route"]),
        (&Value::from("GET"), &Value::from("/v1/agents"))
    );
    assert_eq!((line["status"].as_u64(), line["ms"].is_u64()), (Some(200), true), "{line}");
    assert_eq!(line["bytes"].as_u64(), length.and_then(|length| length.parse().ok()), "{line}");
    let tokens = server.ask("GET /v1/tokens", &admin, "X-Request-Id: 2\r\n");
    assert!(tokens.starts_with("HTTP/1.1 200"), "{tokens}");
    let again = json(&server.until(&["\"request\":\"2\""]));
    assert!(line["token"].is_string() && line["token"] == again["token"], "{line} and {again}");
    let anonymous = server.ask("GET /v1/agents", "bad", "X-Request-Id: 3\r\n");
    assert!(anonymous.starts_with("HTTP/1.1 401"), "{anonymous}");
    assert_eq!(json(&server.until(&["\"request\":\"3\""]))["token"], Value::Null);
    for line in server.stop() {
        json(&line);
    }
}

#[tokio::test]
async fn a_socket_is_logged_when_it_ends_and_what_it_does_carries_its_id() {
    let mut server = Logged::start(&["--log-format", "json", "--log", "info"]);
    let token = server.agent_token();
    let url = format!("http://{}", server.address);
    let agent = Agent::connect(&url, &token, "web-1").await;
    let connected = json(&server.until(&["An agent connected."]));
    let id = connected["span"]["id"].as_str().expect("an id").to_owned();
    let so_far = server.read.join("\n");
    assert!(!so_far.contains("\"status\":101"), "it has not ended: {so_far}");
    drop(agent);
    let ended = json(&server.until(&["\"status\":101"]));
    assert_eq!((&ended["request"], &ended["route"]), (&id.into(), &"/v1/agent/socket".into()));
    assert_eq!(ended["token"], connected["span"]["token"]);
    server.stop();
}

#[test]
fn an_address_is_logged_at_debug_only() {
    for (log, shown) in [("info,ledger::request=debug", true), ("info", false)] {
        let mut server = Logged::start(&["--log", log]);
        let answer = server.ask("GET /healthz", "", "X-Request-Id: here\r\n");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        server.until(&["A request was answered.", "request=here "]);
        let lines = server.stop();
        let peer = lines.iter().find(|line| line.contains("peer=127.0.0.1:"));
        assert_eq!(peer.is_some_and(|line| line.contains("request=here ")), shown, "{lines:#?}");
    }
}

#[tokio::test]
async fn no_form_and_no_level_of_the_log_shows_a_secret() {
    for form in ["text", "json"] {
        let mut server = Logged::start(&["--log", "trace", "--log-format", form]);
        let admin = server.admin();
        let token = server.agent_token();
        let agent = std::fs::read_to_string(&token).expect("a token").trim().to_owned();
        let unknown = "ldg_read_0123456789012345678901234567890123456789012";
        let socket = Agent::connect(&format!("http://{}", server.address), &token, "web-1").await;
        drop(socket);
        for secret in [&admin, &agent, unknown] {
            server.ask("GET /v1/agents", secret, "");
            server.ask(&format!("GET /v1/agents?token={secret}"), secret, "");
            server.ask(&format!("GET /v1/agents/{secret}"), secret, "");
            server.ask(&format!("{secret} /v1/agents"), secret, "");
            let answer = server.ask("GET /healthz", "", &format!("X-Request-Id: {secret}\r\n"));
            assert_ne!(id_of(&answer), secret);
        }
        let answer = server.ask("GET /healthz", "", "X-Request-Id: the-last\r\n");
        assert_eq!(id_of(&answer), "the-last");
        server.until(&["A request was answered.", "the-last"]);
        let lines = server.stop();
        assert!(lines.iter().any(|line| line.contains("DEBUG")), "{form}: it says a lot");
        for line in lines {
            for secret in [&admin, &agent, unknown] {
                let part = &secret[secret.len() - 40..];
                assert!(!line.contains(part), "{form}: a token is in {line}");
            }
        }
    }
}

#[test]
fn a_failed_start_is_told_in_both_forms() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("written");
    for form in ["text", "json"] {
        let mut command =
            ledger(&["serve", "--config", "/dev/null", "--log-format", form, "--data"]);
        let failed = run(command.arg(&file));
        assert_eq!(failed.code, 1, "{failed:?}");
        assert!(failed.stderr.contains("Error: the data folder"), "{failed:?}");
    }
}
