//! A log whose file somebody changed: `verify` finds it, and says where.

mod kinds;
mod long;
mod postgres;
mod random;
mod schema;

pub(crate) use random::Content;

use crate::support::*;
use ledger_core::agent::Report;
use ledger_core::checkpoint::{Note, NoteKey};
use ledger_core::event::{ClosureKind, Digest, OutputDigest};
use ledger_core::key::PublicKey;
use ledger_core::verify::{Trust, Verified};
use ledger_core::{Command, DeploymentId, Timestamp};
use ledger_store::{Log, OutputWrite, VerifyError, verify_sqlite};
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A log with something in every table, closed, and its newest checkpoint.
pub(crate) struct World {
    pub(crate) file: Vec<u8>,
    pub(crate) newest: Note,
}

/// Returns the one log of these tests. It is made once.
pub(crate) fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(make())
    })
}

/// The key that signs, as whoever verifies knows it.
pub(crate) fn note_key() -> NoteKey {
    let key = PublicKey::from_bytes(signing_key().verifying_key().to_bytes());
    NoteKey { name: "ledger.example.org/test".parse().unwrap(), key }
}

async fn make() -> World {
    let place = Place::sqlite();
    let newest = fill(&place).await;
    World { file: std::fs::read(place.folder().join("ledger.db")).unwrap(), newest }
}

/// Fills a log, and returns its newest checkpoint.
async fn fill(place: &Place) -> Note {
    let clock = ManualClock::ticking();
    let log = place.open_at(clock).await;
    let version = connection(0).version;
    let start = Command::StartNode { node: node(), version, alive_until: None };
    write(&log, command(start)).await;
    let NoteKey { name: origin, key: public_key } = note_key();
    write(&log, command(Command::AddSigningKey { node: node(), origin, public_key })).await;
    write(&log, create_workspace()).await;
    let mut sessions = Vec::new();
    for n in 0..3 {
        let connection = connection(n);
        sessions.push(connection.session);
        let connect = Command::Connect { workspace: workspace(), connection };
        write(&log, command(connect)).await;
    }
    sign_now(&log).await;
    for round in 0..14 {
        deploy(&log, &sessions, round).await;
        if round % 7 == 0 {
            sign_now(&log).await;
        }
    }
    // The address of an agent's first session.
    let annexes = log.read(4.into(), 20).await.unwrap();
    let erased = annexes.iter().find(|record| record.annex.is_some()).unwrap().position;
    write(&log, erase(erased.0)).await;
    write(&log, events((0..300).map(|_| one()).collect())).await;
    let newest = sign_now(&log).await;
    log.close().await;
    newest
}

/// Signs and stores a checkpoint over everything.
pub(crate) async fn sign_now(log: &Log) -> Note {
    let note = signed(&log.tree().await.unwrap());
    log.write_checkpoint(&note).await.unwrap();
    note
}

/// Lets each agent deploy, with some output.
async fn deploy(log: &Log, sessions: &[ledger_core::SessionId], round: usize) {
    write(log, activation(0..sessions.len()).0).await;
    for (n, session) in sessions.iter().enumerate() {
        let state = log.state().await.unwrap();
        let known = &state.workspaces[&workspace()].agents[&agent(n)];
        let deployment = known.pending.as_ref().unwrap().id;
        let (workspace, agent, session) = (workspace(), agent(n), *session);
        write(log, command(Command::Start { workspace, agent, deployment, session })).await;
        let mut said = Vec::new();
        for line in 0..n {
            let bytes = format!("round {round}, line {line}\n").into_bytes();
            let offset = said.len() as u64;
            said.extend_from_slice(&bytes);
            log.write_output(OutputWrite { deployment, offset, bytes }).await.unwrap();
        }
        let closure = ClosureKind::Nixos;
        report(log, n, deployment, Report::ClosureFetched { closure_bytes: 5, closure_paths: 2 })
            .await;
        let generation = Some(round as u64);
        let activated = Report::ActivationSucceeded { closure, generation, previous: None };
        report(log, n, deployment, activated).await;
        let output = OutputDigest { blake3: Digest::of(&said), bytes: said.len() as u64 };
        report(log, n, deployment, Report::Succeeded { output }).await;
    }
}

