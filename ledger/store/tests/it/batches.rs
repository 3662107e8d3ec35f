//! Random batches, some of whose requests are refused: by the log, by the database when
//! they are inserted, and by the database at the commit.

use crate::attack::{execute, raw};
use crate::attack_postgres::{database, run};
use crate::support::*;
use futures_util::future::join_all;
use ledger_core::event::AnnexErased;
use ledger_core::merkle::{Tree, root_at, tiles_for_root};
use ledger_core::verify::Trust;
use ledger_core::{
    ActivationId, Command, DeploymentId, NewEvent, Position, Record, RequestId, State, StreamId,
    Version, WorkspaceName,
};
use ledger_store::{
    Expectation, Log, OutputWrite, Write, WriteError, Written, verify_postgres, verify_sqlite,
};
use proptest::prelude::*;
use std::collections::{BTreeSet, HashMap};

/// Agents that are registered.
const N_AGENTS: usize = 300;

/// What the database refuses: at the insertion, and at the commit.
const FAULTS_SQLITE: &str = "
    CREATE TABLE late (id INTEGER PRIMARY KEY,
        of INTEGER REFERENCES late (id) DEFERRABLE INITIALLY DEFERRED);
    CREATE TRIGGER poison BEFORE INSERT ON names WHEN NEW.name LIKE 'workspace/poison%'
        BEGIN SELECT raise(ABORT, 'poison'); END;
    CREATE TRIGGER late_poison AFTER INSERT ON names WHEN NEW.name LIKE 'workspace/late%'
        BEGIN INSERT INTO late (of) VALUES (999); END";
const NO_FAULTS_SQLITE: &str = "DROP TRIGGER poison; DROP TRIGGER late_poison; DROP TABLE late";
const FAULTS_POSTGRES: &str = "
    CREATE FUNCTION public.poison() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN RAISE EXCEPTION 'poison'; END $$;
    CREATE TRIGGER poison BEFORE INSERT ON ledger.names FOR EACH ROW
        WHEN (NEW.name LIKE 'workspace/poison%') EXECUTE FUNCTION public.poison();
    CREATE CONSTRAINT TRIGGER late AFTER INSERT ON ledger.names
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
        WHEN (NEW.name LIKE 'workspace/late%') EXECUTE FUNCTION public.poison()";
const NO_FAULTS_POSTGRES: &str = "DROP FUNCTION public.poison() CASCADE";

async fn set_faults(place: &Place, on: bool) {
    match place {
        Place::Sqlite(_) => {
            let sql = if on { FAULTS_SQLITE } else { NO_FAULTS_SQLITE };
            execute(&mut raw(place).await, sql).await.unwrap();
        }
        Place::Postgres(_) => {
            let sql = if on { FAULTS_POSTGRES } else { NO_FAULTS_POSTGRES };
            run(&mut database(place).connect().await, sql).await.unwrap();
        }
    }
}

