//! Who an agent is, and what a token may do.

use super::{assert_code, assert_runs, story, well};
use crate::rig::agent::{Agent, Settings};
use crate::rig::nix::Closure;
use crate::rig::story::{WELL, check_log};
use crate::rig::wire::Socket;
use crate::rig::world::World;

#[test]
fn a_second_machine_with_the_same_name_is_refused_until_it_is_rekeyed() {
    let world = World::new();
    let mut first = world.agent("web-1");
    let mut second = Agent::launch(&world, "web-1", "other-machine", Settings::default());
    assert_eq!(second.process().wait().code(), Some(4), "{}", second.process().stderr());
    assert!(second.process().stderr().contains("rekey"), "it does not say what to do next");
    // The first goes on as if nothing had been.
    let path = world.nix.offer(&Closure::plain("site"));
    assert_code(&world.activate(&[("web-1", &path)], &[]), 0);
    assert_runs(&first, &path, 1);

    world.ledger(&["agents", "rekey", "web-1"]).expect_success();
    assert_eq!(first.process().wait().code(), Some(4), "the old key is no longer wanted");
    second.restart(&world);
    world.wait_for_steps("web-1", "AgentRegistered", 2);
    let path = world.nix.offer(&Closure::plain("site"));
    assert_code(&world.activate(&[("web-1", &path)], &[]), 0);
    assert_runs(&second, &path, 1);
    // And the old key stays out.
    first.restart(&world);
    assert_eq!(first.process().wait().code(), Some(4));
    let rekeyed = ["AgentRekeyed", "AgentRegistered"];
    world.check_story(&second, &story(&[&["AgentRegistered"], &WELL, &rekeyed, &WELL]));
}

#[test]
fn of_two_machines_with_a_copied_state_the_newer_wins_and_the_older_stays_away() {
    let world = World::new();
    let mut original = world.agent("web-1");
    original.copy_state_to(&world, "copy");
    let copy = Agent::launch(&world, "web-1", "copy", Settings::default());
    assert_eq!(original.process().wait().code(), Some(4), "{}", original.process().stderr());
    world.wait_for_sessions("web-1", 2);
    let path = world.nix.offer(&Closure::plain("site"));
    assert_code(&world.activate(&[("web-1", &path)], &[]), 0);
    assert_runs(&copy, &path, 1);
    assert_eq!(original.profile(), None);
    world.check_story(&copy, &well(1));
    let sessions = world.wait_for_events("AgentConnected", 2, |_| true);
    assert_eq!(sessions.len(), 2, "the older came back");
}

#[test]
fn a_retired_agent_is_sent_away_and_gets_nothing_more() {
    let world = World::new();
    let mut agent = world.agent("web-1");
    world.ledger(&["agents", "retire", "web-1"]).expect_success();
    assert_eq!(agent.process().wait().code(), Some(4));
    let path = world.nix.offer(&Closure::plain("site"));
    assert_code(&world.activate(&[("web-1", &path)], &[]), 4);
    agent.restart(&world);
    assert_eq!(agent.process().wait().code(), Some(4));
    world.check_story(&agent, &["AgentRegistered", "AgentRetired"]);
}

#[test]
fn an_agents_token_activates_nothing_and_an_activators_token_runs_no_agent() {
    let world = World::new();
    let agent = world.agent("web-1");
    let path = world.nix.offer(&Closure::plain("site"));
    let before = world.log().len();

    let file = world.folder().join("deploy.json");
    let spec = format!(r#"{{"agents":{{"web-1":"{path}"}}}}"#);
    std::fs::write(&file, spec).expect("a file can be written");
    let file = file.to_str().expect("the path is UTF-8");
    let agent_token = world.agent_token();
    for token in [agent_token.as_str(), &format!("ldg_admin_{}", "x".repeat(43))] {
        assert_code(&world.start_ledger(token, &["activate", file]).output(), 4);
    }
    assert_eq!(world.log().len(), before, "a refused request left something in the log");

    for kind in ["activate", "read"] {
        let token = world.token(kind, &[]);
        let mut intruder = Agent::launch_with_token(&world, "db-1", kind, &token);
        // The agent sees by itself that this cannot be; the server does not rely on that.
        assert_eq!(intruder.process().wait().code(), Some(2), "{kind}");
        assert!(Socket::open_with(&world, &token).is_none(), "a {kind} token opens a socket");
    }
    let token = world.token("agent", &["--agent", "db-*"]);
    let mut outside = Agent::launch_with_token(&world, "web-2", "outside", &token);
    assert_eq!(outside.process().wait().code(), Some(4));
    let inside = Agent::launch_with_token(&world, "db-2", "inside", &token);
    world.wait_for_sessions("db-2", 1);

    world.check_story(&agent, &["AgentRegistered"]);
    world.check_story(&inside, &["AgentRegistered"]);
    assert!(world.story("db-1").is_empty() && world.story("web-2").is_empty());
}

#[test]
fn a_revoked_token_ends_the_session_that_it_opened() {
    let world = World::new();
    let token = world.token("agent", &[]);
    let mut agent = Agent::launch_with_token(&world, "web-1", "web-1", &token);
    world.wait_for_sessions("web-1", 1);
    let issued = world.wait_for_events("TokenIssued", 3, |_| true);
    let id = issued[2].payload["token"].as_str().expect("it is an id").to_owned();
    world.ledger(&["token", "revoke", &id]).expect_success();
    assert_eq!(agent.process().wait().code(), Some(4), "{}", agent.process().stderr());
    world.wait_for_events("AgentDisconnected", 1, |e| e.payload["reason"] == "revoked");
    check_log(&world.log());
}

#[test]
fn two_workspaces_see_nothing_of_each_other() {
    let world = World::new();
    let ours = world.agent("web-1");
    world.ledger(&["workspace", "create", "team"]).expect_success();
    let token = world.token("agent", &["--workspace", "team"]);
    let theirs = Agent::launch_with_token(&world, "web-1", "team-machine", &token);
    // The same name in another workspace is another agent.
    world.wait_for_sessions("web-1", 2);
    let path = world.nix.offer(&Closure::plain("site"));
    assert_code(&world.activate(&[("web-1", &path)], &["--workspace", "team"]), 0);
    assert_runs(&theirs, &path, 1);
    assert_eq!(ours.profile(), None);
    assert_eq!(world.story("web-1"), ["AgentRegistered"]);

    let ours = world.token("read", &[]);
    let theirs = world.token("read", &["--workspace", "team"]);
    for (token, own, other) in [(ours, "default", "team"), (theirs, "team", "default")] {
        let run = |args: &[&str]| world.start_ledger(&token, args).output();
        let log = run(&["log", "--format", "jsonl"]).expect_success();
        assert!(log.contains(&format!("/{own}")), "{own}: {log}");
        for foreign in [format!("/{other}"), format!("\"{other}\"")] {
            assert!(!log.contains(&foreign), "{own} sees {foreign}: {log}");
        }
        assert_code(&run(&["log", "--workspace", other]), 4);
        assert_code(&run(&["agents", "--workspace", other]), 4);
        let shown = run(&["deployments"]).expect_success();
        assert_eq!(shown.contains(path.as_str()), own == "team", "{own}: {shown}");
    }
    check_log(&world.log());
}
