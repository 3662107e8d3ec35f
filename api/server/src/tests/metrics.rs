//! Figures: what they count, who may read them, and what is said of them.

use super::harness::{Harness, data_folder, name, request_id};
use crate::hub::session::Identity;
use crate::limits;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use ledger_core::agent::Report;
use ledger_core::event::{ClosureKind, Digest, FailureOutcome, FailureReason, OutputDigest};
use ledger_core::key::PublicKey;
use ledger_core::rights::TokenKind;
use ledger_core::{Command, DeploymentId, Timestamp, TokenId, WorkspaceName};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A page of figures: the value of each series.
pub(super) struct Page(BTreeMap<String, f64>);

impl Page {
    pub(super) async fn of(harness: &Harness) -> Self {
        let text = text(harness, &harness.admin, "*/*").await;
        assert!(text.ends_with("# EOF\n"), "OpenMetrics has an end: {text}");
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let values = samples.map(|line| {
            let (series, value) = line.rsplit_once(' ').expect("a series and its value");
            (series.to_owned(), value.parse().expect("a number"))
        });
        Self(values.collect())
    }

    #[track_caller]
    fn get(&self, series: &str) -> f64 {
        let value = self.0.get(series).copied();
        value.unwrap_or_else(|| panic!("there is no {series} in {:#?}", self.0))
    }

    /// The names of the samples, without labels.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().filter_map(|series| series.split('{').next())
    }

    /// The series themselves, with their labels.
    pub(super) fn series(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

pub(super) async fn text(harness: &Harness, token: &str, accept: &str) -> String {
    let request = Request::get("/metrics")
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::ACCEPT, accept)
        .body(Body::empty())
        .expect("a request");
    let answer = harness.send(request).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    answer.body.as_str().expect("text").to_owned()
}

fn output() -> OutputDigest {
    OutputDigest { blake3: Digest([0; 32]), bytes: 0 }
}

async fn report(harness: &Harness, agent: &str, deployment: DeploymentId, report: Report) {
    let (workspace, agent) = (WorkspaceName::initial(), name(agent));
    let occurred_at = Timestamp::from_micros(1_800_000_000_000_000);
    harness.command(Command::Report { workspace, agent, deployment, report, occurred_at }).await;
}

async fn deploy(harness: &Harness, agent: &str) -> DeploymentId {
    let answer = harness.activate("default", &harness.admin, &[agent]).await;
    answer["deployments"][0]["id"].as_str().expect("an id").parse().expect("a UUID")
}

/// Deployments of every end: one superseded, one that takes 20 s and goes well,
/// one cancelled, and one that fails after 3 s.
async fn deployments_of_every_end(harness: &Harness) {
    let session = harness.connect("default", "web").await;
    deploy(harness, "web").await;
    let good = deploy(harness, "web").await;
    harness.start("web", good, session).await;
    let (closure, previous, generation) = (ClosureKind::Plain, None, Some(1));
    let fetched = Report::ClosureFetched { closure_bytes: 1, closure_paths: 1 };
    report(harness, "web", good, fetched).await;
    harness.clock.advance(Duration::from_secs(20));
    let activated = Report::ActivationSucceeded { closure, generation, previous };
    report(harness, "web", good, activated).await;
    report(harness, "web", good, Report::Succeeded { output: output() }).await;
    let cancelled = deploy(harness, "web").await;
    let path = format!("/v1/deployments/{cancelled}/cancel");
    harness.post(&path, &harness.admin, json!({ "request_id": request_id() })).await.ok();
    let bad = deploy(harness, "web").await;
    harness.start("web", bad, session).await;
    harness.clock.advance(Duration::from_secs(3));
    let (reason, outcome) = (FailureReason::FetchFailed, FailureOutcome::Unchanged);
    let failed = Report::Failed { reason, outcome, output: output(), error: String::new() };
    report(harness, "web", bad, failed).await;
}

#[tokio::test]
async fn figures_follow_what_happens() {
    let harness = Harness::new().await;
    let before = Page::of(&harness).await;
    assert_eq!(before.get("ledger_ready"), 1.0);
    assert_eq!(before.get("ledger_build_info{version=\"0.1.0\"}"), 1.0);
    deployments_of_every_end(&harness).await;
    harness.create_workspace("other").await;
    let session = harness.connect("other", "db").await;
    harness.disconnect("other", "db", session).await;
    let after = Page::of(&harness).await;
    for result in ["succeeded", "failed", "superseded", "cancelled"] {
        let series = format!("ledger_deployments_total{{result=\"{result}\"}}");
        assert_eq!((before.get(&series), after.get(&series)), (0.0, 1.0), "{result}");
    }
    let duration = |what: &str| after.get(&format!("ledger_deployment_duration_seconds_{what}"));
    assert_eq!((duration("count"), duration("sum")), (2.0, 23.0));
    assert_eq!((duration("bucket{le=\"5.0\"}"), duration("bucket{le=\"30.0\"}")), (1.0, 2.0));
    for (workspace, connected) in [("default", 1.0), ("other", 0.0)] {
        let of =
            |kind: &str| after.get(&format!("ledger_agents_{kind}{{workspace=\"{workspace}\"}}"));
        assert_eq!((of("connected"), of("registered")), (connected, 1.0), "{workspace}");
    }
    let head = harness.server.log.head().borrow().0 as f64;
    assert_eq!(after.get("ledger_log_position"), head);
    assert_eq!(after.get("ledger_fold_lag_events"), 0.0);
    let appended = "ledger_events_appended_total";
    let first = before.get("ledger_log_position");
    assert_eq!(after.get(appended) - before.get(appended), head - first);
    assert_eq!(before.get(appended), first, "a new log began with this server");
    let appends = "ledger_appends_total{result=\"appended\"}";
    assert_eq!(after.get("ledger_append_duration_seconds_count"), after.get(appends));
    assert!(after.get(appends) > 10.0 && after.get("ledger_database_bytes") > 4096.0);
}

