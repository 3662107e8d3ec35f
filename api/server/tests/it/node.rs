//! A server in a folder of its own, and a bare HTTP client for it.

use api_server::{Config, Running, Tls, start};
use data_encoding::BASE64URL_NOPAD;
use ledger_core::names::ProgramVersion;
use ledger_core::rights::TokenKind;
use ledger_core::{DeploymentId, Event, Position, Record, RequestId, Timestamp};
use ledger_store::{Clock, Log, SystemClock};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longer than any machine needs; only a defect waits so long.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
pub(crate) const PATH: &str = "/nix/store/0c5b8vw40dy178xlpddw65q9gf1h2186-web";

pub(crate) struct Node {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) running: Running,
    pub(crate) log: Log,
    pub(crate) admin: String,
}

/// A data folder, as `serve` makes it: closed to others.
pub(crate) fn data_folder() -> tempfile::TempDir {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    builder.tempdir().expect("a folder")
}

pub(crate) fn config(folder: &Path, ping_interval: Duration) -> Config {
    Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        metrics_listen: None,
        data: folder.to_owned(),
        tls: None,
        ping_interval,
        version: ProgramVersion::new("0.1.0").expect("valid"),
        confirm_clock: false,
        node_timeout: Duration::from_secs(15),
        origin: None,
        new_signing_key: false,
        accept_fork: false,
    }
}

pub(crate) fn request_id() -> RequestId {
    RequestId::new(uuid::Uuid::now_v7())
}

impl Node {
    pub(crate) async fn new() -> Self {
        Self::pinging(Duration::from_secs(20)).await
    }

    pub(crate) async fn pinging(ping_interval: Duration) -> Self {
        let folder = data_folder();
        let config = config(folder.path(), ping_interval);
        Self::on(folder, config).await
    }

    pub(crate) async fn with_tls(tls: Tls) -> Self {
        let folder = data_folder();
        let mut config = config(folder.path(), Duration::from_secs(20));
        config.tls = Some(tls);
        Self::on(folder, config).await
    }

    pub(crate) async fn on(folder: tempfile::TempDir, config: Config) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Self::with_clocks(folder, config, clock.clone(), clock).await
    }

    /// A node whose log and whose sessions read time from different clocks.
    pub(crate) async fn with_clocks(
        folder: tempfile::TempDir,
        config: Config,
        of_log: Arc<dyn Clock>,
        of_server: Arc<dyn Clock>,
    ) -> Self {
        let log = Log::open_sqlite(folder.path(), of_log).await.expect("a log");
        let running = start(config, log.clone(), of_server).await.expect("started");
        let admin = std::fs::read_to_string(folder.path().join("admin-token")).expect("a token");
        Self { folder, running, log, admin: admin.trim().to_owned() }
    }

    /// Ends as a killed process does: nothing more is recorded.
    pub(crate) async fn kill(self) -> tempfile::TempDir {
        self.log.close().await;
        self.folder
    }

    /// Stops in good order.
    pub(crate) async fn stop(self) -> tempfile::TempDir {
        self.running.stop().await;
        self.folder
    }

    pub(crate) async fn http(
        &self,
        method: &str,
        path: &str,
        token: &str,
        body: &Value,
    ) -> (u16, Value) {
        let body = if method == "GET" { String::new() } else { body.to_string() };
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\
             connection: close\r\n\r\n{body}"
        );
        let answer = exchange(self.running.address(), &request).await;
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.expect("a status"), serde_json::from_str(body).expect("JSON"))
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.http("POST", path, &self.admin, &body).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.http("GET", path, &self.admin, &Value::Null).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// Issues a token of the workspace `default`. Returns its secret and id.
    pub(crate) async fn token(&self, kind: TokenKind, agents: &[&str]) -> (String, String) {
        let mut random = [0; 32];
        getrandom::fill(&mut random).expect("random");
        let secret = format!("{}{}", kind.prefix(), BASE64URL_NOPAD.encode(&random));
        let body = json!({
            "request_id": request_id(), "secret": secret, "kind": kind, "reach": "workspace",
            "agents": agents,
        });
        let issued = self.post("/v1/tokens", body).await;
        (secret, issued["id"].as_str().expect("an id").to_owned())
    }

    /// Asks the agent to deploy, and returns the deployment.
    pub(crate) async fn activate(&self, agent: &str) -> DeploymentId {
        let spec = json!({ "agents": { agent: PATH } }).to_string();
        let answer =
            self.post("/v1/activations", json!({ "id": request_id(), "spec": spec })).await;
        answer["deployments"][0]["id"].as_str().expect("an id").parse().expect("a uuid")
    }

    /// Waits for an event, from the first on.
    pub(crate) async fn event(&self, is: impl Fn(&Event) -> bool) -> Record {
        wait_for(&self.log, is).await
    }

    pub(crate) async fn events(&self) -> Vec<Event> {
        events(&self.log).await
    }
}

/// Sends a request as it stands, and reads the answer to the end of the connection.
pub(crate) async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut socket = TcpStream::connect(address).await.expect("connected");
    socket.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("answered");
    answer
}

pub(crate) async fn events(log: &Log) -> Vec<Event> {
    let records = log.read(Position(1), 5_000).await.expect("read");
    records.iter().map(|record| record.event().expect("known")).collect()
}

pub(crate) async fn wait_for(log: &Log, is: impl Fn(&Event) -> bool) -> Record {
    let mut head = log.head();
    let mut next = Position(1);
    let found = async {
        loop {
            for record in log.read(next, 5_000).await.expect("read") {
                next = record.position.next();
                if is(&record.event().expect("known")) {
                    return record;
                }
            }
            head.wait_for(|head| *head >= next).await.expect("an open log");
        }
    };
    tokio::time::timeout(DEADLINE, found).await.expect("the event in time")
}

pub(crate) fn now() -> Timestamp {
    SystemClock.now()
}
