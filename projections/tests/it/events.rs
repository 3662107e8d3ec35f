//! Arbitrary histories: every event, on streams and ids that collide often.

use ledger_core::event::{
    self, CancelReason, ClosureKind, Digest, DisconnectReason, FailureOutcome, FailureReason,
    LostSession, OutputDigest, Reach,
};
use ledger_core::key::PublicKey;
use ledger_core::names::{AgentName, ProgramVersion, StorePath, System, WorkspaceName};
use ledger_core::record::ActorKind;
use ledger_core::rights::TokenKind;
use ledger_core::{
    ActivationId, Actor, DeploymentId, Event, EventId, NodeId, Position, Record, SessionId,
    StreamId, Timestamp, TokenId, Version,
};
use proptest::prelude::*;
use proptest::sample::select;

/// A few ids, so that events speak of each other.
fn id<T: Clone + std::fmt::Debug + 'static>(make: fn([u8; 16]) -> T) -> impl Strategy<Value = T> {
    (0u8..6).prop_map(move |n| make([n; 16]))
}

fn workspace() -> impl Strategy<Value = WorkspaceName> {
    select(vec!["default", "other"]).prop_map(|name| WorkspaceName::new(name).expect("valid"))
}

fn agent() -> impl Strategy<Value = AgentName> {
    select(vec!["a", "b"]).prop_map(|name| AgentName::new(name).expect("valid"))
}

pub(crate) fn path(n: u8) -> StorePath {
    let path = format!("/nix/store/0c5b8vw40dy178xlpddw65q9gf1h218{}-web", n % 10);
    StorePath::new(path).expect("valid")
}

fn time() -> impl Strategy<Value = Timestamp> {
    (-10i64..1_000).prop_map(Timestamp::from_micros)
}

fn digest() -> impl Strategy<Value = Digest> {
    (0u8..3).prop_map(|n| Digest([n; 32]))
}

fn output() -> impl Strategy<Value = OutputDigest> {
    (digest(), any::<u32>())
        .prop_map(|(blake3, bytes)| OutputDigest { blake3, bytes: bytes.into() })
}

fn word<T: Copy + std::fmt::Debug + 'static>(all: &'static [T]) -> impl Strategy<Value = T> {
    (0..all.len()).prop_map(move |n| all[n])
}

fn version() -> ProgramVersion {
    ProgramVersion::new("0.1.0").expect("valid")
}

fn of_workspaces() -> BoxedStrategy<Event> {
    let kind = word(TokenKind::ALL);
    let issued = (id(TokenId::from_bytes), kind, word(Reach::ALL), digest(), time()).prop_map(
        |(token, kind, reach, hash, expires)| {
            let expires_at = Some(expires);
            event::TokenIssued { token, kind, reach, agents: Vec::new(), expires_at, hash }.into()
        },
    );
    prop_oneof![
        Just(event::WorkspaceCreated {}.into()),
        issued,
        id(TokenId::from_bytes).prop_map(|token| event::TokenRevoked { token }.into()),
    ]
    .boxed()
}

fn of_sessions() -> BoxedStrategy<Event> {
    let session = || id(SessionId::from_bytes);
    let node = || id(NodeId::from_bytes);
    let connected = (session(), agent(), node()).prop_map(|(session, agent, node)| {
        let system = System::new("x86_64-linux").expect("valid");
        event::AgentConnected { session, agent, node, version: version(), system }.into()
    });
    let disconnected = (session(), agent(), node(), word(DisconnectReason::ALL)).prop_map(
        |(session, agent, node, reason)| {
            event::AgentDisconnected { session, agent, node, reason }.into()
        },
    );
    let lost = (node(), time(), prop::collection::vec((session(), agent()), 0..4)).prop_map(
        |(node, alive_until, sessions)| {
            let sessions = sessions
                .into_iter()
                .map(|(session, agent)| LostSession { session, agent })
                .collect();
            event::SessionsLost { node, alive_until, sessions }.into()
        },
    );
    prop_oneof![connected, disconnected, lost].boxed()
}