#[tokio::test]
async fn a_session_that_does_not_read_shows_in_the_figures() {
    let harness = Harness::new().await;
    let session = harness.connect("default", "web").await;
    let (workspace, agent) = (WorkspaceName::initial(), name("web"));
    let token = TokenId::new(request_id().uuid());
    let identity = Identity { workspace, agent, session, token };
    let opened = *harness.server.log.head().borrow();
    let key = PublicKey::from_bytes([1; 32]);
    let registered = harness.server.registry.register(&identity, key, opened);
    let Ok(_registered) = registered else { panic!("the agent has no newer session") };
    deploy(&harness, "web").await;
    let page = Page::of(&harness).await;
    assert_eq!(page.get("ledger_session_queue_depth_max"), 1.0);
    assert_eq!(page.get("ledger_session_overflows_total"), 0.0);
    // Each further one supersedes the one before: two events.
    for _ in 0..40 {
        deploy(&harness, "web").await;
    }
    let page = Page::of(&harness).await;
    let full = limits::SESSION_QUEUE_MAX as f64;
    assert_eq!(page.get("ledger_session_queue_depth_max"), full);
    assert_eq!(page.get("ledger_session_overflows_total"), 81.0 - full);
}

#[tokio::test]
async fn refusals_are_counted_by_their_code_and_answers_by_their_route() {
    let harness = Harness::new().await;
    harness.get("/v1/agents", "bad").await;
    harness.get("/v1/agents", &harness.admin).await.ok();
    harness.get("/v1/deployments/web%231", &harness.admin).await;
    harness.get("/v1/no/such/path", &harness.admin).await;
    harness.ask("BREW", "/v1/agents", &harness.admin, None).await;
    let page = Page::of(&harness).await;
    let refused =
        |code: &str| page.get(&format!("ledger_requests_refused_total{{code=\"{code}\"}}"));
    assert_eq!(refused("unauthorized"), 1.0);
    assert_eq!((refused("not_found"), refused("method_not_allowed")), (1.0, 1.0));
    assert_eq!(refused("internal"), 0.0);
    let answered = |route: &str, status: u16| {
        page.get(&format!("ledger_requests_total{{route=\"{route}\",status=\"{status}\"}}"))
    };
    assert_eq!((answered("/v1/agents", 200), answered("/v1/agents", 401)), (1.0, 1.0));
    assert_eq!((answered("/v1/agents", 405), answered("other", 404)), (1.0, 1.0));
    assert_eq!(answered("/v1/deployments/{which}", 404), 1.0);
    assert!(!page.series().any(|series| series.contains("no/such") || series.contains("BREW")));
}

#[tokio::test]
async fn what_was_before_a_start_is_not_counted_and_servers_share_nothing() {
    let harness = Harness::new().await;
    deployments_of_every_end(&harness).await;
    let head = harness.server.log.head().borrow().0 as f64;
    let (folder, clock) = harness.kill().await;
    let again = Harness::on(folder, clock).await;
    let other = Harness::on(data_folder(), Arc::default()).await;
    for (page, position) in [(Page::of(&again).await, head + 3.0), (Page::of(&other).await, 4.0)] {
        assert_eq!(page.get("ledger_log_position"), position);
        assert_eq!(page.get("ledger_deployments_total{result=\"succeeded\"}"), 0.0);
        assert_eq!(page.get("ledger_deployment_duration_seconds_count"), 0.0);
    }
    // The start itself, the killed run, and the sessions that it lost.
    assert_eq!(Page::of(&again).await.get("ledger_events_appended_total"), 3.0);
}

#[tokio::test]
async fn a_clock_that_jumps_shows_in_the_figures() {
    let harness = Harness::new().await;
    harness.clock.jump_back(Duration::from_secs(7_200));
    let body = json!({ "request_id": request_id(), "name": "late" });
    assert_eq!(harness.post("/v1/workspaces", &harness.admin, body).await.code(), "unavailable");
    let page = Page::of(&harness).await;
    assert_eq!(page.get("ledger_ready"), 0.0);
    assert_eq!(page.get("ledger_appends_total{result=\"unavailable\"}"), 1.0);
    assert_eq!(page.get("ledger_requests_refused_total{code=\"unavailable\"}"), 1.0);
}

#[tokio::test]
async fn figures_are_for_tokens_of_the_whole_ledger() {
    let harness = Harness::new().await;
    for kind in [TokenKind::Read, TokenKind::Admin] {
        let token = harness.token(kind, "default", &[]).await;
        let answer = harness.get("/metrics", &token).await;
        assert_eq!((answer.status, &*answer.code()), (StatusCode::FORBIDDEN, "forbidden"));
        assert!(answer.body["detail"].as_str().expect("text").contains("--ledger-wide"));
    }
    let token = harness.issue(TokenKind::Read, "default", &[], "ledger").await;
    assert!(text(&harness, &token, "*/*").await.contains("ledger_ready 1"));
}

#[tokio::test]
async fn the_form_is_openmetrics_or_plain_text_as_is_asked() {
    let harness = Harness::new().await;
    let open = text(&harness, &harness.admin, "application/openmetrics-text; version=1.0.0").await;
    assert!(open.contains("# TYPE ledger_deployments counter\n") && open.ends_with("# EOF\n"));
    let plain = text(&harness, &harness.admin, "text/plain").await;
    assert!(plain.contains("# TYPE ledger_deployments_total counter\n"), "{plain}");
    assert!(!plain.contains("# EOF"));
    let answer = harness.get("/metrics", &harness.admin).await;
    assert_eq!(answer.media_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
}
