//! A server without a listener, and the means to ask it.

use crate::boot::{Booted, boot};
use crate::limits;
use crate::routes::{Route, TABLE, router};
use crate::running::Config;
use crate::server::Server;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::Response;
use data_encoding::BASE64URL_NOPAD;
use ledger_core::command::Connection;
use ledger_core::event::DisconnectReason;
use ledger_core::key::PublicKey;
use ledger_core::names::{ProgramVersion, System};
use ledger_core::rights::TokenKind;
use ledger_core::{
    AgentName, Command, DeploymentId, RequestId, SessionId, Timestamp, WorkspaceName,
};
use ledger_store::{Clock, Log};
use projections::Runner;
use projections::image::Image;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tower::ServiceExt;

pub(super) const PATH: &str = "/nix/store/0c5b8vw40dy178xlpddw65q9gf1h2186-web";

/// A clock that stands still until it is moved.
#[derive(Default)]
pub(super) struct TestClock {
    now: AtomicI64,
    uptime: AtomicI64,
}

impl TestClock {
    pub(super) fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_micros()).expect("small");
        self.now.fetch_add(by, Ordering::SeqCst);
        self.uptime.fetch_add(by, Ordering::SeqCst);
    }

    /// Sets the time of day back, as a wrong time server would.
    pub(super) fn jump_back(&self, by: Duration) {
        self.now.fetch_sub(i64::try_from(by.as_micros()).expect("small"), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_800_000_000_000_000 + self.now.load(Ordering::SeqCst))
    }
    fn uptime(&self) -> Duration {
        Duration::from_micros(self.uptime.load(Ordering::SeqCst).unsigned_abs())
    }
}

/// A running server but for its listener, in a folder of its own.
pub(super) struct Harness {
    pub(super) folder: tempfile::TempDir,
    pub(super) clock: Arc<TestClock>,
    pub(super) server: Server,
    pub(super) admin: String,
    router: Router,
    runner: Runner<Image>,
}

/// An answer, read whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) media_type: String,
    pub(super) retry_after: Option<String>,
    pub(super) etag: Option<String>,
    pub(super) headers: HeaderMap,
    pub(super) request_id: String,
    pub(super) body: Value,
}

impl Answer {
    /// Checks what the API's description says of every answer.
    fn check_described(&self, route: &Route) {
        let status = self.status.as_u16();
        let is_problem = self.media_type == api_wire::problem::CONTENT_TYPE;
        let code = self.body["code"].as_str().filter(|_| is_problem);
        let place = format!("{} {} answers {status} {code:?}", route.method, route.path);
        assert!(route.describes(status, code), "{place}, which it does not describe");
        assert_eq!(self.retry_after.is_some(), matches!(status, 429 | 503), "{place}: Retry-After");
        let tagged = route.tagged && status == 200;
        assert_eq!(self.etag.is_some(), tagged || status == 304, "{place}: ETag");
        let kept = self.headers[header::CACHE_CONTROL] != "no-store";
        assert_eq!(kept, self.etag.is_some(), "{place}: Cache-Control");
    }

    /// The code of a problem, which must be a whole problem.
    #[track_caller]
    pub(super) fn code(&self) -> String {
        assert_eq!(self.media_type, "application/problem+json", "{self:?}");
        assert_eq!(self.body["status"], self.status.as_u16(), "{self:?}");
        assert!(self.body["detail"].as_str().is_some_and(|text| !text.is_empty()), "{self:?}");
        self.body["code"].as_str().expect("a code").to_owned()
    }

    #[track_caller]
    pub(super) fn ok(self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.body);
        assert_eq!(self.media_type, "application/json");
        self.body
    }
}

/// A data folder, as `serve` makes it: closed to others.
pub(super) fn data_folder() -> tempfile::TempDir {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    builder.tempdir().expect("a folder")
}

pub(super) fn config(folder: &Path) -> Config {
    Config {
        listen: ([127, 0, 0, 1], 0).into(),
        metrics_listen: None,
        data: folder.to_owned(),
        tls: None,
        ping_interval: limits::PING_INTERVAL,
        version: ProgramVersion::new("0.1.0").expect("valid"),
        confirm_clock: false,
        node_timeout: Duration::from_secs(15),
        origin: None,
        new_signing_key: false,
        accept_fork: false,
    }
}

pub(super) fn request_id() -> RequestId {
    RequestId::new(uuid::Uuid::now_v7())
}

impl Harness {
    pub(super) async fn new() -> Self {
        let folder = data_folder();
        Self::on(folder, Arc::default()).await
    }

    pub(super) async fn on(folder: tempfile::TempDir, clock: Arc<TestClock>) -> Self {
        let config = config(folder.path());
        Self::with(folder, clock, config).await
    }

    pub(super) async fn with(
        folder: tempfile::TempDir,
        clock: Arc<TestClock>,
        config: Config,
    ) -> Self {
        let log = Log::open_sqlite(folder.path(), clock.clone()).await.expect("a log");
        let booted = boot(&config, log, clock.clone()).await.expect("booted");
        let Booted { server, runner, .. } = booted;
        let admin = std::fs::read_to_string(folder.path().join("admin-token")).expect("a token");
        let admin = admin.trim().to_owned();
        Self { folder, clock, router: router(&server), server, admin, runner }
    }

    /// Ends as a killed process does: nothing is recorded.
    pub(super) async fn kill(self) -> (tempfile::TempDir, Arc<TestClock>) {
        let Self { folder, clock, server, runner, .. } = self;
        runner.stop().await;
        server.log.close().await;
        (folder, clock)
    }