/// A request, over few streams so that requests meet.
#[derive(Clone, Debug)]
enum Ask {
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

fn ask() -> impl Strategy<Value = Ask> {
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
enum Expected {
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

enum Sent {
    Write(Write),
    Output(OutputWrite),
}

/// What the log has by what was asked so far, in order.
struct Model {
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
    got: Vec<Option<(Position, Position)>>,
}

impl Model {
    fn new(deployment: DeploymentId, node: u64) -> Self {
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
    fn ask(&mut self, ask: &Ask, number: usize) -> Option<(Sent, Expected)> {
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
    fn check(&mut self, expected: &Expected, answer: &Answer, end: u64) -> u64 {
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
enum Answer {
    Write(Result<Written, WriteError>),
    Stored,
}

async fn send(log: &Log, sent: Sent) -> Answer {
    match sent {
        Sent::Write(write) => Answer::Write(log.write(write).await),
        Sent::Output(piece) => {
            log.write_output(piece).await.unwrap();
            Answer::Stored
        }
    }
}

/// The log as whoever reads it knows it.
#[derive(Default)]
struct Reader {
    records: Vec<Record>,
    tree: Tree,
    state: State,
    versions: HashMap<StreamId, u64>,
}

impl Reader {
    /// Reads on, and holds the log's own knowledge to it.
    async fn check(&mut self, log: &Log) {
        let (tree, state) = (log.tree().await.unwrap(), log.state().await.unwrap());
        loop {
            let from = Position(self.records.len() as u64 + 1);
            let page = log.read(from, 1_000).await.unwrap();
            if page.is_empty() {
                break;
            }
            for record in page {
                assert_eq!(record.position.0, self.records.len() as u64 + 1);
                let version = self.versions.entry(record.stream.clone()).or_default();
                *version += 1;
                assert_eq!(record.version.0, *version, "{}", record.stream);
                self.tree.push(record.leaf_hash(), &mut |_| {});
                self.state.apply(&record);
                self.records.push(record);
            }
        }
        assert_eq!(tree, self.tree);
        assert_eq!(state, self.state);
        let tiles = log.tiles(&tree, &tiles_for_root(tree.size())).await.unwrap();
        assert_eq!(root_at(&tiles, tree.size()), Ok(tree.root()));
    }
}

/// Verifies what is stored, tiles included, and returns how many events it has.
async fn verified(place: &Place) -> u64 {
    let trust = Trust::default();
    let verified = match place {
        Place::Sqlite(folder) => verify_sqlite(folder.path(), &trust, &mut |_| true),
        Place::Postgres(_) => {
            let url = place.service_url();
            // It blocks on a runtime of its own.
            let verifying =
                std::thread::spawn(move || verify_postgres(&url, &trust, &mut |_| true));
            verifying.join().unwrap()
        }
    };
    verified.unwrap().size
}

/// Starts a deployment, which may have output.
async fn running(log: &Log) -> DeploymentId {
    let connection = connection(0);
    let session = connection.session;
    write(log, command(Command::Connect { workspace: workspace(), connection })).await;
    write(log, activation([0]).0).await;
    let state = log.state().await.unwrap();
    let deployment = state.workspaces[&workspace()].agents[&agent(0)].pending.as_ref().unwrap().id;
    let (workspace, agent) = (workspace(), agent(0));
    write(log, command(Command::Start { workspace, agent, deployment, session })).await;
    deployment
}

async fn check_history(place: &Place, rounds: &[(bool, Vec<Ask>)]) {
    let mut logs = vec![place.open().await];
    if matches!(place, Place::Postgres(_)) {
        logs.push(place.open().await);
    }
    write(&logs[0], create_workspace()).await;
    write(&logs[0], register(0..N_AGENTS)).await;
    let mut reader = Reader::default();
    let deployment = running(&logs[0]).await;
    reader.check(&logs[0]).await;
    let node = reader.versions.get(&StreamId::Node(node())).copied().unwrap_or_default();
    let mut model = Model::new(deployment, node);
    let mut end = reader.records.len() as u64;
    set_faults(place, true).await;
    for (other, asks) in rounds {
        let log = &logs[usize::from(*other).min(logs.len() - 1)];
        let mut number = model.got.len();
        let (mut sent, mut expected) = (Vec::new(), Vec::new());
        for ask in asks {
            if let Some((request, verdict)) = model.ask(ask, number) {
                sent.push(send(log, request));
                expected.push(verdict);
                number += 1;
            }
        }
        // All of them wait at once, and so are judged together.
        for (expected, answer) in expected.iter().zip(join_all(sent).await) {
            end = model.check(expected, &answer, end);
        }
        reader.check(log).await;
        assert_eq!(reader.records.len() as u64, end);
    }
    set_faults(place, false).await;
    for log in &logs {
        reader.check(log).await;
        log.close().await;
    }
    let fresh = place.open().await;
    reader.check(&fresh).await;
    assert_eq!(positions(fresh.write(one_event()).await), (end + 1, end + 1));
    fresh.close().await;
    assert_eq!(verified(place).await, end + 1);
}

fn rounds() -> impl Strategy<Value = Vec<(bool, Vec<Ask>)>> {
    let round = (proptest::bool::weighted(0.2), proptest::collection::vec(ask(), 1..9));
    proptest::collection::vec(round, 1..7)
}

fn block_on(future: impl Future<Output = ()>) {
    // On one thread, what is sent together waits together.
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn every_request_of_a_batch_gets_what_it_would_alone_on_sqlite(rounds in rounds()) {
        block_on(async { check_history(&Place::sqlite(), &rounds).await });
    }

    #[test]
    fn every_request_of_a_batch_gets_what_it_would_alone_on_postgres(rounds in rounds()) {
        block_on(async { check_history(&Place::postgres().await, &rounds).await });
    }
}
