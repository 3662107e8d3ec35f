//! Servers and agents that die at the worst moment, and come back.

use super::{assert_code, assert_home, assert_runs, story, well};
use crate::rig::agent::{copy_folder, slow_syncs};
use crate::rig::cache::Mood;
use crate::rig::nix::{Closure, Kind};
use crate::rig::process::Process;
use crate::rig::story::{WELL, check_log};
use crate::rig::wait_for;
use crate::rig::world::World;
use ledger_core::StorePath;

/// Begins a deployment and waits until its activation waits at the gate.
fn begin_at_the_gate(world: &World, name: &str) -> (StorePath, Process) {
    let path = world.nix.offer(&Closure::new(Kind::HomeManager, name).gated());
    let activate = world.start_activate(&[("web-1", &path)], &[]);
    let call = format!("{name} activate ");
    wait_for("the activation to begin", || world.nix.calls().contains(&call).then_some(()));
    (path, activate)
}

/// Checks that the activation's script was called once and came to its end.
#[track_caller]
fn assert_called_once(world: &World, name: &str) {
    let calls = world.nix.calls();
    assert_eq!(calls, [format!("{name} activate "), format!("{name} activate  done")]);
}

#[test]
fn a_server_killed_during_an_activation_learns_how_it_ended() {
    let mut world = World::new();
    let agent = world.agent("web-1");
    let (path, activate) = begin_at_the_gate(&world, "home");
    world.wait_for_steps("web-1", "ClosureFetched", 1);
    let session =
        world.wait_for_events("AgentConnected", 1, |_| true)[0].payload["session"].clone();
    world.server.kill();
    world.nix.open_gate();
    wait_for("the activation to end", || (world.nix.calls().len() == 2).then_some(()));
    world.server.restart();
    assert_code(&activate.output(), 0);
    assert_home(&agent, &path, 1);
    assert_called_once(&world, "home");
    world.check_story(&agent, &well(1));
    let lost = world.wait_for_events("SessionsLost", 1, |_| true);
    assert_eq!(lost.len(), 1);
    assert_eq!(lost[0].payload["sessions"][0]["session"], session);
}

#[test]
fn a_server_killed_during_a_fetch_learns_how_it_ended() {
    let mut world = World::new();
    let agent = world.agent("web-1");
    let path = world.nix.offer(&Closure::plain("site"));
    world.nix.cache.set(Mood::Hanging);
    let activate = world.start_activate(&[("web-1", &path)], &[]);
    world.nix.cache.wait_until_someone_hangs();
    world.server.kill();
    world.nix.cache.set(Mood::Well);
    world.server.restart();
    assert_code(&activate.output(), 0);
    assert_runs(&agent, &path, 1);
    world.check_story(&agent, &well(1));
}

#[test]
fn a_server_killed_again_and_again_loses_and_doubles_nothing() {
    let mut world = World::new();
    let agent = world.agent("web-1");
    for round in 1..=5 {
        let path = world.nix.offer(&Closure::plain("site"));
        let activate = world.start_activate(&[("web-1", &path)], &[]);
        // A little later into the deployment each time.
        let steps = ["DeploymentRequested", "DeploymentStarted", "ClosureFetched"];
        world.wait_for_steps("web-1", steps[round % steps.len()], round);
        world.server.restart();
        assert_code(&activate.output(), 0);
        assert_runs(&agent, &path, round as u64);
    }
    world.check_story(&agent, &well(5));
}

#[test]
fn a_server_killed_in_each_sync_of_a_deployment_loses_and_doubles_nothing() {
    let mut world = World::new();
    let agent = world.agent("web-1");
    let mut kills = 0;
    for n in 1..=6 {
        let path = world.nix.offer(&Closure::plain("site"));
        let tracer = world.server.kill_in("fdatasync,fsync", n);
        let mut activate = world.start_activate(&[("web-1", &path)], &[]);
        // With a large n it may get by with fewer syncs.
        let killed = wait_for("the server's death, or the end without it", || {
            let died = world.server.process().has_ended().is_some();
            (died || activate.has_ended().is_some()).then_some(died)
        });
        drop(tracer);
        kills += usize::from(killed);
        world.server.restart();
        assert_code(&activate.output(), 0);
        assert_runs(&agent, &path, n as u64);
    }
    assert!(kills >= 3, "the server died {kills} times only");
    world.check_story(&agent, &well(6));
}