fn of_agents() -> BoxedStrategy<Event> {
    let deployment = || id(DeploymentId::from_bytes);
    let key = (0u8..3).prop_map(|n| PublicKey::from_bytes([n; 32]));
    let requested = (id(ActivationId::from_bytes), 0u8..10).prop_map(|(activation, n)| {
        event::DeploymentRequested { activation, store_path: path(n), rollback_script: None }.into()
    });
    let failed = (deployment(), word(FailureReason::ALL), word(FailureOutcome::ALL), output())
        .prop_map(|(deployment, reason, outcome, output)| {
            event::DeploymentFailed { deployment, reason, outcome, output: Some(output) }.into()
        });
    prop_oneof![
        1 => key.clone().prop_map(|public_key| event::AgentRegistered { public_key }.into()),
        1 => prop::option::of(key).prop_map(|public_key| event::AgentRekeyed { public_key }.into()),
        1 => Just(event::AgentRetired {}.into()),
        4 => requested,
        1 => (deployment(), deployment())
            .prop_map(|(deployment, by)| event::DeploymentSuperseded { deployment, by }.into()),
        1 => (deployment(), word(CancelReason::ALL)).prop_map(|(deployment, reason)| {
            event::DeploymentCancelled { deployment, reason }.into()
        }),
        2 => (deployment(), id(SessionId::from_bytes)).prop_map(|(deployment, session)| {
            event::DeploymentStarted { deployment, session }.into()
        }),
        1 => deployment().prop_map(|deployment| {
            event::ClosureFetched { deployment, closure_bytes: 1, closure_paths: 2 }.into()
        }),
        1 => (deployment(), word(ClosureKind::ALL)).prop_map(|(deployment, kind)| {
            event::ActivationSucceeded { deployment, kind, generation: Some(3), previous: None }
                .into()
        }),
        1 => (deployment(), word(ClosureKind::ALL)).prop_map(|(deployment, kind)| {
            event::ActivationFailed { deployment, kind, exit_status: Some(1), previous: None }
                .into()
        }),
        1 => (deployment(), output())
            .prop_map(|(deployment, output)| event::DeploymentSucceeded { deployment, output }
                .into()),
        1 => failed,
    ]
    .boxed()
}

fn of_others() -> BoxedStrategy<Event> {
    let requested = (workspace(), digest()).prop_map(|(workspace, spec_digest)| {
        let rollback_scripts = std::collections::BTreeMap::new();
        event::ActivationRequested { workspace, spec_digest, agents: 1, rollback_scripts, ci: None }
            .into()
    });
    prop_oneof![
        requested,
        Just(event::NodeStarted { version: version() }.into()),
        Just(event::NodeStopped {}.into()),
        (time(), time()).prop_map(|(last_recorded_at, clock)| event::ClockConfirmed {
            last_recorded_at,
            clock
        }
        .into()),
    ]
    .boxed()
}

fn event() -> BoxedStrategy<Event> {
    prop_oneof![1 => of_workspaces(), 1 => of_sessions(), 3 => of_agents(), 1 => of_others()]
        .boxed()
}

/// Mostly the stream that an event belongs to, sometimes any other.
fn placed() -> impl Strategy<Value = (StreamId, Event)> {
    let stream = prop_oneof![
        workspace().prop_map(StreamId::Workspace),
        workspace().prop_map(StreamId::Sessions),
        workspace().prop_map(StreamId::Health),
        (workspace(), agent()).prop_map(|(ws, name)| StreamId::Agent(ws, name)),
        id(ActivationId::from_bytes).prop_map(StreamId::Activation),
        id(NodeId::from_bytes).prop_map(StreamId::Node),
    ];
    prop_oneof![
        1 => (workspace().prop_map(StreamId::Workspace), of_workspaces()),
        2 => (workspace().prop_map(StreamId::Sessions), of_sessions()),
        4 => ((workspace(), agent()).prop_map(|(ws, name)| StreamId::Agent(ws, name)), of_agents()),
        1 => (stream, event()),
    ]
}

/// A log of up to 60 events, with positions as a log has them.
pub(crate) fn log() -> impl Strategy<Value = Vec<Record>> {
    prop::collection::vec((placed(), 0u8..6), 0..60).prop_map(|events| {
        let mut position = Position::ZERO;
        events
            .into_iter()
            .map(|((stream, event), id)| {
                position = position.next();
                record(position, stream, EventId::from_bytes([id; 16]), &event)
            })
            .collect()
    })
}

pub(crate) fn record(
    position: Position,
    stream: StreamId,
    event_id: EventId,
    event: &Event,
) -> Record {
    let at = Timestamp::from_micros(i64::try_from(position.0).expect("small"));
    Record {
        position,
        stream,
        version: Version(position.0),
        event_id,
        type_name: event.type_name().to_owned(),
        occurred_at: at,
        recorded_at: at,
        actor: Actor { kind: ActorKind::Node, id: "n".to_owned() },
        correlation_id: None,
        causation_id: None,
        payload: event.encode(),
        annex_digest: None,
        given: None,
        annex: None,
    }
}