async fn report(log: &Log, n: usize, deployment: DeploymentId, report: Report) {
    let (workspace, agent) = (workspace(), agent(n));
    let occurred_at = Timestamp::from_micros(NOON - 7);
    write(log, command(Command::Report { workspace, agent, deployment, report, occurred_at }))
        .await;
}

/// A copy of the log that may be changed.
pub(crate) struct Copy(tempfile::TempDir);

impl Copy {
    pub(crate) fn new() -> Self {
        let copy = Self(tempfile::tempdir().unwrap());
        copy.put(&world().file);
        copy
    }

    /// Replaces the file.
    pub(crate) fn put(&self, file: &[u8]) {
        std::fs::write(self.path(), file).unwrap();
    }

    pub(crate) fn folder(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("ledger.db")
    }

    /// The statement that made a table or an index.
    pub(crate) fn schema_of(&self, name: &str) -> String {
        let connection = Connection::open(self.path()).unwrap();
        let text = "SELECT sql FROM sqlite_schema WHERE name = ?";
        connection.query_row(text, [name], |row| row.get(0)).unwrap()
    }

    /// Runs statements as whoever may do everything, and leaves the triggers as they were.
    pub(crate) fn tamper(&self, sql: &str) {
        let connection = Connection::open(self.path()).unwrap();
        let triggers: Vec<(String, String)> = connection
            .prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        for (name, _) in &triggers {
            connection.execute_batch(&format!("DROP TRIGGER {name}")).unwrap();
        }
        connection.execute_batch("PRAGMA ignore_check_constraints = ON").unwrap();
        connection.execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        for (_, sql) in &triggers {
            connection.execute_batch(sql).unwrap();
        }
        connection.close().unwrap();
    }

    pub(crate) fn verify(&self, trust: &Trust) -> Result<Verified, VerifyError> {
        verify_sqlite(self.folder(), trust, &mut |_| true)
    }

    /// Verifies by what the log itself tells, and returns the line of the fault.
    pub(crate) fn fault(&self) -> String {
        self.fault_by(&Trust::default())
    }

    pub(crate) fn fault_by(&self, trust: &Trust) -> String {
        match self.verify(trust) {
            Err(VerifyError::Fault(fault)) => {
                let line = fault.to_string();
                assert!(!line.contains('\n') && !line.is_empty(), "{line:?} is not one line");
                line
            }
            other => panic!("no fault was found: {other:?}"),
        }
    }
}

#[test]
fn a_log_that_nobody_changed_is_whole() {
    let copy = Copy::new();
    let (key, note) = (note_key(), world().newest.clone());
    let outside = Trust { keys: vec![key.clone()], checkpoints: vec![note.clone()] };
    for trust in [Trust::default(), outside] {
        let verified = copy.verify(&trust).unwrap();
        assert_eq!(verified.size, note.checkpoint().size);
        assert_eq!(verified.root, note.checkpoint().root);
        let newest = verified.newest.clone().unwrap();
        assert_eq!((newest.size, &newest.key), (verified.size, &key));
        assert_eq!(verified.checkpoints, 4 + trust.checkpoints.len() as u64);
        assert_eq!((verified.erased, verified.outputs), (1, 42));
        // Three sessions, fourteen activations and an erasure, less the erased one.
        assert_eq!(verified.annexes, 17);
        assert!(verified.unknown.is_none() && !verified.open, "{verified:?}");
    }
    // Nothing was written, and nothing left beside it.
    assert!(std::fs::read(copy.path()).unwrap() == world().file);
    assert_eq!(std::fs::read_dir(copy.folder()).unwrap().count(), 1);
}
