//! Each projection: it goes on from where it was, halts at what it cannot read,
//! and tells what the log says.

use crate::events::{log, path, record};
use ledger_core::agent::End;
use ledger_core::event::{self, Digest, DisconnectReason, OutputDigest, Reach};
use ledger_core::names::{AgentName, ProgramVersion, System, WorkspaceName};
use ledger_core::rights::TokenKind;
use ledger_core::{
    ActivationId, DeploymentId, Event, EventId, NodeId, Position, Record, SessionId, StreamId,
    Timestamp, TokenId,
};
use projections::access::Access;
use projections::fleet::Fleet;
use projections::history::{History, Status};
use projections::image::Image;
use projections::projection::{advance, fold};
use projections::{Halt, Projection, Snapshot};
use proptest::prelude::*;

/// Folds in one go, and in two with a stop in between.
fn goes_on<P: Projection<State: PartialEq + std::fmt::Debug>>(
    records: &[Record],
    cut: usize,
) -> Result<(), TestCaseError> {
    let (whole, halted) = advance::<P>(&Snapshot::default(), records);
    prop_assert!(halted.is_none());
    let (first, rest) = records.split_at(cut.min(records.len()));
    let (between, _) = advance::<P>(&Snapshot::default(), first);
    let kept = between.clone();
    let (resumed, _) = advance::<P>(&between, rest);
    prop_assert_eq!(&whole, &resumed);
    // The snapshot in the middle was shared, and stayed what it was.
    prop_assert_eq!(&between, &kept);
    let mut of_a_part = P::State::default();
    prop_assert!(fold::<P>(&mut of_a_part, rest).is_ok());
    Ok(())
}

proptest! {
    #[test]
    fn a_fold_goes_on_from_any_stop(records in log(), cut in 0usize..60) {
        goes_on::<Fleet>(&records, cut)?;
        goes_on::<Access>(&records, cut)?;
        goes_on::<History>(&records, cut)?;
        goes_on::<Image>(&records, cut)?;
    }

    /// Whoever asks for one deployment folds from its request on, until it is over.
    #[test]
    fn a_deployment_is_told_from_its_request_on_as_from_the_beginning(records in log()) {
        let mut seen = std::collections::BTreeSet::new();
        let of_a = StreamId::Agent(workspace(), AgentName::new("a").expect("valid"));
        let mut records = records;
        records.retain(|record| {
            let asks = record.type_name == "DeploymentRequested";
            // As in a log, where no two events have one id.
            record.stream == of_a && (!asks || seen.insert(record.event_id))
        });
        let mut whole = History::default();
        prop_assert!(fold::<History>(&mut whole, &records).is_ok());
        let mut before = 0;
        for (n, request) in records.iter().enumerate() {
            if request.type_name != "DeploymentRequested" {
                continue;
            }
            let id = request.event_id.into();
            let mut part = History::after(before);
            for record in &records[n..] {
                if !part.is_over(id) {
                    prop_assert!(fold::<History>(&mut part, std::slice::from_ref(record)).is_ok());
                }
            }
            prop_assert_eq!(part.by_id(id), whole.by_id(id));
            before += 1;
        }
    }

    #[test]
    fn any_bytes_halt_or_fold_and_never_panic(
        type_name in prop_oneof![
            proptest::sample::select(Event::TYPE_NAMES).prop_map(str::to_owned),
            "[ -~]{0,20}",
        ],
        payload in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let stream = StreamId::Workspace(WorkspaceName::initial());
        let mut odd = record(Position(1), stream, EventId::from_bytes([0; 16]), &node_stopped());
        odd.type_name = type_name.clone();
        odd.payload = payload;
        let (after, halted) = advance::<Image>(&Snapshot::default(), &[odd.clone()]);
        match odd.event() {
            Ok(_) => prop_assert!(halted.is_none() && after.position == Position(1)),
            Err(_) => {
                prop_assert_eq!(after.position, Position::ZERO);
                let named = matches!(
                    halted,
                    Some(Halt::Unreadable { position: Position(1), type_name: ref t, .. })
                        if *t == type_name
                );
                prop_assert!(named);
            }
        }
    }
}

fn node_stopped() -> Event {
    event::NodeStopped {}.into()
}

fn workspace() -> WorkspaceName {
    WorkspaceName::initial()
}

fn web() -> AgentName {
    AgentName::new("web").expect("valid")
}

/// A log of these events; an event's id is its position, sixteen times.
fn history(events: Vec<(StreamId, Event)>) -> Vec<Record> {
    events
        .into_iter()
        .zip(1u8..)
        .map(|((stream, event), n)| {
            record(Position(n.into()), stream, EventId::from_bytes([n; 16]), &event)
        })
        .collect()
}

fn of_agent(event: impl Into<Event>) -> (StreamId, Event) {
    (StreamId::Agent(workspace(), web()), event.into())
}

fn of_sessions(event: impl Into<Event>) -> (StreamId, Event) {
    (StreamId::Sessions(workspace()), event.into())
}

fn deployment(n: u8) -> DeploymentId {
    DeploymentId::from_bytes([n; 16])
}

