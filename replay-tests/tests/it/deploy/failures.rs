//! What goes badly, and in whose words it is told.

use super::{assert_code, assert_runs, said, story};
use crate::rig::cache::Mood;
use crate::rig::nix::{Closure, Kind, Signed};
use crate::rig::story::WELL;
use crate::rig::world::World;
use ledger_core::StorePath;

/// What an agent's stream holds of a deployment whose fetch failed.
const NOT_FETCHED: [&str; 3] = ["DeploymentRequested", "DeploymentStarted", "DeploymentFailed"];

/// Activates what cannot be fetched, and checks that the words are passed on.
#[track_caller]
fn fails_to_fetch(world: &World, path: &StorePath, times: usize, words: &str) {
    let output = world.activate(&[("web-1", path)], &[]);
    // The machine is still on the old closure.
    assert_code(&output, 1);
    assert!(said(&output).contains(words), "the words of Nix are missing: {output:?}");
    let failed = world.wait_for_steps("web-1", "DeploymentFailed", times);
    assert_eq!(failed.payload["reason"], "fetch_failed");
    assert_eq!(failed.payload["outcome"], "unchanged");
    let shown = world.ledger(&["deployment", &format!("web-1#{times}")]).expect_success();
    assert!(shown.contains(words), "it is not kept why: {shown}");
}

#[test]
fn a_closure_that_nobody_trusted_has_signed_is_refused_in_the_words_of_nix() {
    let world = World::new();
    let agent = world.agent("web-1");
    for (times, signed) in [(1, Signed::Stranger), (2, Signed::Not)] {
        let path = world.nix.build(&Closure::plain("forged"));
        world.nix.publish(&path, signed);
        fails_to_fetch(&world, &path, times, "is not signed by any of the keys");
    }
    assert_eq!(agent.profile(), None);
    world.check_story(&agent, &story(&[&["AgentRegistered"], &NOT_FETCHED, &NOT_FETCHED]));
}

#[test]
fn a_closure_that_no_cache_has_fails_until_it_is_pushed() {
    let world = World::new();
    let agent = world.agent("web-1");
    let path = world.nix.build(&Closure::plain("late"));
    fails_to_fetch(&world, &path, 1, path.as_str());
    // That it was missing is not remembered against it.
    world.nix.publish(&path, Signed::Trusted);
    assert_code(&world.activate(&[("web-1", &path)], &[]), 0);
    assert_runs(&agent, &path, 1);
    world.check_story(&agent, &story(&[&["AgentRegistered"], &NOT_FETCHED, &WELL]));
}

#[test]
fn a_cache_that_is_down_fails_the_deployment_and_not_the_agent() {
    let world = World::new();
    let agent = world.agent("web-1");
    let path = world.nix.offer(&Closure::plain("site"));
    world.nix.cache.set(Mood::Gone);
    fails_to_fetch(&world, &path, 1, path.as_str());
    world.nix.cache.set(Mood::Failing);
    fails_to_fetch(&world, &path, 2, path.as_str());
    world.nix.cache.set(Mood::Well);
    assert_code(&world.activate(&[("web-1", &path)], &[]), 0);
    assert_runs(&agent, &path, 1);
    world.check_story(&agent, &story(&[&["AgentRegistered"], &NOT_FETCHED, &NOT_FETCHED, &WELL]));
}

#[test]
fn an_activation_that_fails_is_told_with_its_status_and_words() {
    let world = World::new();
    let agent = world.agent("web-1");
    let path = world.nix.offer(&Closure::new(Kind::HomeManager, "broken").failing(3));
    let output = world.activate(&[("web-1", &path)], &[]);
    // Nobody knows whether the machine is back on the old closure.
    assert_code(&output, 5);
    assert!(said(&output).contains("broken activate cannot do it"), "{output:?}");
    let failed = world.wait_for_steps("web-1", "ActivationFailed", 1);
    assert_eq!(failed.payload["exit_status"], 3);
    assert_eq!(failed.payload["kind"], "home_manager");
    let ended = world.wait_for_steps("web-1", "DeploymentFailed", 1);
    assert_eq!(ended.payload["reason"], "activation_failed");
    assert_eq!(world.nix.calls().len(), 2, "the activation is not repeated");
    let failing = ["ClosureFetched", "ActivationFailed", "DeploymentFailed"];
    world.check_story(&agent, &story(&[&["AgentRegistered"], &WELL[..2], &failing]));
}

#[test]
fn one_agent_that_fails_does_not_hold_up_another() {
    let world = World::new();
    let (bad, good) = (world.agent("bad"), world.agent("good"));
    let missing = world.nix.build(&Closure::plain("missing"));
    let path = world.nix.offer(&Closure::plain("site"));
    assert_code(&world.activate(&[("bad", &missing), ("good", &path)], &[]), 1);
    assert_runs(&good, &path, 1);
    world.check_story(&bad, &story(&[&["AgentRegistered"], &NOT_FETCHED]));
    world.check_story(&good, &super::well(1));
}
