//! Events of every shape that was ever released, with fixed contents.

use ledger_core::event::*;
use ledger_core::ids::*;
use ledger_core::key::PublicKey;
use ledger_core::merkle::NodeHash;
use ledger_core::names::*;
use ledger_core::rights::TokenKind;
use ledger_core::{StreamId, Timestamp};
use std::collections::BTreeMap;
use std::str::FromStr;

/// Parses text that is known to be right.
pub fn of<T: FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect(text)
}

/// An id that ends in the number.
pub fn id(n: u32) -> String {
    format!("0190b1f2-7c1e-7d3a-9f00-5c2d{n:08x}")
}

/// A store path with the name.
pub fn path(name: &str) -> StorePath {
    of(&format!("/nix/store/0c5b8vw40dy178xlpddw65q9gf1h2186-{name}"))
}

fn workspace_events() -> Vec<(&'static str, StreamId, Event)> {
    let stream: StreamId = of("workspace/default");
    let hash = Digest::of(b"a keyed hash");
    let issued = |kind, reach, agents: &[&str], expires_at| TokenIssued {
        token: of(&id(1)),
        kind,
        reach,
        agents: agents.iter().map(|text| of(text)).collect(),
        expires_at,
        hash,
    };
    let end = Some(Timestamp::from_micros(1_798_761_600_000_000));
    vec![
        ("WorkspaceCreated", stream.clone(), WorkspaceCreated {}.into()),
        ("TokenIssued", stream.clone(), issued(TokenKind::Admin, Reach::Ledger, &[], end).into()),
        (
            "TokenIssued.limited",
            stream.clone(),
            issued(TokenKind::Agent, Reach::Workspace, &["web-*", "db"], None).into(),
        ),
        ("TokenRevoked", stream, TokenRevoked { token: of(&id(1)) }.into()),
    ]
}

fn session_events() -> Vec<(&'static str, StreamId, Event)> {
    let stream: StreamId = of("sessions/default");
    let (session, agent, node): (SessionId, AgentName, NodeId) =
        (of(&id(2)), of("web-1"), of(&id(3)));
    let connected = AgentConnected {
        session,
        agent: agent.clone(),
        node,
        version: of("0.1.0"),
        system: of("x86_64-linux"),
    };
    let reason = DisconnectReason::TimedOut;
    let ended = AgentDisconnected { session, agent: agent.clone(), node, reason };
    let lost = SessionsLost {
        node,
        alive_until: Timestamp::from_micros(1_767_225_600_000_001),
        sessions: vec![LostSession { session, agent }],
    };
    vec![
        ("AgentConnected", stream.clone(), connected.into()),
        ("AgentDisconnected", stream.clone(), ended.into()),
        ("SessionsLost", stream, lost.into()),
    ]
}

fn request_events(stream: &StreamId) -> Vec<(&'static str, StreamId, Event)> {
    let public_key = PublicKey::from_bytes([7; 32]);
    let deployment: DeploymentId = of(&id(5));
    let requested = |rollback_script| DeploymentRequested {
        activation: of(&id(4)),
        store_path: path("web"),
        rollback_script,
    };
    let reason = CancelReason::Requested;
    let events: Vec<(&'static str, Event)> = vec![
        ("AgentRegistered", AgentRegistered { public_key }.into()),
        ("AgentRekeyed", AgentRekeyed { public_key: None }.into()),
        ("AgentRekeyed.named", AgentRekeyed { public_key: Some(public_key) }.into()),
        ("AgentRetired", AgentRetired {}.into()),
        ("DeploymentRequested", requested(None).into()),
        ("DeploymentRequested.rollback", requested(Some(path("rollback"))).into()),
        ("DeploymentSuperseded", DeploymentSuperseded { deployment, by: of(&id(6)) }.into()),
        ("DeploymentCancelled", DeploymentCancelled { deployment, reason }.into()),
        ("DeploymentStarted", DeploymentStarted { deployment, session: of(&id(2)) }.into()),
    ];
    events.into_iter().map(|(name, event)| (name, stream.clone(), event)).collect()
}