#[test]
fn a_server_that_stops_in_good_order_says_so_and_loses_no_session() {
    let mut world = World::new();
    let agent = world.agent("web-1");
    assert!(world.server.terminate().success());
    world.server.restart();
    world.wait_for_sessions("web-1", 2);
    world.wait_for_events("NodeStopped", 1, |_| true);
    world.wait_for_events("AgentDisconnected", 1, |e| e.payload["reason"] == "node_stopped");
    assert!(!world.log().iter().any(|event| event.type_name == "SessionsLost"));
    world.check_story(&agent, &["AgentRegistered"]);
}

#[test]
fn an_agent_killed_at_each_step_of_its_journal_comes_to_the_same_end() {
    killed_at_each_step(Kind::Plain);
}

#[test]
fn an_agent_killed_at_each_step_activates_by_script_once_each_time() {
    let world = killed_at_each_step(Kind::HomeManager);
    let calls = world.nix.calls();
    assert_eq!(calls.len(), 2 * STEPS.len(), "{calls:?}");
}

/// The journal's records of a deployment that goes well.
const STEPS: [&str; 7] =
    ["admitted", "started", "fetched", "activating", "activated", "ended", "answered"];

fn killed_at_each_step(kind: Kind) -> World {
    let world = World::new();
    let mut agent = world.agent("web-1");
    for (done, step) in STEPS.iter().enumerate() {
        agent.restart_with(&world, slow_syncs());
        world.wait_for_sessions("web-1", 2 * done + 2);
        let path = world.nix.offer(&Closure::new(kind, step));
        let activate = world.start_activate(&[("web-1", &path)], &[]);
        agent.wait_for_record(step);
        agent.kill();
        agent.restart(&world);
        let output = activate.output();
        assert_eq!(output.code(), Some(0), "killed when {step}: {output:?}");
        match kind {
            Kind::HomeManager => assert_home(&agent, &path, done as u64 + 1),
            _ => assert_runs(&agent, &path, done as u64 + 1),
        }
    }
    world.check_story(&agent, &well(STEPS.len()));
    world
}

#[test]
fn an_agent_killed_during_a_fetch_fetches_on() {
    let world = World::new();
    let mut agent = world.agent("web-1");
    let path = world.nix.offer(&Closure::plain("site"));
    world.nix.cache.set(Mood::Hanging);
    let activate = world.start_activate(&[("web-1", &path)], &[]);
    world.nix.cache.wait_until_someone_hangs();
    agent.kill();
    agent.restart(&world);
    world.wait_for_sessions("web-1", 2);
    world.nix.cache.set(Mood::Well);
    assert_code(&activate.output(), 0);
    assert_runs(&agent, &path, 1);
    world.check_story(&agent, &well(1));
}

#[test]
fn an_agent_killed_during_an_activation_finds_it_and_does_not_begin_another() {
    let world = World::new();
    let mut agent = world.agent("web-1");
    let (path, activate) = begin_at_the_gate(&world, "home");
    agent.kill();
    agent.restart(&world);
    world.wait_for_sessions("web-1", 2);
    world.nix.open_gate();
    assert_code(&activate.output(), 0);
    assert_home(&agent, &path, 1);
    assert_called_once(&world, "home");
    world.check_story(&agent, &well(1));
}

#[test]
fn an_activation_that_ended_while_its_agent_was_dead_is_reported() {
    let world = World::new();
    let mut agent = world.agent("web-1");
    let (path, activate) = begin_at_the_gate(&world, "home");
    agent.kill();
    world.nix.open_gate();
    wait_for("the activation to end", || (world.nix.calls().len() == 2).then_some(()));
    agent.restart(&world);
    assert_code(&activate.output(), 0);
    assert_home(&agent, &path, 1);
    assert_called_once(&world, "home");
    world.check_story(&agent, &well(1));
}

