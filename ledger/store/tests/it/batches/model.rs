//! What a request of a random batch must be answered with, by what was asked before it.

use crate::support::*;
use ledger_core::event::AnnexErased;
use ledger_core::{
    ActivationId, Command, DeploymentId, NewEvent, Position, RequestId, StreamId, Version,
    WorkspaceName,
};
use ledger_store::{Expectation, Log, OutputWrite, Write, WriteError, Written};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Agents that are registered.
pub(super) const N_AGENTS: usize = 300;

/// A request, over few streams so that requests meet.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    /// Events of one stream.
    Append(usize),
    /// Events of streams of their own.
    Create(usize),
    /// One event, if the stream has this version or one beside it.
    Expect(i64),
    CreateWorkspace(usize),
    Activate(usize),
    /// An event of the stream of an earlier activation.
    ToActivation(usize),
    ExpectOfActivation(usize, i64),
    /// A payload beyond its bound, behind so many events.
    TooLarge(usize),
    /// An event of an earlier activation's stream, and an annex that is not there.
    NoAnnex(usize),
    /// What the database refuses, behind so many events: at once, or at the commit.
    Poison(usize, bool),
    Repeat,
    Output(usize),
}

pub(super) fn ask() -> impl Strategy<Value = Ask> {
    let large = 200..600_usize;
    let some = prop_oneof![3 => 1..5_usize, 1 => 50..70_usize, 1 => 250..300_usize];
    let off = prop_oneof![3 => Just(0_i64), 1 => Just(1), 1 => Just(-1)];
    prop_oneof![
        6 => (1..6_usize).prop_map(Ask::Append),
        3 => large.prop_map(Ask::Append),
        2 => some.clone().prop_map(Ask::Create),
        4 => off.clone().prop_map(Ask::Expect),
        3 => (0..4_usize).prop_map(Ask::CreateWorkspace),
        3 => prop_oneof![0..4_usize, 255..N_AGENTS + 2].prop_map(Ask::Activate),
        3 => (0..3_usize).prop_map(Ask::ToActivation),
        3 => ((0..3_usize), off).prop_map(|(n, off)| Ask::ExpectOfActivation(n, off)),
        1 => some.clone().prop_map(Ask::TooLarge),
        1 => (0..3_usize).prop_map(Ask::NoAnnex),
        1 => (some, any::<bool>()).prop_map(|(n, late)| Ask::Poison(n, late)),
        2 => Just(Ask::Repeat),
        2 => (0..20_usize).prop_map(Ask::Output),
    ]
}

/// What a request must be answered with.
#[derive(Debug)]
pub(super) enum Expected {
    /// So many events; an activation's may be more, of what it supersedes.
    Appends {
        at_least: u64,
        at_most: u64,
    },
    /// What the request of this number was answered with.
    Repeats(usize),
    Conflict {
        actual: u64,
    },
    Rejected,
    TooLarge,
    NoAnnex,
    Database,
    Stored,
}

pub(super) enum Sent {
    Write(Write),
    Output(OutputWrite),
}

/// What the log has by what was asked so far, in order.
pub(super) struct Model {
    node: u64,
    names: usize,
    workspaces: BTreeSet<usize>,
    activations: Vec<(ActivationId, u64)>,
    /// One that runs, and how much output it has.
    deployment: DeploymentId,
    output: u64,
    /// The newest request that can be sent again, and its number.
    newest: Option<(RequestId, Vec<NewEvent>, usize)>,
    /// What each request got.
    pub(super) got: Vec<Option<(Position, Position)>>,
}

impl Model {
    pub(super) fn new(deployment: DeploymentId, node: u64) -> Self {
        Self {
            node,
            names: 0,
            workspaces: BTreeSet::new(),
            activations: Vec::new(),
            deployment,
            output: 0,
            newest: None,
            got: Vec::new(),
        }
    }

    fn activation(&mut self, n: usize) -> Option<&mut (ActivationId, u64)> {
        let n_behind = self.activations.len().checked_sub(1 + n)?;
        self.activations.get_mut(n_behind)
    }

    fn fresh(&mut self, what: &str) -> NewEvent {
        self.names += 1;
        created(&format!("{what}-{}", self.names))
    }