    /// Returns an answer whose body is still to come.
    pub(super) async fn open(&self, request: Request<Body>) -> Response {
        self.router.clone().oneshot(request).await.expect("infallible")
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        let route = route_of(&request);
        let response = self.open(request).await;
        let (head, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.expect("a body");
        let header = |name: header::HeaderName| {
            head.headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned)
        };
        let media_type = header(header::CONTENT_TYPE).unwrap_or_default();
        let retry_after = header(header::RETRY_AFTER);
        let request_id = header(crate::request::HEADER).expect("each answer has one");
        let status = head.status;
        let etag = header(header::ETAG);
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        let answer = Answer {
            status,
            media_type,
            retry_after,
            request_id,
            etag,
            body,
            headers: head.headers,
        };
        if let Some(route) = route {
            answer.check_described(route);
        }
        answer
    }

    pub(super) async fn ask(
        &self,
        method: &str,
        path: &str,
        token: &str,
        body: Option<Value>,
    ) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::USER_AGENT, "test/1");
        let request = match body {
            Some(body) => request
                .header(header::CONTENT_TYPE, "application/json")
                .body(Body::from(body.to_string())),
            None => request.body(Body::empty()),
        };
        self.send(request.expect("a request")).await
    }

    pub(super) async fn get(&self, path: &str, token: &str) -> Answer {
        self.ask("GET", path, token, None).await
    }

    pub(super) async fn post(&self, path: &str, token: &str, body: Value) -> Answer {
        self.ask("POST", path, token, Some(body)).await
    }

    /// Issues a token of a workspace, limited to the patterns.
    pub(super) async fn token(&self, kind: TokenKind, workspace: &str, agents: &[&str]) -> String {
        self.issue(kind, workspace, agents, "workspace").await
    }

    pub(super) async fn issue(
        &self,
        kind: TokenKind,
        workspace: &str,
        agents: &[&str],
        reach: &str,
    ) -> String {
        let secret = secret(kind);
        let body = json!({
            "request_id": request_id(), "secret": secret, "kind": kind, "reach": reach,
            "agents": agents,
        });
        let path = format!("/v1/tokens?workspace={workspace}");
        self.post(&path, &self.admin, body).await.ok();
        secret
    }

    pub(super) async fn create_workspace(&self, name: &str) {
        let body = json!({ "request_id": request_id(), "name": name });
        self.post("/v1/workspaces", &self.admin, body).await.ok();
    }

    /// Lets an agent show itself, as its session would.
    pub(super) async fn connect(&self, workspace: &str, agent: &str) -> SessionId {
        let session = SessionId::new(uuid::Uuid::now_v7());
        let connection = Connection {
            agent: name(agent),
            key: PublicKey::from_bytes([1; 32]),
            session,
            node: self.server.node,
            version: ProgramVersion::new("0.1.0").expect("valid"),
            system: System::new("x86_64-linux").expect("valid"),
            annex: ledger_core::Annex::default(),
        };
        let workspace = workspace.parse().expect("valid");
        self.command(Command::Connect { workspace, connection }).await;
        session
    }

    pub(super) async fn disconnect(&self, workspace: &str, agent: &str, session: SessionId) {
        let (workspace, agent) = (workspace.parse().expect("valid"), name(agent));
        let reason = DisconnectReason::AgentStopped;
        self.command(Command::Disconnect { workspace, agent, session, reason }).await;
    }

    /// Lets an agent begin what it was asked for.
    pub(super) async fn start(&self, agent: &str, deployment: DeploymentId, session: SessionId) {
        let (workspace, agent) = (WorkspaceName::initial(), name(agent));
        self.command(Command::Start { workspace, agent, deployment, session }).await;
    }

    pub(super) async fn command(&self, command: Command) {
        let request = request_id();
        let given = crate::given::of_node(self.server.node, request);
        let written = self.server.write(request, given, self.server.actor(), command).await;
        written.expect("written");
    }

    /// Asks agents of a workspace to deploy, and returns the answer.
    pub(super) async fn activate(&self, workspace: &str, token: &str, agents: &[&str]) -> Value {
        let path = format!("/v1/activations?workspace={workspace}");
        self.post(&path, token, activation(agents)).await.ok()
    }
}

/// Returns the route of the table that the request is for, if there is one.
fn route_of(request: &Request<Body>) -> Option<&'static Route> {
    let path: Vec<&str> = request.uri().path().split('/').collect();
    TABLE.iter().find(|route| {
        let parts: Vec<&str> = route.path.split('/').collect();
        let fits = |(part, given): (&&str, &&str)| part.starts_with('{') || part == given;
        route.method == request.method()
            && parts.len() == path.len()
            && parts.iter().zip(&path).all(fits)
    })
}

pub(super) fn secret(kind: TokenKind) -> String {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("random");
    format!("{}{}", kind.prefix(), BASE64URL_NOPAD.encode(&bytes))
}

pub(super) fn name(agent: &str) -> AgentName {
    AgentName::new(agent).expect("valid")
}

/// The body of a fresh activation of these agents.
pub(super) fn activation(agents: &[&str]) -> Value {
    let agents: serde_json::Map<String, Value> =
        agents.iter().map(|agent| ((*agent).to_owned(), json!(PATH))).collect();
    let spec = json!({ "agents": agents }).to_string();
    json!({ "id": request_id(), "spec": spec })
}
