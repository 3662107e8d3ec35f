//! What commands make happen, as tables of given, when, then.

mod ledger;

pub(crate) use ledger::{Ledger, command};

use crate::samples::{id, of, path};
use ledger::{
    activate, activated, cancel, connect, disconnect, failed, fetched, output, report, start,
    start_on,
};
use ledger_core::agent::Report;
use ledger_core::command::TokenRequest;
use ledger_core::event::{ClosureKind, Digest, FailureOutcome, FailureReason, OutputDigest, Reach};
use ledger_core::ids::*;
use ledger_core::key::PublicKey;
use ledger_core::rights::{Right, TokenKind, holds};
use ledger_core::{Annex, Command, Context, Event, Timestamp};

#[test]
fn the_first_key_is_pinned_and_another_is_refused_until_a_rekey() {
    let mut ledger = Ledger::with_agents(&[]);
    ledger.check(connect("web", 1, 10), Ok(&["AgentRegistered", "AgentConnected"]));
    ledger.check(connect("web", 1, 11), Ok(&["AgentConnected"]));
    ledger.check(connect("web", 2, 12), Err("key_mismatch"));
    let rekey = |public_key| Command::RekeyAgent {
        workspace: of("default"),
        agent: of("web"),
        public_key,
        annex: Annex::default(),
    };
    ledger.check(rekey(Some(PublicKey::from_bytes([3; 32]))), Ok(&["AgentRekeyed"]));
    ledger.check(connect("web", 2, 12), Err("key_mismatch"));
    ledger.check(connect("web", 3, 12), Ok(&["AgentConnected"]));
    ledger.check(rekey(None), Ok(&["AgentRekeyed"]));
    ledger.check(connect("web", 2, 13), Ok(&["AgentRegistered", "AgentConnected"]));
    ledger.check(connect("web", 3, 14), Err("key_mismatch"));
}

#[test]
fn an_end_that_names_another_session_than_the_current_changes_nothing() {
    let mut ledger = Ledger::with_agents(&["web"]);
    ledger.check(connect("web", 1, 11), Ok(&["AgentConnected"]));
    ledger.check(disconnect("web", 10), Ok(&[]));
    ledger.check(disconnect("web", 11), Ok(&["AgentDisconnected"]));
    ledger.check(disconnect("web", 11), Ok(&[]));
}

#[test]
fn a_start_after_a_kill_records_the_lost_sessions_once() {
    let mut ledger = Ledger::with_agents(&["web", "db"]);
    let start = || Command::StartNode { node: of(&id(3)), version: of("0.1.0"), alive_until: None };
    // Its first start is not in this log, but its sessions are.
    ledger.check(start(), Ok(&["SessionsLost", "NodeStarted"]));
    ledger.check(start(), Ok(&["NodeLost", "NodeStarted"]));
    ledger.check(Command::StopNode { node: of(&id(3)) }, Ok(&["NodeStopped"]));
    ledger.check(Command::StopNode { node: of(&id(3)) }, Ok(&[]));
    ledger.check(start(), Ok(&["NodeStarted"]));
}

#[test]
fn a_server_that_was_taken_for_dead_holds_no_session_until_it_starts_again() {
    let mut ledger = Ledger::with_agents(&[]);
    let start = Command::StartNode { node: of(&id(3)), version: of("0.1.0"), alive_until: None };
    let lose = || Command::LoseNode { node: of(&id(3)), alive_until: Timestamp::default() };
    ledger.check(start.clone(), Ok(&["NodeStarted"]));
    ledger.does(connect("web", 1, 10));
    ledger.does(activate(1, &["web"]));
    ledger.check(lose(), Ok(&["NodeLost", "SessionsLost"]));
    ledger.check(lose(), Ok(&[]));
    let pending = ledger.pending("web");
    ledger.check(start_on(10, "web", pending), Err("session_replaced"));
    ledger.check(connect("web", 1, 11), Err("node_lost"));
    ledger.check(start, Ok(&["NodeStarted"]));
    ledger.check(connect("web", 1, 12), Ok(&["AgentConnected"]));
}

#[test]
fn no_lost_session_ends_before_it_began() {
    let mut ledger = Ledger::with_agents(&[]);
    let (node, version) = (of(&id(3)), of("0.1.0"));
    ledger.does(Command::StartNode { node, version, alive_until: None });
    ledger.does(connect("web", 1, 10));
    // A sign of life is given only so often, and the last one was before.
    let lose = Command::LoseNode { node, alive_until: Timestamp::from_micros(1) };
    let context = Context { now: Timestamp::from_micros(9), request: of(&id(0xb000)) };
    let lost = ledger.state.decide(lose, context).expect("it is running");
    let alive_until = lost.iter().map(|new| match &new.event {
        Event::NodeLost(lost) => lost.alive_until,
        Event::SessionsLost(lost) => lost.alive_until,
        other => panic!("{other:?}"),
    });
    let connected = ledger.state.last_recorded_at.expect("there are events");
    assert!(lost.len() == 2 && alive_until.into_iter().all(|until| until == connected));
}