    /// Makes the request with this number, and says what becomes of it.
    pub(super) fn ask(&mut self, ask: &Ask, number: usize) -> Option<(Sent, Expected)> {
        let exactly = |n: usize| Expected::Appends { at_least: n as u64, at_most: n as u64 };
        let (write, expected) = match ask {
            Ask::Append(n) => {
                self.node += *n as u64;
                (events(vec![one(); *n]), exactly(*n))
            }
            Ask::Create(n) => (events((0..*n).map(|_| self.fresh("made")).collect()), exactly(*n)),
            Ask::Expect(off) => {
                let node = StreamId::Node(node());
                let (expected, held) = self.expect(node, self.node, *off)?;
                self.node += u64::from(*off == 0);
                (expected, held)
            }
            Ask::CreateWorkspace(n) => {
                let workspace = WorkspaceName::new(format!("ws-{n}")).unwrap();
                let new = self.workspaces.insert(*n);
                let expected = if new { exactly(1) } else { Expected::Rejected };
                (command(Command::CreateWorkspace { workspace }), expected)
            }
            Ask::Activate(n) => {
                let (write, id) = activation(0..*n);
                if *n > N_AGENTS {
                    return Some((Sent::Write(write), Expected::Rejected));
                }
                self.activations.push((id, 1));
                let n = *n as u64;
                (write, Expected::Appends { at_least: 1 + n, at_most: 1 + 2 * n })
            }
            Ask::ToActivation(n) => {
                let (id, version) = self.activation(*n)?;
                *version += 1;
                let stream = StreamId::Activation(*id);
                (events(vec![NewEvent { stream, ..one() }]), exactly(1))
            }
            Ask::ExpectOfActivation(n, off) => {
                let (id, version) = *self.activation(*n)?;
                let write = self.expect(StreamId::Activation(id), version, *off)?;
                self.node += u64::from(*off == 0);
                write
            }
            Ask::TooLarge(n) => {
                let long = "\u{1}".repeat(ledger_core::limits::TEXT_CHARS_MAX);
                let annex = ledger_core::Annex {
                    description: Some(long.clone()),
                    error: Some(long),
                    ..ledger_core::Annex::default()
                };
                let large = std::iter::once(one().with_annex(annex));
                (events(vec![one(); *n].into_iter().chain(large).collect()), Expected::TooLarge)
            }
            Ask::NoAnnex(n) => {
                let stream = StreamId::Activation(self.activation(*n)?.0);
                let erased = AnnexErased { position: Position(1) };
                let order = NewEvent::new(StreamId::Node(node()), erased);
                (events(vec![NewEvent { stream, ..one() }, order]), Expected::NoAnnex)
            }
            Ask::Poison(n, late) => {
                let poison = self.fresh(if *late { "late" } else { "poison" });
                let poison = std::iter::once(poison);
                (events(vec![one(); *n].into_iter().chain(poison).collect()), Expected::Database)
            }
            Ask::Repeat => {
                let (request_id, given, number) = self.newest.clone()?;
                (Write { request_id, ..events(given) }, Expected::Repeats(number))
            }
            Ask::Output(length) => {
                let (deployment, offset) = (self.deployment, self.output);
                let piece = OutputWrite { deployment, offset, bytes: vec![b'x'; *length] };
                self.output += *length as u64;
                return Some((Sent::Output(piece), Expected::Stored));
            }
        };
        if let (Expected::Appends { .. }, ledger_store::Change::Events(given)) =
            (&expected, &write.change)
            && write.expect.is_empty()
        {
            self.newest = Some((write.request_id, given.to_vec(), number));
        }
        Some((Sent::Write(write), expected))
    }

    /// Makes an event that expects a version beside the one that the stream has.
    fn expect(&self, stream: StreamId, version: u64, off: i64) -> Option<(Write, Expected)> {
        let expected = Version(version.checked_add_signed(off)?);
        let write =
            Write { expect: vec![Expectation { stream, version: expected }], ..one_event() };
        let held = match off {
            0 => Expected::Appends { at_least: 1, at_most: 1 },
            _ => Expected::Conflict { actual: version },
        };
        Some((write, held))
    }

    /// Checks an answer, and returns where the log ends by it.
    pub(super) fn check(&mut self, expected: &Expected, answer: &Answer, end: u64) -> u64 {
        let Answer::Write(answer) = answer else {
            assert!(matches!((expected, answer), (Expected::Stored, Answer::Stored)));
            self.got.push(None);
            return end;
        };
        let mut got = None;
        match (expected, answer) {
            (
                Expected::Appends { at_least, at_most },
                Ok(Written { positions: Some((first, last)), repeated: false }),
            ) => {
                assert_eq!(first.0, end + 1, "a gap, or somebody else's place");
                let n_events = last.0 - end;
                assert!((*at_least..=*at_most).contains(&n_events), "{n_events}, not {expected:?}");
                got = Some((*first, *last));
            }
            (Expected::Repeats(number), Ok(written)) => {
                let before = Written { positions: self.got[*number], repeated: true };
                assert_eq!(*written, before);
            }
            (Expected::Conflict { actual }, Err(WriteError::Conflict { actual: told, .. })) => {
                assert_eq!(told.0, *actual);
            }
            (Expected::Rejected, Err(WriteError::Rejected(_)))
            | (Expected::TooLarge, Err(WriteError::TooLarge { .. }))
            | (Expected::NoAnnex, Err(WriteError::NoAnnex { .. }))
            | (Expected::Database, Err(WriteError::Database(_))) => {}
            _ => panic!("{expected:?}, and the answer is {answer:?}"),
        }
        self.got.push(got);
        got.map_or(end, |(_, last)| last.0)
    }
}

#[derive(Debug)]
pub(super) enum Answer {
    Write(Result<Written, WriteError>),
    Stored,
}

pub(super) async fn send(log: &Log, sent: Sent) -> Answer {
    match sent {
        Sent::Write(write) => Answer::Write(log.write(write).await),
        Sent::Output(piece) => {
            log.write_output(piece).await.unwrap();
            Answer::Stored
        }
    }
}
