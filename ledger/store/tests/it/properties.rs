//! Random histories, through the log and a restart.

use crate::support::*;
use ledger_core::agent::Report;
use ledger_core::event::DisconnectReason;
use ledger_core::{Annex, Command, DeploymentId, State, Timestamp};
use ledger_store::{Log, Write};
use proptest::prelude::*;

/// One step of a history, over few agents so that steps meet.
#[derive(Clone, Debug)]
enum Step {
    CreateWorkspace,
    Connect(usize),
    Disconnect(usize),
    Activate(Vec<usize>),
    Start(usize),
    Fetched(usize),
    Cancel(usize),
    Retire(usize),
    Rekey(usize),
    StartNode,
    /// Sends the newest write again.
    Repeat,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let agent = 0..4_usize;
    prop_oneof![
        2 => Just(Step::CreateWorkspace),
        6 => agent.clone().prop_map(Step::Connect),
        2 => agent.clone().prop_map(Step::Disconnect),
        5 => proptest::collection::vec(agent.clone(), 0..4).prop_map(Step::Activate),
        5 => agent.clone().prop_map(Step::Start),
        3 => agent.clone().prop_map(Step::Fetched),
        2 => agent.clone().prop_map(Step::Cancel),
        1 => agent.clone().prop_map(Step::Retire),
        1 => agent.prop_map(Step::Rekey),
        1 => Just(Step::StartNode),
        2 => Just(Step::Repeat),
        1 => Just(Step::Restart),
    ]
}

/// Makes the write of a step, aimed at what the state has, if it has it.
fn write_of(step: &Step, state: &State) -> Option<Write> {
    let known = |n: &usize| state.workspaces.get(&workspace())?.agents.get(&agent(*n));
    let pending = |n| known(n)?.pending.as_ref().map(|pending| pending.id);
    let running = |n| known(n)?.running.as_ref().map(|running| running.deployment.id);
    let none = || deployment(0);
    let (workspace, annex) = (workspace(), Annex::default());
    Some(command(match step {
        Step::CreateWorkspace => Command::CreateWorkspace { workspace },
        Step::Connect(n) => return Some(connect(*n)),
        Step::Disconnect(n) => Command::Disconnect {
            session: state.workspaces.get(&workspace)?.sessions.get(&agent(*n))?.id,
            workspace,
            agent: agent(*n),
            reason: DisconnectReason::AgentStopped,
        },
        Step::Activate(agents) => return Some(activation(agents.iter().copied()).0),
        Step::Start(n) => Command::Start {
            workspace,
            agent: agent(*n),
            deployment: pending(n).unwrap_or_else(none),
            session: connection(*n).session,
        },
        Step::Fetched(n) => Command::Report {
            workspace,
            agent: agent(*n),
            deployment: running(n).unwrap_or_else(none),
            report: Report::ClosureFetched { closure_bytes: 1, closure_paths: 1 },
            occurred_at: Timestamp::from_micros(NOON - 7),
        },
        Step::Cancel(n) => {
            let deployment: DeploymentId = pending(n).unwrap_or_else(none);
            Command::Cancel { workspace, agent: agent(*n), deployment, annex }
        }
        Step::Retire(n) => Command::RetireAgent { workspace, agent: agent(*n), annex },
        Step::Rekey(n) => {
            Command::RekeyAgent { workspace, agent: agent(*n), public_key: None, annex }
        }
        Step::StartNode => {
            Command::StartNode { node: node(), version: connection(0).version, alive_until: None }
        }
        Step::Repeat | Step::Restart => return None,
    }))
}

/// Copies a write, as a client that did not hear the answer sends it again.
fn again(write: &Write) -> Write {
    let ledger_store::Change::Command(command) = &write.change else { unreachable!() };
    Write {
        request_id: write.request_id,
        given: write.given,
        actor: write.actor.clone(),
        expect: write.expect.clone(),
        change: ledger_store::Change::Command(command.clone()),
    }
}

async fn run(steps: Vec<Step>) {
    let place = Place::sqlite();
    let mut log = place.open().await;
    let mut newest: Option<(Write, Option<(u64, u64)>)> = None;
    for step in steps {
        let state = log.state().await.unwrap();
        match step {
            Step::Restart => {
                log.close().await;
                log = place.open().await;
                assert_eq!(log.state().await.unwrap(), state);
            }
            Step::Repeat => {
                let Some((write, Some(positions))) = &newest else { continue };
                let written = log.write(again(write)).await.unwrap();
                assert!(written.repeated);
                assert_eq!(written.positions.map(|(a, b)| (a.0, b.0)), Some(*positions));
                assert_eq!(log.state().await.unwrap(), state);
            }
            step => {
                let Some(write) = write_of(&step, &state) else { continue };
                let result = log.write(again(&write)).await;
                let positions = result.ok().and_then(|w| w.positions);
                newest = Some((write, positions.map(|(a, b)| (a.0, b.0))));
            }
        }
    }
    check(log, &place).await;
}

/// Checks that state, log and a fresh fold of the log agree, before and after a restart.
async fn check(log: Log, place: &Place) {
    let (records, state) = (read_all(&log).await, log.state().await.unwrap());
    let mut folded = State::default();
    records.iter().for_each(|record| folded.apply(record));
    assert_eq!(folded, state);
    let mut versions = std::collections::HashMap::new();
    for record in &records {
        let version = versions.entry(&record.stream).or_insert(0);
        *version += 1;
        assert_eq!(record.version.0, *version);
    }
    log.close().await;
    let log = place.open().await;
    assert_eq!(log.state().await.unwrap(), state);
    assert_eq!(read_all(&log).await, records);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn a_restart_changes_nothing(steps in proptest::collection::vec(step(), 1..40)) {
        // Most histories should get past the first refusal.
        let steps = [vec![Step::CreateWorkspace, Step::Connect(0), Step::Connect(1)], steps].concat();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(steps));
    }
}
