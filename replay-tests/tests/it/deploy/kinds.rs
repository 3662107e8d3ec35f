//! What a closure is decides how it is activated.

use super::{assert_code, assert_home, assert_runs, well};
use crate::rig::nix::{Closure, Kind};
use crate::rig::world::World;

/// Deploys a closure of the kind and checks the calls of its scripts, in order.
#[track_caller]
fn check(kind: Kind, word: &str, calls: &[&str]) {
    let world = World::new();
    let agent = world.agent("machine");
    let path = world.nix.offer(&Closure::new(kind, "new"));
    assert_code(&world.activate(&[("machine", &path)], &[]), 0);
    match kind {
        Kind::HomeManager => assert_home(&agent, &path, 1),
        _ => assert_runs(&agent, &path, 1),
    }
    let made = world.nix.calls();
    let begun: Vec<_> = made.iter().filter(|call| !call.ends_with("done")).collect();
    assert_eq!(begun, calls, "the calls in order");
    let activated = world.wait_for_steps("machine", "ActivationSucceeded", 1).payload;
    assert_eq!(activated["kind"], word);
    assert_eq!(activated["generation"], 1);
    world.check_story(&agent, &well(1));
}

#[test]
fn nixos_is_tested_before_it_becomes_the_boot_entry() {
    let calls = ["new switch-to-configuration test", "new switch-to-configuration boot"];
    check(Kind::Nixos, "nixos", &calls);
}

#[test]
fn home_manager_is_activated_by_its_own_script() {
    check(Kind::HomeManager, "home_manager", &["new activate "]);
}

#[test]
fn darwin_is_activated_for_the_user_and_then_for_the_system() {
    check(Kind::Darwin, "darwin", &["new activate-user ", "new activate "]);
}

#[test]
fn nixos_that_fails_its_test_leaves_profile_and_boot_entry_alone() {
    let world = World::new();
    let agent = world.agent("machine");
    let good = world.nix.offer(&Closure::new(Kind::Nixos, "good"));
    assert_code(&world.activate(&[("machine", &good)], &[]), 0);
    let bad = world.nix.offer(&Closure::new(Kind::Nixos, "bad").failing(4));
    assert_code(&world.activate(&[("machine", &bad)], &[]), 5);
    assert_runs(&agent, &good, 1);
    let calls = world.nix.calls();
    assert!(
        !calls.iter().any(|call| call.starts_with("bad") && call.contains("boot")),
        "{calls:?}"
    );
    let failed = world.wait_for_steps("machine", "ActivationFailed", 1).payload;
    assert_eq!((&failed["exit_status"], &failed["previous"]), (&4.into(), &good.as_str().into()));
    let failing = ["ClosureFetched", "ActivationFailed", "DeploymentFailed"];
    let begin = ["DeploymentRequested", "DeploymentStarted"];
    world.check_story(&agent, &super::story(&[&well(1), &begin, &failing]));
}
