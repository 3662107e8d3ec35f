//! What the server may say, and how the agent takes it. The real program on an
//! empty machine; nothing here deploys but what cannot be fetched.

use crate::rig::{ends, exit_code, folder, kill, nowhere, offline, start, terminate};
use crate::server::{Server, goodbye};
use api_wire::agent::{FromAgent, FromServer, GoodbyeReason};
use api_wire::problem::Code;
use ledger_core::Version;
use ledger_core::agent::End;
use ledger_core::event::{Event, FailureOutcome, FailureReason};
use ledger_core::ids::DeploymentId;

#[tokio::test(flavor = "multi_thread")]
async fn final_words_of_the_server_end_the_agent_with_code_4() {
    for reason in [
        GoodbyeReason::Replaced,
        GoodbyeReason::KeyMismatch,
        GoodbyeReason::Retired,
        GoodbyeReason::TokenRefused,
    ] {
        let (server, folder) = (Server::start().await, folder());
        server.with(|world| world.goodbye = Some(goodbye(reason, "ask the operator of this")));
        let (code, words) = ends(&server, &folder).await;
        assert_eq!(code, Some(4), "{reason:?}: {words}");
        assert!(words.contains("ask the operator of this"), "{words}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_replaced_while_it_waits_stays_away() {
    let (server, folder) = (Server::start().await, folder());
    let mut child = start(&server, &folder.path().join("state"), &[]);
    server.until("a session", |world| world.sessions >= 1).await;
    server.with(|world| world.goodbye = Some(goodbye(GoodbyeReason::Replaced, "replaced")));
    assert_eq!(exit_code(&mut child).await, Some(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_ends_the_agent_with_code_4() {
    let (server, folder) = (Server::start().await, folder());
    server.with(|world| world.refuse_tokens = true);
    let (code, words) = ends(&server, &folder).await;
    assert_eq!(code, Some(4), "{words}");
    assert!(words.contains("Unauthorized") || words.contains("401"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_shorter_than_the_cursor_stops_the_agent_with_code_3() {
    let (server, folder) = (Server::start().await, folder());
    let options = offline(&folder);
    let options = options.each_ref().map(String::as_str);
    let mut child = start(&server, &folder.path().join("state"), &options);
    // By the time that it claims, what it has seen is on its disk.
    server.with(|world| world.request(&nowhere()));
    server.until("a claim", |world| world.agent.running.is_some()).await;
    terminate(&child);
    assert_eq!(exit_code(&mut child).await, Some(0));
    server.with(|world| world.head = Some(Version(0)));
    let (code, words) = ends(&server, &folder).await;
    assert_eq!(code, Some(3), "{words}");
    assert!(words.contains("history was rolled back"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_connection_and_a_mute_server_are_left_for_a_new_session() {
    let (server, folder) = (Server::start().await, folder());
    let mut child = start(&server, &folder.path().join("state"), &[]);
    server.until("a session", |world| world.sessions >= 1).await;
    server.cut();
    server.until("another session", |world| world.sessions >= 2).await;
    // The next one hears nothing more: neither messages nor pongs.
    server.with(|world| world.mute = true);
    server.cut();
    server.until("a mute session", |world| world.muted > 0).await;
    let sessions = server.with(|world| {
        world.mute = false;
        world.sessions
    });
    server.until("a session after it", |world| world.sessions > sessions).await;
    terminate(&child);
    assert_eq!(exit_code(&mut child).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_to_come_again_is_come_to_again() {
    let (server, folder) = (Server::start().await, folder());
    server.with(|world| {
        world.goodbye = Some(FromServer::Goodbye {
            reason: GoodbyeReason::Unavailable,
            detail: "the server restarts".to_owned(),
            retry_after_ms: Some(10),
        });
    });
    let mut child = start(&server, &folder.path().join("state"), &[]);
    server.until("a session that ended at once", |world| world.sessions >= 1).await;
    server.with(|world| world.goodbye = None);
    server.until("a session that holds", |world| world.sessions >= 2).await;
    terminate(&child);
    assert_eq!(exit_code(&mut child).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cursor_is_said_on_every_new_session() {
    let (server, folder) = (Server::start().await, folder());
    let state = folder.path().join("state");
    let options = offline(&folder);
    let options = options.each_ref().map(String::as_str);
    let child = start(&server, &state, &options);
    server.until("a session", |world| world.sessions >= 1).await;
    let one = server.with(|world| world.request(&nowhere()));
    server.until("it fails", |world| world.ended(one)).await;
    server.cut();
    server.until("another session", |world| world.sessions >= 2).await;
    kill(&child);
    let mut child = start(&server, &state, &options);
    server.until("a third", |world| world.sessions >= 3).await;
    let cursors = server.with(|world| {
        let cursors = world.heard.iter().filter_map(|message| match message {
            FromAgent::Hello { cursor, .. } => Some(*cursor),
            _ => None,
        });
        cursors.collect::<Vec<_>>()
    });
    let head = server.with(|world| Version(world.stream.len() as u64));
    assert_eq!(cursors.first(), Some(&None));
    assert_eq!(cursors.get(1), Some(&Some(head)));
    // What is written down may lag behind what was seen, but holds what was admitted.
    assert!(cursors.get(2).is_some_and(|c| *c >= Some(Version(2)) && *c <= Some(head)));
    terminate(&child);
    assert_eq!(exit_code(&mut child).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_claim_is_dropped_and_the_next_deployment_is_claimed() {
    for code in [Code::DeploymentSuperseded, Code::DeploymentCancelled] {
        let (server, folder) = (Server::start().await, folder());
        let options = offline(&folder);
        let options = options.each_ref().map(String::as_str);
        let mut child = start(&server, &folder.path().join("state"), &options);
        server.until("a session", |world| world.sessions >= 1).await;
        server.with(|world| world.refuse_claims = Some(code));
        let one = server.with(|world| world.request(&nowhere()));
        let claimed = |id: DeploymentId| move |message: &FromAgent| matches!(message, FromAgent::Claim { deployment, .. } if *deployment == id);
        server.until("a claim", |world| world.heard.iter().any(claimed(one))).await;
        server.with(|world| world.refuse_claims = None);
        let two = server.with(|world| world.request(&nowhere()));
        server.until("the next ends", |world| world.ended(two)).await;
        server.with(|world| {
            assert_eq!(world.agent.end_of(one), Some(End::Superseded));
            assert_eq!(world.heard.iter().filter(|m| claimed(one)(m)).count(), 1);
        });
        terminate(&child);
        assert_eq!(exit_code(&mut child).await, Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_by_the_log_and_not_by_the_journal_is_reported_as_lost() {
    let (server, folder) = (Server::start().await, folder());
    let one = server.with(|world| {
        let one = world.request(&nowhere());
        world.start(one);
        one
    });
    let mut child = start(&server, &folder.path().join("state"), &[]);
    server.until("it is reported", |world| world.ended(one)).await;
    server.with(|world| {
        let failed = world.events.iter().find_map(|event| match event {
            Event::DeploymentFailed(failed) => Some((failed.reason, failed.outcome)),
            _ => None,
        });
        assert_eq!(failed, Some((FailureReason::StateLost, FailureOutcome::Unknown)));
    });
    terminate(&child);
    assert_eq!(exit_code(&mut child).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_whose_answer_was_lost_is_taken_up_though_a_newer_deployment_waits() {
    let (server, folder) = (Server::start().await, folder());
    let options = offline(&folder);
    let options = options.each_ref().map(String::as_str);
    let mut child = start(&server, &folder.path().join("state"), &options);
    server.until("a session", |world| world.sessions >= 1).await;
    // The claim ends the session before its answer, and before the event of it.
    let one = server.with(|world| {
        world.lose_grants = true;
        world.request(&nowhere())
    });
    server.until("it started", |world| world.agent.running.is_some()).await;
    let two = server.with(|world| {
        world.lose_grants = false;
        world.request(&nowhere())
    });
    server.until("both end", |world| world.ended(one) && world.ended(two)).await;
    server.with(|world| {
        assert_eq!(world.story(one), ["DeploymentStarted", "DeploymentFailed"]);
        assert_eq!(world.story(two), ["DeploymentStarted", "DeploymentFailed"]);
        assert!(world.error(one).contains("nowhere"), "{}", world.error(one));
    });
    terminate(&child);
    assert_eq!(exit_code(&mut child).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_hears_it_is_busy_and_runs_nothing_asks_what_runs() {
    let (server, folder) = (Server::start().await, folder());
    let options = offline(&folder);
    let options = options.each_ref().map(String::as_str);
    let mut child = start(&server, &folder.path().join("state"), &options);
    server.until("a session", |world| world.sessions >= 1).await;
    // Another session's claim started the first, which this agent hears too late.
    let (one, two) = server.with(|world| {
        let one = world.request(&nowhere());
        world.start(one);
        (one, world.request(&nowhere()))
    });
    server.until("both end", |world| world.ended(one) && world.ended(two)).await;
    server.with(|world| {
        assert!(world.sessions >= 2, "{}", world.sessions);
        assert_eq!(world.story(one), ["DeploymentStarted", "DeploymentFailed"]);
        assert!(world.error(one).contains("without the state"), "{}", world.error(one));
        assert!(world.error(two).contains("nowhere"), "{}", world.error(two));
    });
    terminate(&child);
    assert_eq!(exit_code(&mut child).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_and_output_are_sent_again_with_the_same_ids_until_they_are_answered() {
    let (server, folder) = (Server::start().await, folder());
    let options = offline(&folder);
    let options = options.each_ref().map(String::as_str);
    let mut child = start(&server, &folder.path().join("state"), &options);
    server.until("a session", |world| world.sessions >= 1).await;
    let one = server.with(|world| world.request(&nowhere()));
    server.until("it started", |world| world.agent.running.is_some()).await;
    // The end is recorded, and its answer gets lost with the connection.
    server.with(|world| world.swallow = usize::MAX);
    server.until("it ended", |world| world.ended(one)).await;
    server.with(|world| world.swallow = 0);
    server.cut();
    server
        .until("it is told again", |world| {
            let ends = world.heard.iter().filter(
                |message| matches!(message, FromAgent::Report { report, .. } if report.is_end()),
            );
            ends.count() >= 2
        })
        .await;
    server.with(|world| {
        let ends: Vec<_> = world
            .heard
            .iter()
            .filter_map(|message| match message {
                FromAgent::Report { request_id, report, .. } if report.is_end() => {
                    Some(*request_id)
                }
                _ => None,
            })
            .collect();
        assert!(ends.windows(2).all(|pair| pair[0] == pair[1]), "{ends:?}");
        assert_eq!(world.story(one), ["DeploymentStarted", "DeploymentFailed"]);
    });
    terminate(&child);
    assert_eq!(exit_code(&mut child).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_left_out_is_asked_for_again() {
    let (server, folder) = (Server::start().await, folder());
    let options = offline(&folder);
    let options = options.each_ref().map(String::as_str);
    let mut child = start(&server, &folder.path().join("state"), &options);
    server.until("a session", |world| world.sessions >= 1).await;
    let one = server.with(|world| {
        world.request(&nowhere());
        world.leave_out = 1;
        world.request(&nowhere())
    });
    server.until("it ends all the same", |world| world.ended(one)).await;
    terminate(&child);
    assert_eq!(exit_code(&mut child).await, Some(0));
    server.until("a goodbye", |world| world.heard.last() == Some(&FromAgent::Goodbye {})).await;
}
