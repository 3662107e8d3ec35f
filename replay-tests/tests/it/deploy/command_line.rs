//! What `ledger activate` promises to whoever waits for it.

use super::{assert_code, assert_home, assert_runs, said, well};
use crate::rig::nix::{Closure, Kind};
use crate::rig::story::check_log;
use crate::rig::wait_for;
use crate::rig::world::World;

#[test]
fn a_timeout_ends_the_wait_and_not_the_deployment() {
    let world = World::new();
    let agent = world.agent("web-1");
    let path = world.nix.offer(&Closure::new(Kind::HomeManager, "home").gated());
    let output = world.activate(&[("web-1", &path)], &["--timeout", "2s"]);
    assert_code(&output, 1);
    world.nix.open_gate();
    world.wait_for_steps("web-1", "DeploymentSucceeded", 1);
    assert_home(&agent, &path, 1);
    world.check_story(&agent, &well(1));
}

#[test]
fn an_agent_that_is_offline_is_named_and_may_count_as_pending() {
    let world = World::new();
    let mut agent = world.agent("web-1");
    agent.kill();
    world.wait_for_events("AgentDisconnected", 1, |_| true);
    let path = world.nix.offer(&Closure::plain("site"));
    let output = world.activate(&[("web-1", &path)], &["--timeout", "2s"]);
    assert_code(&output, 1);
    assert!(said(&output).contains("offline"), "it hangs silently: {output:?}");
    assert_code(&world.activate(&[("web-1", &path)], &["--allow-offline"]), 0);
    agent.restart(&world);
    world.wait_for_steps("web-1", "DeploymentSucceeded", 1);
    assert_runs(&agent, &path, 1);
    check_log(&world.log());
}

#[test]
fn async_waits_for_nothing_and_a_dry_run_records_nothing() {
    let world = World::new();
    let agent = world.agent("web-1");
    let path = world.nix.offer(&Closure::new(Kind::HomeManager, "home").gated());
    let before = world.log().len();
    assert_code(&world.activate(&[("web-1", &path)], &["--dry-run"]), 0);
    assert_eq!(world.log().len(), before);
    assert_code(&world.activate(&[("web-1", &path)], &["--async"]), 0);
    world.nix.open_gate();
    world.wait_for_steps("web-1", "DeploymentSucceeded", 1);
    world.check_story(&agent, &well(1));
}

#[test]
fn what_is_wrong_with_a_deploy_json_is_told_before_anything_is_recorded() {
    let world = World::new();
    let agent = world.agent("web-1");
    let path = world.nix.offer(&Closure::plain("site"));
    let before = world.log().len();
    let output = world.activate(&[("web-1", &path), ("nobody", &path)], &[]);
    assert_code(&output, 4);
    assert!(output.stderr.contains("nobody"), "{output:?}");
    let file = world.folder().join("bad.json");
    for (text, words) in [
        (format!(r#"{{"agents":{{"web-1":"{path}/bin"}}}}"#), "agents.web-1"),
        (format!(r#"{{"agents":{{"web-1":"{path}"}},"agent":{{}}}}"#), "unknown key"),
        (format!(r#"{{"agents":{{"web-1":"{path}","web-1":"{path}"}}}}"#), "twice"),
        ("{".to_owned(), "line 1"),
    ] {
        std::fs::write(&file, &text).expect("a file can be written");
        let file = file.to_str().expect("the path is UTF-8");
        let output = world.ledger(&["activate", file]);
        assert!(!output.status.success() && output.stderr.contains(words), "{text}: {output:?}");
    }
    assert_eq!(world.log().len(), before, "something was recorded");
    world.check_story(&agent, &["AgentRegistered"]);
}

#[test]
fn only_the_agents_that_are_named_are_activated() {
    let world = World::new();
    let (one, two) = (world.agent("web-1"), world.agent("web-2"));
    let path = world.nix.offer(&Closure::plain("site"));
    let both = [("web-1", &path), ("web-2", &path)];
    assert_code(&world.activate(&both, &["--agent", "web-2"]), 0);
    assert_eq!(one.profile(), None);
    assert_runs(&two, &path, 1);
    world.check_story(&one, &["AgentRegistered"]);
    world.check_story(&two, &well(1));
}

#[test]
fn an_activation_repeated_because_the_server_died_is_one_activation() {
    let mut world = World::new();
    let agent = world.agent("web-1");
    // In a sync, the events are on disk and nobody knows it; in a write, they are not.
    for (before, call) in ["fdatasync,fsync", "pwrite64"].into_iter().enumerate() {
        let path = world.nix.offer(&Closure::plain("site"));
        let mut tracer = world.server.kill_in(call, 1);
        let activate = world.start_activate(&[("web-1", &path)], &[]);
        world.server.process().wait();
        tracer.wait();
        world.server.restart();
        assert_code(&activate.output(), 0);
        assert_runs(&agent, &path, before as u64 + 1);
        let requested = world.wait_for_events("ActivationRequested", before + 1, |_| true);
        assert_eq!(requested.len(), before + 1, "killed in {call}");
    }
    world.check_story(&agent, &well(2));
}

#[test]
fn the_log_can_be_followed_and_says_the_same_as_when_it_is_read() {
    let mut world = World::new();
    let admin = world.server.admin_token();
    let follow = world.start_ledger(&admin, &["log", "--follow", "--format", "jsonl"]);
    let agent = world.agent("web-1");
    let path = world.nix.offer(&Closure::plain("site"));
    assert_code(&world.activate(&[("web-1", &path)], &[]), 0);
    // Also over the server's death.
    world.server.restart();
    world.wait_for_sessions("web-1", 2);
    let whole = world.ledger(&["log", "--format", "jsonl"]).expect_success();
    wait_for("the followed log to catch up", || (follow.stdout() == whole).then_some(()));
    world.check_story(&agent, &well(1));
}