#[test]
fn a_log_keeps_its_name_and_knows_its_keys() {
    let mut ledger = Ledger::with_agents(&[]);
    let add = |origin: &str, n: u8| Command::AddSigningKey {
        node: of(&id(3)),
        origin: of(origin),
        public_key: PublicKey::from_bytes([n; 32]),
    };
    ledger.check(add("example.org/a", 1), Ok(&["SigningKeyAdded"]));
    ledger.check(add("example.org/a", 1), Ok(&[]));
    ledger.check(add("example.org/a", 2), Ok(&["SigningKeyAdded"]));
    ledger.check(add("example.org/b", 1), Err("origin_mismatch"));
    assert_eq!(ledger.state.signing_keys.len(), 2);
}

#[test]
fn an_activation_is_for_all_its_agents_or_for_none() {
    let mut ledger = Ledger::with_agents(&["web", "db"]);
    ledger.check(activate(1, &["web", "x"]), Err("agent_not_found"));
    let both = ["ActivationRequested", "DeploymentRequested", "DeploymentRequested"];
    ledger.check(activate(2, &["db", "web"]), Ok(&both));
    let retire =
        Command::RetireAgent { workspace: of("default"), agent: of("db"), annex: Annex::default() };
    ledger.check(retire.clone(), Ok(&["AgentRetired", "DeploymentCancelled"]));
    ledger.check(retire, Ok(&[]));
    ledger.check(activate(3, &["db", "web"]), Err("agent_retired"));
    ledger.check(connect("db", 1, 20), Err("agent_retired"));
}

#[test]
fn what_has_not_started_gives_way_and_what_has_started_runs_to_its_end() {
    let mut ledger = Ledger::with_agents(&["web"]);
    ledger.does(activate(1, &["web"]));
    let first = ledger.pending("web");
    let replaced = ["ActivationRequested", "DeploymentSuperseded", "DeploymentRequested"];
    ledger.check(activate(2, &["web"]), Ok(&replaced));
    let second = ledger.pending("web");
    ledger.check(start("web", first), Err("superseded"));
    ledger.check(cancel("web", first), Err("superseded"));
    ledger.check(start("web", second), Ok(&["DeploymentStarted"]));
    ledger.check(start("web", second), Ok(&[]));
    ledger.check(cancel("web", second), Err("already_started"));
    ledger.check(activate(3, &["web"]), Ok(&["ActivationRequested", "DeploymentRequested"]));
    let third = ledger.pending("web");
    ledger.check(start("web", third), Err("agent_busy"));
    ledger.check(report("web", second, failed()), Ok(&["DeploymentFailed"]));
    ledger.check(start("web", second), Err("already_ended"));
    ledger.check(start("web", third), Ok(&["DeploymentStarted"]));
}

#[test]
fn only_the_current_session_of_an_agent_starts_anything() {
    let mut ledger = Ledger::with_agents(&["web", "db"]);
    ledger.does(activate(1, &["web"]));
    let first = ledger.pending("web");
    ledger.check(start_on(11, "web", first), Err("session_replaced"));
    ledger.does(connect("web", 1, 11));
    ledger.check(start("web", first), Err("session_replaced"));
    ledger.check(start_on(11, "web", first), Ok(&["DeploymentStarted"]));
    // An agent that did not hear the answer claims again on its next session.
    ledger.does(connect("web", 1, 12));
    ledger.check(start_on(12, "web", first), Ok(&[]));
    ledger.check(start_on(11, "web", first), Err("session_replaced"));
    ledger.does(disconnect("web", 12));
    ledger.check(start_on(12, "web", first), Err("session_replaced"));
}

#[test]
fn the_superseding_event_names_the_newer_deployment() {
    let mut ledger = Ledger::with_agents(&["web"]);
    ledger.does(activate(1, &["web"]));
    let Command::Activate(newer) = activate(2, &["web"]) else { unreachable!() };
    let request = RequestId::from(newer.id);
    let context = Context { now: Timestamp::from_micros(9), request };
    let events = ledger.state.decide(Command::Activate(newer), context).unwrap();
    let ledger_core::Event::DeploymentSuperseded(superseded) = &events[1].event else {
        panic!("{events:?}")
    };
    assert_eq!(superseded.by, EventId::derive(request, 2).into());
    assert_eq!(events[2].event.type_name(), "DeploymentRequested");
}

#[test]
fn what_is_cancelled_never_starts() {
    let mut ledger = Ledger::with_agents(&["web"]);
    ledger.does(activate(1, &["web"]));
    let first = ledger.pending("web");
    ledger.check(cancel("web", first), Ok(&["DeploymentCancelled"]));
    ledger.check(cancel("web", first), Ok(&[]));
    ledger.check(start("web", first), Err("cancelled"));
    ledger.check(start("web", of(&id(99))), Err("deployment_not_found"));
}

