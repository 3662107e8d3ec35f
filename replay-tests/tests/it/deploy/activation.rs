//! What goes well.

use super::{assert_code, assert_runs, said, well};
use crate::rig::nix::Closure;
use crate::rig::world::World;

#[test]
fn two_agents_are_activated_and_then_changed() {
    let world = World::new();
    let (one, two) = (world.agent("web-1"), world.agent("web-2"));
    let first = world.nix.offer(&Closure::plain("site"));
    let output = world.activate(&[("web-1", &first), ("web-2", &first)], &[]);
    assert_code(&output, 0);
    for name in ["web-1", "web-2"] {
        assert!(said(&output).contains(name), "{name} is not mentioned:\n{}", said(&output));
    }
    assert_runs(&one, &first, 1);
    assert_runs(&two, &first, 1);

    let second = world.nix.offer(&Closure::plain("site"));
    assert_code(&world.activate(&[("web-1", &second), ("web-2", &second)], &[]), 0);
    assert_runs(&one, &second, 2);
    assert_runs(&two, &second, 2);

    world.check_story(&one, &well(2));
    world.check_story(&two, &well(2));
    assert_eq!(one.acknowledged().len(), 6, "three reports for each deployment");
    let activated = world.wait_for_steps("web-1", "ActivationSucceeded", 2).payload;
    assert_eq!(activated["kind"], "plain");
    assert_eq!(activated["generation"], 2);
    assert_eq!(activated["previous"], first.as_str());
    let fetched = world.wait_for_steps("web-1", "ClosureFetched", 2).payload;
    assert_eq!(fetched["closure_paths"], 2);
    assert!(fetched["closure_bytes"].as_u64() > Some(500), "{fetched}");
}

#[test]
fn two_agents_on_one_machine_do_not_disturb_each_other() {
    let world = World::new();
    let (one, two) = (world.agent("system"), world.agent("user"));
    let (a, b) = (world.nix.offer(&Closure::plain("a")), world.nix.offer(&Closure::plain("b")));
    let both = world.start_activate(&[("system", &a)], &[]);
    assert_code(&world.activate(&[("user", &b)], &[]), 0);
    assert_code(&both.output(), 0);
    assert_runs(&one, &a, 1);
    assert_runs(&two, &b, 1);
    world.check_story(&one, &well(1));
    world.check_story(&two, &well(1));
}

#[test]
fn the_same_closure_again_is_a_deployment_of_its_own() {
    let world = World::new();
    let agent = world.agent("web-1");
    let path = world.nix.offer(&Closure::plain("site"));
    assert_code(&world.activate(&[("web-1", &path)], &[]), 0);
    assert_code(&world.activate(&[("web-1", &path)], &[]), 0);
    // Nix makes no new generation for what the profile has already.
    assert_runs(&agent, &path, 1);
    world.check_story(&agent, &well(2));
}

#[test]
fn the_output_of_an_activation_is_streamed_and_kept() {
    let world = World::new();
    let agent = world.agent("home");
    let path = world.nix.offer(&Closure::new(crate::rig::nix::Kind::HomeManager, "dotfiles"));
    let output = world.activate(&[("home", &path)], &[]);
    assert_code(&output, 0);
    let line = "this is dotfiles activate";
    assert!(said(&output).lines().any(|l| l.contains("home") && l.contains(line)), "{output:?}");
    let kept = world.ledger(&["deployment", "home#1"]).expect_success();
    assert!(kept.contains(line), "{kept}");
    assert!(!world.nix.calls().join("\n").contains("SAW A TOKEN"), "{:?}", world.nix.calls());
    world.check_story(&agent, &well(1));
}
