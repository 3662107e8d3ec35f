//! What every test of the log needs: a clock that is set, and writes.

use crate::postgres::Database;
use ed25519_dalek::SigningKey;
use ledger_core::activation::{Activation, Target};
use ledger_core::checkpoint::{Checkpoint, Note, sign};
use ledger_core::command::Connection;
use ledger_core::event::{self, Digest};
use ledger_core::key::PublicKey;
use ledger_core::merkle::Tree;
use ledger_core::record::ActorKind;
use ledger_core::{
    ActivationId, Actor, AgentName, Annex, Command, DeploymentId, NewEvent, NodeId, Position,
    Record, RequestId, SessionId, StorePath, StreamId, System, Timestamp, WorkspaceName,
};
use ledger_store::{Change, Clock, Log, Options, OutputWrite, Write, WriteError, Written};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use uuid::Uuid;

/// 2026-03-01T12:00:00Z.
pub(crate) const NOON: i64 = 1_772_366_400_000_000;
pub(crate) const SECOND: i64 = 1_000_000;
pub(crate) const HOUR: i64 = 3_600 * SECOND;

/// A clock that stands still until it is set.
pub(crate) struct ManualClock {
    now: AtomicI64,
    uptime: AtomicI64,
    /// What passes whenever somebody looks.
    tick: i64,
}

impl ManualClock {
    pub(crate) fn new() -> Arc<Self> {
        Self::at(NOON)
    }

    pub(crate) fn at(micros: i64) -> Arc<Self> {
        Arc::new(Self { now: AtomicI64::new(micros), uptime: AtomicI64::new(0), tick: 0 })
    }

    /// A clock that is looked at once per batch, and never twice at the same time.
    pub(crate) fn ticking() -> Arc<Self> {
        Arc::new(Self { now: AtomicI64::new(NOON), uptime: AtomicI64::new(0), tick: 1 })
    }

    /// Lets time pass.
    pub(crate) fn pass(&self, micros: i64) {
        self.now.fetch_add(micros, Ordering::SeqCst);
        self.uptime.fetch_add(micros, Ordering::SeqCst);
    }

    /// Sets the clock without time passing.
    pub(crate) fn jump(&self, micros: i64) {
        self.now.fetch_add(micros, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.now.fetch_add(self.tick, Ordering::SeqCst))
    }

    fn uptime(&self) -> Duration {
        Duration::from_micros(self.uptime.load(Ordering::SeqCst).unsigned_abs())
    }
}

/// Where a log lies. It is gone with this value.
pub(crate) enum Place {
    Sqlite(tempfile::TempDir),
    Postgres(Database),
}

impl Place {
    pub(crate) fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    pub(crate) async fn postgres() -> Self {
        Self::Postgres(Database::new().await)
    }

    /// Returns the folder of a log on SQLite.
    pub(crate) fn folder(&self) -> &Path {
        match self {
            Self::Sqlite(folder) => folder.path(),
            Self::Postgres(_) => panic!("a log on PostgreSQL lies in no folder"),
        }
    }

    /// Returns the address of a log on PostgreSQL, as a server of ours gets it.
    pub(crate) fn service_url(&self) -> String {
        match self {
            Self::Postgres(database) => database.service(),
            Self::Sqlite(_) => panic!("a log on SQLite has no address"),
        }
    }

    pub(crate) async fn open(&self) -> Log {
        self.open_at(ManualClock::new()).await
    }

    pub(crate) async fn open_at(&self, clock: Arc<dyn Clock>) -> Log {
        // What is sent together is to become one batch.
        let options = Options { thread: false, ..Options::default() };
        match self {
            Self::Sqlite(folder) => {
                Log::open_sqlite_with(folder.path(), clock, options).await.unwrap()
            }
            Self::Postgres(database) => {
                let url = database.service();
                Log::open_postgres_with(&url, Some(clock), options).await.unwrap()
            }
        }
    }
}

pub(crate) fn fresh_request() -> RequestId {
    RequestId::new(Uuid::now_v7())
}

pub(crate) fn request(n: u128) -> RequestId {
    RequestId::new(Uuid::from_u128(n))
}

pub(crate) fn node() -> NodeId {
    NodeId::new(Uuid::from_u128(7))
}

pub(crate) fn workspace() -> WorkspaceName {
    WorkspaceName::new("default").unwrap()
}

pub(crate) fn agent(n: usize) -> AgentName {
    AgentName::new(format!("agent-{n}")).unwrap()
}

pub(crate) fn actor() -> Actor {
    Actor { kind: ActorKind::Node, id: node().to_string() }
}

/// A write of a command, under a request id of its own.
pub(crate) fn command(command: Command) -> Write {
    let given = Digest::of(format!("{command:?}").as_bytes());
    Write {
        request_id: fresh_request(),
        given,
        actor: actor(),
        expect: Vec::new(),
        change: Change::Command(Box::new(command)),
    }
}