fn report_events(stream: &StreamId) -> Vec<(&'static str, StreamId, Event)> {
    let deployment: DeploymentId = of(&id(5));
    let output = OutputDigest { blake3: Digest::of(b"a line\n"), bytes: 7 };
    let succeeded =
        |kind, generation, previous| ActivationSucceeded { deployment, kind, generation, previous };
    let failed = |exit_status| ActivationFailed {
        deployment,
        kind: ClosureKind::HomeManager,
        exit_status,
        previous: None,
    };
    let ended = |reason, outcome, output| DeploymentFailed { deployment, reason, outcome, output };
    let fetch = ended(FailureReason::FetchFailed, FailureOutcome::Unchanged, Some(output.clone()));
    let retired = ended(FailureReason::AgentRetired, FailureOutcome::Unknown, None);
    let fetched = ClosureFetched { deployment, closure_bytes: 123_456_789, closure_paths: 42 };
    let nixos = succeeded(ClosureKind::Nixos, Some(7), Some(path("old")));
    let events: Vec<(&'static str, Event)> = vec![
        ("ClosureFetched", fetched.into()),
        ("ActivationSucceeded", nixos.into()),
        ("ActivationSucceeded.first", succeeded(ClosureKind::Plain, None, None).into()),
        ("ActivationFailed", failed(Some(1)).into()),
        ("ActivationFailed.killed", failed(None).into()),
        ("DeploymentSucceeded", DeploymentSucceeded { deployment, output }.into()),
        ("DeploymentFailed", fetch.into()),
        ("DeploymentFailed.retired", retired.into()),
    ];
    events.into_iter().map(|(name, event)| (name, stream.clone(), event)).collect()
}

fn activation_events() -> Vec<(&'static str, StreamId, Event)> {
    let stream: StreamId = of(&format!("activation/{}", id(4)));
    let requested = |rollback_scripts, ci| ActivationRequested {
        workspace: of("default"),
        spec_digest: Digest::of(b"{}"),
        agents: 2,
        rollback_scripts,
        ci,
    };
    let ci = CiRun {
        provider: of("github"),
        repository: CiText::new("acme/infra"),
        run: CiText::new("123456"),
        revision: None,
    };
    let scripts = BTreeMap::from([(of("x86_64-linux"), path("rollback"))]);
    vec![
        ("ActivationRequested", stream.clone(), requested(BTreeMap::new(), None).into()),
        ("ActivationRequested.ci", stream, requested(scripts, Some(ci)).into()),
    ]
}

fn node_events() -> Vec<(&'static str, StreamId, Event)> {
    let stream: StreamId = of(&format!("node/{}", id(3)));
    let confirmed = ClockConfirmed {
        last_recorded_at: Timestamp::from_micros(1_767_225_600_000_000),
        clock: Timestamp::from_micros(1_735_689_600_000_000),
    };
    let lost = NodeLost { alive_until: Timestamp::from_micros(1_767_225_600_000_001) };
    let public_key = PublicKey::from_bytes([7; 32]);
    let added = SigningKeyAdded { origin: of("ledger.example.org/prod"), public_key };
    let accepted = ForkAccepted { size: 81_234, root: NodeHash([6; 32]) };
    vec![
        ("NodeStarted", stream.clone(), NodeStarted { version: of("0.1.0") }.into()),
        ("NodeStopped", stream.clone(), NodeStopped {}.into()),
        ("ClockConfirmed", stream.clone(), confirmed.into()),
        ("NodeLost", stream.clone(), lost.into()),
        ("SigningKeyAdded", stream.clone(), added.into()),
        ("ForkAccepted", stream.clone(), accepted.into()),
        ("AnnexErased", stream, AnnexErased { position: Position(41) }.into()),
    ]
}

/// Every shape: the golden file's name, the stream and the event.
pub fn all() -> Vec<(&'static str, StreamId, Event)> {
    let agent: StreamId = of("agent/default/web-1");
    let mut all = workspace_events();
    all.extend(session_events());
    all.extend(request_events(&agent));
    all.extend(report_events(&agent));
    all.extend(activation_events());
    all.extend(node_events());
    all
}
