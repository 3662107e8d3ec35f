//! What comes from the server.

use super::*;

#[test]
fn what_waits_after_events_is_the_newest_that_still_counts() {
    type Case<'a> = (&'a str, &'a [(u128, Event)], &'a [&'a str], Option<u128>);
    let cases: &[Case<'_>] = &[
        ("a request", &[(2, requested())], &["admitted"], Some(2)),
        (
            "one superseded by another",
            &[(9, superseded(1, 2)), (2, requested())],
            &["admitted"],
            Some(2),
        ),
        (
            "several at once",
            &[(2, requested()), (9, superseded(2, 3)), (3, requested())],
            &["admitted"],
            Some(3),
        ),
        ("a cancellation", &[(9, cancelled(1))], &["dropped"], None),
        (
            "one that came and went",
            &[(9, superseded(1, 2)), (2, requested()), (9, cancelled(2))],
            &["dropped"],
            None,
        ),
        ("the end of another", &[(9, cancelled(7))], &[], Some(1)),
        ("what it knows already", &[(1, requested())], &[], Some(1)),
        ("an end by the server", &[(9, failed(1))], &["dropped"], None),
        ("the event of its claim", &[(9, started(1))], &["started"], None),
        (
            "the event of its claim and a newer request",
            &[(9, started(1)), (2, requested())],
            &["started", "admitted"],
            Some(2),
        ),
        ("the event of another session's claim", &[(9, started_elsewhere(1))], &[], Some(1)),
        (
            "the event of another session's claim and a newer request",
            &[(9, started_elsewhere(1)), (2, requested())],
            &["admitted"],
            Some(2),
        ),
        (
            "started and ended by the server",
            &[(9, started(1)), (10, failed(1))],
            &["dropped"],
            None,
        ),
    ];
    for (what, events, noted, waits) in cases {
        let mut agent = Agent::default();
        agent.welcomed(Some(1), None);
        assert_eq!(agent.hears_of(events), *noted, "{what}");
        assert_eq!(agent.waits(), waits.map(id), "{what}");
    }
}

#[test]
fn older_events_in_parts_end_with_what_the_welcome_said() {
    let mut agent = Agent::default();
    agent.welcomed(Some(1), None);
    assert_eq!(agent.hears_of(&[(5, requested())]), ["admitted"]);
    let (request_id, code) = (agent.claim(), Code::DeploymentSuperseded);
    assert_eq!(agent.hears(Input::Refused { request_id, code }), ["dropped"]);
    assert_eq!(agent.hears_of(&[(9, superseded(5, 1)), (1, requested())]), ["admitted"]);
    assert_eq!(agent.waits(), Some(id(1)));
}

#[test]
fn unknown_and_broken_events_change_nothing() {
    let mut event = stream_event(1, &requested());
    event.type_name = "SomethingNew".to_owned();
    let events = |event: &StreamEvent| {
        let mut agent = Agent::default();
        agent.hears(Input::Events { session: session(), events: std::slice::from_ref(event) })
    };
    assert!(events(&event).is_empty());
    event.type_name = "DeploymentRequested".to_owned();
    event.payload = "{".to_owned();
    assert!(events(&event).is_empty());
}

#[test]
fn a_welcome_says_what_waits_and_what_was_lost() {
    // What the journal has: nothing, 1 waiting, or 1 running.
    let none = Agent::default;
    let waiting = || {
        let mut agent = Agent::default();
        agent.welcomed(Some(1), None);
        agent
    };
    type Case<'a> = (&'a str, Agent, Option<u128>, Option<u128>, &'a [&'a str], Option<u128>);
    let cases: [Case<'_>; 11] = [
        ("nothing, nothing", none(), None, None, &[], None),
        ("new work", none(), Some(1), None, &["admitted"], Some(1)),
        ("the same again", waiting(), Some(1), None, &[], Some(1)),
        ("a newer one", waiting(), Some(2), None, &["admitted"], Some(2)),
        ("gone meanwhile", waiting(), None, None, &["dropped"], None),
        ("claimed, and the answer lost", waiting(), None, Some(1), &["started"], None),
        (
            "claimed, the answer lost, and a newer one",
            waiting(),
            Some(2),
            Some(1),
            &["started", "admitted"],
            Some(2),
        ),
        ("unknown work", none(), None, Some(7), &["lost"], None),
        ("unknown work and new", none(), Some(8), Some(7), &["lost", "admitted"], Some(8)),
        ("work under way", Agent::running(), None, Some(1), &[], None),
        ("work under way and new", Agent::running(), Some(2), Some(1), &["admitted"], Some(2)),
    ];
    for (what, mut agent, pending, running, noted, waits) in cases {
        assert_eq!(agent.welcomed(pending, running), noted, "{what}");
        assert_eq!(agent.waits(), waits.map(id), "{what}");
    }
}

