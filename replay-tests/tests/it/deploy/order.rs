//! Several activations for one agent: which runs, and which gives way.

use super::{assert_code, assert_home, assert_runs, said, story, well};
use crate::rig::agent::killed_at_line;
use crate::rig::nix::{Closure, Kind};
use crate::rig::story::WELL;
use crate::rig::world::World;

#[test]
fn an_agent_that_was_away_catches_up_to_the_newest_only() {
    let world = World::new();
    let mut agent = world.agent("web-1");
    assert!(agent.process().terminate().success(), "an agent stops in good order");
    world.wait_for_events("AgentDisconnected", 1, |e| e.payload["reason"] == "agent_stopped");

    let old = world.nix.offer(&Closure::plain("old"));
    let new = world.nix.offer(&Closure::plain("new"));
    let waiting = world.start_activate(&[("web-1", &old)], &[]);
    world.wait_for_steps("web-1", "DeploymentRequested", 1);
    assert_code(&world.activate(&[("web-1", &new)], &["--async"]), 0);
    // Giving way to a newer one is an outcome of its own.
    let output = waiting.output();
    assert!(said(&output).to_lowercase().contains("superseded"), "{output:?}");
    assert_ne!(output.code(), Some(0), "not all succeeded: {output:?}");

    agent.restart(&world);
    world.wait_for_steps("web-1", "DeploymentSucceeded", 1);
    assert_runs(&agent, &new, 1);
    let requested = ["DeploymentRequested", "DeploymentSuperseded"];
    world.check_story(&agent, &story(&[&["AgentRegistered"], &requested, &WELL]));
}

#[test]
fn what_runs_goes_to_its_end_and_then_the_newest_is_deployed() {
    let world = World::new();
    let agent = world.agent("web-1");
    let slow = world.nix.offer(&Closure::new(Kind::HomeManager, "slow").gated());
    let never = world.nix.offer(&Closure::plain("never"));
    let last = world.nix.offer(&Closure::plain("last"));
    let first = world.start_activate(&[("web-1", &slow)], &[]);
    world.wait_for_steps("web-1", "ClosureFetched", 1);
    assert_code(&world.activate(&[("web-1", &never)], &["--async"]), 0);
    let third = world.start_activate(&[("web-1", &last)], &[]);
    world.wait_for_steps("web-1", "DeploymentRequested", 3);
    world.nix.open_gate();
    assert_code(&first.output(), 0);
    assert_code(&third.output(), 0);
    assert_home(&agent, &slow, 1);
    assert_runs(&agent, &last, 1);
    assert_eq!(world.nix.calls(), ["slow activate ", "slow activate  done"]);
    world.check_story(
        &agent,
        &story(&[
            &["AgentRegistered", "DeploymentRequested", "DeploymentStarted", "ClosureFetched"],
            &["DeploymentRequested", "DeploymentSuperseded", "DeploymentRequested"],
            &["ActivationSucceeded", "DeploymentSucceeded"],
            &WELL[1..],
        ]),
    );
}

#[test]
fn what_was_granted_and_not_heard_runs_before_what_was_requested_since() {
    let world = World::new();
    let mut agent = world.agent("web-1");
    // It is granted the first, and dies before that is on its disk.
    let doomed = killed_at_line(&agent.state(), 2);
    agent.restart_with(&world, doomed);
    world.wait_for_sessions("web-1", 2);
    let paths = ["first", "second"].map(|name| world.nix.offer(&Closure::plain(name)));
    let first = world.start_activate(&[("web-1", &paths[0])], &[]);
    assert_eq!(agent.process().wait().code(), None, "{}", agent.process().stderr());
    assert_eq!(agent.lose_last_record(), "started");
    world.wait_for_steps("web-1", "DeploymentStarted", 1);
    let second = world.start_activate(&[("web-1", &paths[1])], &[]);
    world.wait_for_steps("web-1", "DeploymentRequested", 2);
    agent.restart(&world);
    assert_code(&first.output(), 0);
    assert_code(&second.output(), 0);
    assert_runs(&agent, &paths[1], 2);
    let begun = ["AgentRegistered", "DeploymentRequested", "DeploymentStarted"];
    world.check_story(&agent, &story(&[&begun, &["DeploymentRequested"], &WELL[2..], &WELL[1..]]));
}

#[test]
fn what_has_not_started_can_be_cancelled_and_what_has_cannot() {
    let world = World::new();
    let mut agent = world.agent("web-1");
    agent.kill();
    world.wait_for_events("AgentDisconnected", 1, |_| true);
    let cancelled = world.nix.offer(&Closure::plain("cancelled"));
    let waiting = world.start_activate(&[("web-1", &cancelled)], &[]);
    let id = world.wait_for_steps("web-1", "DeploymentRequested", 1).event_id.to_string();
    world.ledger(&["cancel", &id]).expect_success();
    // Cancelling what is cancelled changes nothing.
    world.ledger(&["cancel", &id]).expect_success();
    let output = waiting.output();
    assert!(said(&output).to_lowercase().contains("cancel"), "{output:?}");
    assert_ne!(output.code(), Some(0), "{output:?}");

    agent.restart(&world);
    world.wait_for_sessions("web-1", 2);
    let slow = world.nix.offer(&Closure::new(Kind::HomeManager, "slow").gated());
    let running = world.start_activate(&[("web-1", &slow)], &[]);
    let started = world.wait_for_steps("web-1", "DeploymentStarted", 1).payload;
    let id = started["deployment"].as_str().expect("it is an id").to_owned();
    assert_code(&world.ledger(&["cancel", &id]), 4);
    world.nix.open_gate();
    assert_code(&running.output(), 0);
    assert_home(&agent, &slow, 1);
    let cancelled = ["DeploymentRequested", "DeploymentCancelled"];
    world.check_story(&agent, &story(&[&["AgentRegistered"], &cancelled, &WELL]));
}

#[test]
fn a_deployment_and_the_next_one_are_numbered_for_people() {
    let world = World::new();
    let agent = world.agent("web-1");
    let paths = ["a", "b"].map(|name| world.nix.offer(&Closure::plain(name)));
    for path in &paths {
        assert_code(&world.activate(&[("web-1", path)], &[]), 0);
    }
    for (number, path) in ["web-1#1", "web-1#2"].iter().zip(&paths) {
        let shown = world.ledger(&["deployment", number]).expect_success();
        assert!(shown.contains(path.as_str()), "{number}: {shown}");
    }
    world.check_story(&agent, &well(2));
}