#[test]
fn a_power_cut_during_an_activation_is_reported_and_nothing_is_repeated() {
    let world = World::new();
    let mut agent = world.agent("web-1");
    let (_, activate) = begin_at_the_gate(&world, "home");
    agent.cut_power();
    agent.restart(&world);
    assert_code(&activate.output(), 5);
    let failed = world.wait_for_steps("web-1", "DeploymentFailed", 1).payload;
    assert_eq!((&failed["reason"], &failed["outcome"]), (&"interrupted".into(), &"unknown".into()));
    // The script is no child of ours, so it may go on; but there is only the one.
    let begun = world.nix.calls().iter().filter(|call| !call.ends_with("done")).count();
    assert_eq!(begun, 1);
    // And the machine can be deployed again.
    let next = world.nix.offer(&Closure::plain("next"));
    assert_code(&world.activate(&[("web-1", &next)], &[]), 0);
    let cut = ["DeploymentRequested", "DeploymentStarted", "ClosureFetched", "DeploymentFailed"];
    world.check_story(&agent, &story(&[&["AgentRegistered"], &cut, &WELL]));
}

#[test]
fn an_agent_that_lost_its_state_says_so() {
    let world = World::new();
    let mut agent = world.agent("web-1");
    let (_, activate) = begin_at_the_gate(&world, "home");
    world.wait_for_steps("web-1", "ClosureFetched", 1);
    agent.cut_power();
    std::fs::remove_dir_all(agent.state()).expect("the state can be removed");
    world.ledger(&["agents", "rekey", "web-1"]).expect_success();
    agent.restart(&world);
    assert_code(&activate.output(), 5);
    let failed = world.wait_for_steps("web-1", "DeploymentFailed", 1).payload;
    assert_eq!(failed["reason"], "state_lost");
    let begin = ["DeploymentRequested", "DeploymentStarted", "ClosureFetched"];
    let end = ["AgentRekeyed", "AgentRegistered", "DeploymentFailed"];
    world.check_story(&agent, &story(&[&["AgentRegistered"], &begin, &end]));
}

#[test]
fn reports_made_while_the_server_was_down_survive_the_agents_death_too() {
    let mut world = World::new();
    let mut agent = world.agent("web-1");
    let (path, activate) = begin_at_the_gate(&world, "home");
    world.wait_for_steps("web-1", "ClosureFetched", 1);
    world.server.kill();
    world.nix.open_gate();
    agent.wait_for_record("ended");
    agent.cut_power();
    agent.restart(&world);
    world.server.restart();
    assert_code(&activate.output(), 0);
    assert_home(&agent, &path, 1);
    assert_called_once(&world, "home");
    world.check_story(&agent, &well(1));
    check_log(&world.log());
}

#[test]
fn an_agent_whose_server_forgot_history_stops_deploying_and_says_so() {
    let mut world = World::new();
    let mut agent = world.agent("web-1");
    assert!(world.server.terminate().success());
    let backup = world.folder().join("backup");
    copy_folder(&world.server.data(), &backup);
    world.server.restart();
    let path = world.nix.offer(&Closure::plain("site"));
    assert_code(&world.activate(&[("web-1", &path)], &[]), 0);

    world.server.kill();
    std::fs::remove_dir_all(world.server.data()).expect("the data can be removed");
    copy_folder(&backup, &world.server.data());
    world.server.restart();
    let said = agent.process().wait_for_line("what is wrong", |line| {
        line.contains("history was rewritten").then(|| line.to_owned())
    });
    assert!(said.contains("move both files away"), "it does not say what to do next: {said}");
    assert_eq!(agent.process().wait().code(), Some(3));
    let next = world.nix.offer(&Closure::plain("next"));
    assert_code(&world.activate(&[("web-1", &next)], &["--timeout", "3s"]), 1);
    assert_runs(&agent, &path, 1);
    assert_eq!(world.story("web-1"), ["AgentRegistered", "DeploymentRequested"]);
    check_log(&world.log());
}

#[test]
fn a_second_server_on_the_same_data_refuses_to_start() {
    let world = World::new();
    let data = world.server.data();
    let data = data.to_str().expect("the path is UTF-8");
    let output = world.ledger(&["serve", "--listen", "127.0.0.1:0", "--data", data]);
    assert!(!output.status.success());
    assert!(output.stderr.contains(data) || output.stderr.contains("another"), "{output:?}");
    // And the first goes on.
    check_log(&world.log());
}
