//! Random batches, some of whose requests are refused: by the log, by the database when
//! they are inserted, and by the database at the commit.

mod model;

use crate::attack::{execute, raw};
use crate::attack_postgres::{database, run};
use crate::support::*;
use futures_util::future::join_all;
use ledger_core::merkle::{Tree, root_at, tiles_for_root};
use ledger_core::verify::Trust;
use ledger_core::{Command, DeploymentId, Position, Record, State, StreamId};
use ledger_store::{Log, Readiness, WriteError, verify_postgres, verify_sqlite};
use model::{Ask, Model, N_AGENTS, ask, send};
use proptest::prelude::*;
use std::collections::HashMap;

/// What the database refuses: at the insertion, and at the commit.
const FAULTS_SQLITE: &str = "
    CREATE TABLE late (id INTEGER PRIMARY KEY,
        of INTEGER REFERENCES late (id) DEFERRABLE INITIALLY DEFERRED);
    CREATE TRIGGER poison BEFORE INSERT ON names WHEN NEW.name LIKE 'workspace/poison%'
        BEGIN SELECT raise(ABORT, 'poison'); END;
    CREATE TRIGGER late_poison AFTER INSERT ON names
        WHEN NEW.name LIKE 'workspace/late%' OR NEW.name = 'ClockConfirmed'
        BEGIN INSERT INTO late (of) VALUES (999); END";
const NO_FAULTS_SQLITE: &str = "DROP TRIGGER poison; DROP TRIGGER late_poison; DROP TABLE late";
const FAULTS_POSTGRES: &str = "
    CREATE FUNCTION public.poison() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN RAISE EXCEPTION 'poison'; END $$;
    CREATE TRIGGER poison BEFORE INSERT ON ledger.names FOR EACH ROW
        WHEN (NEW.name LIKE 'workspace/poison%') EXECUTE FUNCTION public.poison();
    CREATE CONSTRAINT TRIGGER late AFTER INSERT ON ledger.names
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
        WHEN (NEW.name LIKE 'workspace/late%' OR NEW.name = 'ClockConfirmed') EXECUTE FUNCTION public.poison()";
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

/// Has the database refuse a clock's confirmation at the commit, when it is decided.
async fn check_confirmation(place: &Place) {
    let log = place.open().await;
    write(&log, one_event()).await;
    log.close().await;
    let log = place.open_at(ManualClock::at(NOON - HOUR)).await;
    let confirm = || log.confirm_clock(command(Command::ConfirmClock { node: node() }));
    set_faults(place, true).await;
    for _ in 0..2 {
        let refused = confirm().await;
        assert!(matches!(refused, Err(WriteError::Database(_))), "{refused:?}");
        assert!(matches!(log.readiness(), Readiness::NotReady(_)), "nobody confirmed it");
        let refused = log.write(one_event()).await;
        assert!(matches!(refused, Err(WriteError::Unavailable { .. })), "{refused:?}");
    }
    set_faults(place, false).await;
    assert_eq!(positions(confirm().await), (2, 2));
    assert_eq!(log.readiness(), Readiness::Ready);
    assert_eq!(positions(log.write(one_event()).await), (3, 3));
    Reader::default().check(&log).await;
    log.close().await;
    let log = place.open_at(ManualClock::at(NOON - HOUR)).await;
    assert_eq!(log.readiness(), Readiness::Ready, "the log has it");
}

#[tokio::test]
async fn a_confirmation_that_the_database_takes_back_is_none() {
    check_confirmation(&Place::sqlite()).await;
    check_confirmation(&Place::postgres().await).await;
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