#[test]
fn reports_follow_each_other_in_order() {
    let mut ledger = Ledger::with_agents(&["web"]);
    ledger.does(activate(1, &["web"]));
    let deployment = ledger.pending("web");
    let out_of_order = Err("report_out_of_order");
    ledger.check(report("web", deployment, fetched()), out_of_order);
    ledger.does(start("web", deployment));
    ledger.check(report("web", deployment, activated()), out_of_order);
    ledger.check(report("web", deployment, fetched()), Ok(&["ClosureFetched"]));
    ledger.check(report("web", deployment, fetched()), out_of_order);
    let done = || Report::Succeeded { output: output() };
    ledger.check(report("web", deployment, done()), out_of_order);
    ledger.check(report("web", deployment, activated()), Ok(&["ActivationSucceeded"]));
    ledger.check(report("web", deployment, done()), Ok(&["DeploymentSucceeded"]));
    ledger.check(report("web", deployment, done()), Err("already_ended"));
    assert_eq!(ledger.agent("web").current, Some(path("v1")));
}

#[test]
fn a_report_holds_no_number_that_a_reader_of_json_would_change() {
    type Make = fn(u64) -> Report;
    let reports: [Make; 5] = [
        |n| Report::ClosureFetched { closure_bytes: n, closure_paths: 1 },
        |n| Report::ClosureFetched { closure_bytes: 1, closure_paths: n },
        |n| Report::ActivationSucceeded {
            closure: ClosureKind::Plain,
            generation: Some(n),
            previous: None,
        },
        |n| Report::Succeeded { output: OutputDigest { bytes: n, ..output() } },
        |n| Report::Failed {
            reason: FailureReason::AgentError,
            outcome: FailureOutcome::Unknown,
            output: OutputDigest { bytes: n, ..output() },
            error: String::new(),
        },
    ];
    let max = ledger_core::limits::EVENT_INTEGER_MAX;
    assert_eq!(max as f64 as u64, max, "a float holds it");
    for make in reports {
        let mut ledger = Ledger::with_agents(&["web"]);
        ledger.does(activate(1, &["web"]));
        let deployment = ledger.pending("web");
        ledger.does(start("web", deployment));
        for before in [fetched(), activated()] {
            if ledger.clone().decide(report("web", deployment, make(max))).is_ok() {
                break;
            }
            ledger.does(report("web", deployment, before));
        }
        for too_large in [max + 1, u64::MAX] {
            ledger.check(report("web", deployment, make(too_large)), Err("report_invalid"));
        }
        assert!(ledger.decide(report("web", deployment, make(max))).is_ok());
    }
}

#[test]
fn tokens_are_limited_and_revoked() {
    let mut ledger = Ledger::with_agents(&[]);
    let issue = |kind, reach, agents: &[&str]| Command::IssueToken {
        workspace: of("default"),
        request: TokenRequest {
            token: of(&id(1)),
            kind,
            reach,
            agents: agents.iter().map(|text| of(text)).collect(),
            expires_at: None,
            hash: Digest::of(b""),
            annex: Annex::default(),
        },
    };
    ledger.check(issue(TokenKind::Agent, Reach::Workspace, &["web-*"]), Ok(&["TokenIssued"]));
    ledger.check(issue(TokenKind::Read, Reach::Workspace, &["web-*"]), Err("patterns_not_allowed"));
    ledger.check(issue(TokenKind::Agent, Reach::Ledger, &[]), Err("reach_not_allowed"));
    let too_many = ["a"; 65];
    ledger.check(issue(TokenKind::Agent, Reach::Workspace, &too_many), Err("too_many_patterns"));
    let revoke = || Command::RevokeToken { workspace: of("default"), token: of(&id(1)) };
    ledger.check(revoke(), Ok(&["TokenRevoked"]));
    ledger.check(revoke(), Err("token_not_found"));
    let elsewhere = Command::RevokeToken { workspace: of("other"), token: of(&id(1)) };
    ledger.check(elsewhere, Err("workspace_not_found"));
    ledger.check(Command::CreateWorkspace { workspace: of("default") }, Err("workspace_exists"));
}

#[test]
fn each_kind_of_token_holds_its_rights() {
    use Right::*;
    let table = [
        (TokenKind::Agent, vec![Connect]),
        (TokenKind::Activate, vec![Activate, Follow]),
        (TokenKind::Read, vec![Follow, Read]),
        (TokenKind::Admin, vec![Activate, Follow, Read, Manage, ManageLedger]),
    ];
    for (kind, rights) in table {
        let held: Vec<Right> = Right::ALL.iter().copied().filter(|r| holds(kind, *r)).collect();
        assert_eq!(held, rights, "{kind}");
    }
}