fn requested(n: u8) -> (StreamId, Event) {
    let activation = ActivationId::from_bytes([99; 16]);
    of_agent(event::DeploymentRequested { activation, store_path: path(n), rollback_script: None })
}

/// Positions 1 to 9: a workspace, an agent, one deployment superseded, one done.
fn a_deployment() -> Vec<Record> {
    let node = NodeId::from_bytes([7; 16]);
    let session = SessionId::from_bytes([8; 16]);
    let done = deployment(5);
    let output = OutputDigest { blake3: Digest::of(b"x"), bytes: 1 };
    history(vec![
        (StreamId::Workspace(workspace()), event::WorkspaceCreated {}.into()),
        of_agent(event::AgentRegistered {
            public_key: ledger_core::key::PublicKey::from_bytes([1; 32]),
        }),
        requested(1),
        of_agent(event::DeploymentSuperseded { deployment: deployment(3), by: done }),
        requested(2),
        of_sessions(event::AgentConnected {
            session,
            agent: web(),
            node,
            version: ProgramVersion::new("1").expect("valid"),
            system: System::new("x86_64-linux").expect("valid"),
        }),
        of_agent(event::DeploymentStarted { deployment: done, session }),
        of_agent(event::ClosureFetched { deployment: done, closure_bytes: 10, closure_paths: 2 }),
        of_agent(event::DeploymentSucceeded { deployment: done, output }),
    ])
}

#[test]
fn the_fleet_shows_what_an_agent_runs() {
    let (snapshot, halted) = advance::<Fleet>(&Snapshot::default(), &a_deployment());
    assert!(halted.is_none());
    let agent = snapshot.state.agent(&workspace(), &web()).expect("known");
    assert_eq!(agent.decided.current, Some(path(2)));
    assert_eq!(agent.since, Some(Timestamp::from_micros(6)));
    let last = agent.last.expect("ended");
    assert_eq!((last.id, last.index, last.end), (deployment(5), 2, End::Succeeded));
    assert_eq!((agent.head.0, agent.session.is_some()), (9, true));
}

#[test]
fn only_the_end_of_the_current_session_ends_it() {
    let end = |n: u8| {
        of_sessions(event::AgentDisconnected {
            session: SessionId::from_bytes([n; 16]),
            agent: web(),
            node: NodeId::from_bytes([7; 16]),
            reason: DisconnectReason::TimedOut,
        })
    };
    let shown = |n: u8| {
        let mut records = a_deployment();
        let mut more = history(vec![end(n)]);
        more[0].position = Position(10);
        records.append(&mut more);
        let (snapshot, _) = advance::<Fleet>(&Snapshot::default(), &records);
        snapshot.state.agent(&workspace(), &web()).expect("known").session.is_some()
    };
    assert_eq!((shown(8), shown(9)), (false, true));
}

#[test]
fn a_history_tells_each_deployment() {
    let records: Vec<Record> = a_deployment()
        .into_iter()
        .filter(|record| matches!(record.stream, StreamId::Agent(..)))
        .collect();
    let mut history = History::default();
    fold::<History>(&mut history, &records).expect("readable");
    let [first, second] = history.deployments().collect::<Vec<_>>()[..] else {
        panic!("two deployments")
    };
    assert_eq!((first.index, first.status), (1, Status::Ended(End::Superseded)));
    assert_eq!(first.superseded_by, Some(deployment(5)));
    assert_eq!((second.index, second.status), (2, Status::Ended(End::Succeeded)));
    assert_eq!((second.closure_bytes, second.started_at.is_some()), (Some(10), true));
    assert_eq!(history.by_id(deployment(5)), history.by_index(2));
}

#[test]
fn a_token_is_found_by_its_hash_until_it_is_revoked_where_it_was_issued() {
    let stream = StreamId::Workspace(workspace());
    let other = StreamId::Workspace(WorkspaceName::new("other").expect("valid"));
    let token = TokenId::from_bytes([4; 16]);
    let hash = Digest::of(b"secret");
    let issued = event::TokenIssued {
        token,
        kind: TokenKind::Read,
        reach: Reach::Workspace,
        agents: Vec::new(),
        expires_at: Some(Timestamp::from_micros(5)),
        hash,
    };
    let revoked = |stream: &StreamId| (stream.clone(), event::TokenRevoked { token }.into());
    let records = history(vec![(stream.clone(), issued.into()), revoked(&other), revoked(&stream)]);
    let after = |n: usize| advance::<Access>(&Snapshot::default(), &records[..n]).0.state;
    let found = after(2);
    let found = found.by_hash(&hash).expect("issued");
    assert_eq!((found.id, found.position), (token, Position(1)));
    assert!(found.is_valid_at(Timestamp::from_micros(4)));
    assert!(!found.is_valid_at(Timestamp::from_micros(5)));
    assert!(after(3).by_hash(&hash).is_none());
}

#[test]
fn a_missing_position_halts() {
    let mut records = a_deployment();
    records.remove(4);
    let (snapshot, halted) = advance::<Image>(&Snapshot::default(), &records);
    assert_eq!(snapshot.position, Position(4));
    let gap = matches!(halted, Some(Halt::Gap { expected: Position(5), found: Position(6) }));
    assert!(gap, "{halted:?}");
}