/// A write of events as they are.
pub(crate) fn events(events: Vec<NewEvent>) -> Write {
    let given = Digest::of(format!("{events:?}").as_bytes());
    Write {
        request_id: fresh_request(),
        given,
        actor: actor(),
        expect: Vec::new(),
        change: Change::Events(Arc::new(events)),
    }
}

/// An event of a stream of its own kind.
pub(crate) fn created(name: &str) -> NewEvent {
    let stream = StreamId::Workspace(WorkspaceName::new(name).unwrap());
    NewEvent::new(stream, event::WorkspaceCreated {})
}

pub(crate) fn one() -> NewEvent {
    NewEvent::new(StreamId::Node(node()), event::NodeStopped {})
}

/// A write that always appends exactly one event.
pub(crate) fn one_event() -> Write {
    events(vec![one()])
}

/// An order to erase an annex.
pub(crate) fn erase(position: u64) -> Write {
    let annex = Annex { description: Some("asked for".to_owned()), ..Annex::default() };
    command(Command::EraseAnnex { node: node(), position: Position(position), annex })
}

/// The key that signs in tests.
pub(crate) fn signing_key() -> SigningKey {
    SigningKey::from_bytes(&[5; 32])
}

/// A signed checkpoint of the tree.
pub(crate) fn signed(tree: &Tree) -> Note {
    let origin = "ledger.example.org/test".parse().unwrap();
    sign(&Checkpoint { origin, size: tree.size(), root: tree.root() }, &signing_key())
}

pub(crate) fn create_workspace() -> Write {
    command(Command::CreateWorkspace { workspace: workspace() })
}

pub(crate) fn connection(n: usize) -> Connection {
    Connection {
        agent: agent(n),
        key: PublicKey::from_bytes([n as u8; 32]),
        session: SessionId::new(Uuid::now_v7()),
        node: node(),
        version: "0.1.0".to_owned().try_into().unwrap(),
        system: System::new("x86_64-linux").unwrap(),
        annex: Annex { address: Some("192.0.2.1".to_owned()), ..Annex::default() },
    }
}

/// Writes agents' registrations, each into its own stream.
pub(crate) fn register(agents: std::ops::Range<usize>) -> Write {
    let registered = |n: usize| {
        let public_key = PublicKey::from_bytes([n as u8; 32]);
        let stream = StreamId::Agent(workspace(), agent(n));
        NewEvent::new(stream, event::AgentRegistered { public_key })
    };
    events(agents.map(registered).collect())
}

/// An activation of these agents, under its own id as the request's.
pub(crate) fn activation(agents: impl IntoIterator<Item = usize>) -> (Write, ActivationId) {
    let id = ActivationId::new(Uuid::now_v7());
    (activation_of(id, agents), id)
}

/// The activation with this id.
pub(crate) fn activation_of(id: ActivationId, agents: impl IntoIterator<Item = usize>) -> Write {
    let target = |n| Target { store_path: store_path(n), rollback_script: None };
    let asked = command(Command::Activate(Activation {
        id,
        workspace: workspace(),
        spec_digest: Digest::of(b"spec"),
        agents: agents.into_iter().map(|n| (agent(n), target(n))).collect(),
        rollback_scripts: BTreeMap::new(),
        ci: None,
        annex: Annex { description: Some("by a test".to_owned()), ..Annex::default() },
    }));
    Write { request_id: id.into(), ..asked }
}

pub(crate) fn store_path(n: usize) -> StorePath {
    StorePath::new(format!("/nix/store/{n:032}-system")).unwrap()
}

pub(crate) fn system(n: usize) -> System {
    System::new(format!("{}-{n}", "s".repeat(50))).unwrap()
}

pub(crate) fn deployment(n: u128) -> DeploymentId {
    DeploymentId::new(Uuid::from_u128(n))
}

pub(crate) fn output(n: u128, offset: u64, bytes: &[u8]) -> OutputWrite {
    OutputWrite { deployment: deployment(n), offset, bytes: bytes.to_vec() }
}

pub(crate) fn connect(n: usize) -> Write {
    command(Command::Connect { workspace: workspace(), connection: connection(n) })
}

/// Reads the whole log in pages, and so checks that it has no gap.
pub(crate) async fn read_all(log: &Log) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    loop {
        let from = Position(records.len() as u64 + 1);
        let page = log.read(from, 1_000).await.unwrap();
        let n_page = page.len();
        records.extend(page);
        if n_page < 1_000 {
            let positions = records.iter().map(|record| record.position.0);
            assert!(positions.eq(1..=records.len() as u64), "positions are not gapless");
            return records;
        }
    }
}

/// Waits for a condition with a deadline far beyond what it takes.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(60), future).await {
        Ok(value) => value,
        Err(_) => panic!("waited for a minute: {what}"),
    }
}

/// Writes something that must succeed.
pub(crate) async fn write(log: &Log, write: Write) -> Written {
    log.write(write).await.unwrap()
}

pub(crate) fn positions(result: Result<Written, WriteError>) -> (u64, u64) {
    let (first, last) = result.unwrap().positions.unwrap();
    (first.0, last.0)
}