#[test]
fn a_claim_is_made_once_per_session_and_only_when_nothing_runs() {
    let mut agent = Agent::default();
    agent.welcomed(Some(1), None);
    let claim = Action::Claim { request_id: agent.claim(), deployment: id(1) };
    assert_eq!(agent.does(), [claim]);
    let sent = [agent.claim()].into();
    assert!(next(&agent.state, &Flight { working: false, connected: true, sent }).is_empty());
    assert!(next(&agent.state, &Flight::default()).is_empty(), "there is nobody to ask");

    let mut agent = Agent::running();
    agent.hears_of(&[(2, requested())]);
    assert_eq!(agent.waits(), Some(id(2)));
    assert!(!agent.does().iter().any(|action| matches!(action, Action::Claim { .. })));

    // Nor before a lost deployment is reported, for the log still says it runs.
    let mut agent = Agent::default();
    agent.welcomed(Some(8), Some(7));
    assert!(!agent.does().iter().any(|action| matches!(action, Action::Claim { .. })));
    agent.answer_all();
    assert!(agent.does().iter().any(|action| matches!(action, Action::Claim { .. })));
}

#[test]
fn a_refused_claim_drops_the_deployment_unless_something_else_runs() {
    for (code, noted) in [
        (Code::DeploymentSuperseded, &["dropped"][..]),
        (Code::DeploymentCancelled, &["dropped"]),
        (Code::DeploymentEnded, &["dropped"]),
        (Code::DeploymentNotFound, &["dropped"]),
        (Code::AgentBusy, &[]),
        (Code::SessionReplaced, &[]),
    ] {
        let mut agent = Agent::default();
        agent.welcomed(Some(1), None);
        let request_id = agent.claim();
        assert_eq!(agent.hears(Input::Refused { request_id, code }), noted, "{code:?}");
    }
}

#[test]
fn a_claim_refused_as_busy_by_an_agent_that_runs_nothing_asks_for_a_new_session() {
    let mut agent = Agent::default();
    agent.welcomed(Some(2), None);
    let (claim, other) = (agent.claim(), RequestId::new(Uuid::nil()));
    assert!(is_at_odds(&agent.state, claim, Code::AgentBusy));
    assert!(!is_at_odds(&agent.state, claim, Code::SessionReplaced));
    assert!(!is_at_odds(&agent.state, other, Code::AgentBusy));
    // The new session says what runs, and after its end the claim is made again.
    assert_eq!(agent.welcomed(Some(2), Some(1)), ["lost"]);
    agent.answer_all();
    let again = Action::Claim { request_id: claim, deployment: id(2) };
    assert_eq!(agent.does(), [again]);
    let mut agent = Agent::running();
    agent.hears_of(&[(2, requested())]);
    assert!(!is_at_odds(&agent.state, agent.claim(), Code::AgentBusy));
}

#[test]
fn a_grant_that_nobody_waits_for_begins_nothing() {
    let mut agent = Agent::default();
    assert!(agent.hears(Input::Claimed { deployment: id(1) }).is_empty());
    let mut agent = Agent::running();
    assert!(agent.hears(Input::Claimed { deployment: id(1) }).is_empty(), "heard twice");
}
