//! Claims, reports and output: answered after the commit, counted once.

use crate::client::{Agent, digest};
use crate::node::{Node, now, request_id};
use api_wire::agent::FromAgent;
use api_wire::problem::Code;
use ledger_core::agent::Report;
use ledger_core::event::{ClosureKind, FailureOutcome, FailureReason};
use ledger_core::{DeploymentId, Event};
use serde_json::json;

fn fetched() -> Report {
    Report::ClosureFetched { closure_bytes: 10, closure_paths: 1 }
}

fn activated() -> Report {
    let closure = ClosureKind::Plain;
    Report::ActivationSucceeded { closure, generation: Some(1), previous: None }
}

async fn count(node: &Node, is: impl Fn(&Event) -> bool) -> usize {
    node.events().await.iter().filter(|event| is(event)).count()
}

async fn status(node: &Node, deployment: DeploymentId) -> String {
    let shown = node.get(&format!("/v1/deployments/{deployment}")).await;
    shown["status"].as_str().expect("a status").to_owned()
}

#[tokio::test]
async fn a_deployment_goes_from_its_event_to_its_end() {
    let node = Node::new().await;
    let (mut agent, welcome) = Agent::welcomed(&node, "web", 1).await;
    let deployment = node.activate("web").await;
    assert_eq!(agent.events(welcome.head, 1).await, ["DeploymentRequested"]);
    assert_eq!(agent.claim(deployment).await, Ok(()));
    // What is answered is in the log.
    assert_eq!(count(&node, |e| matches!(e, Event::DeploymentStarted(_))).await, 1);
    assert_eq!(agent.output(deployment, 0, b"hello ").await, Ok(()));
    assert_eq!(agent.report(deployment, fetched()).await, Ok(()));
    assert_eq!(agent.report(deployment, activated()).await, Ok(()));
    assert_eq!(agent.output(deployment, 6, b"world").await, Ok(()));
    let early = Report::Succeeded { output: digest(b"hello ") };
    assert_eq!(agent.report(deployment, early).await, Err(Code::ReportOutOfOrder));
    let end = Report::Succeeded { output: digest(b"hello world") };
    assert_eq!(agent.report(deployment, end).await, Ok(()));
    assert_eq!(status(&node, deployment).await, "succeeded");
    let output = node.get(&format!("/v1/output?deployment={deployment}")).await;
    assert_eq!(output["chunks"].as_array().map(Vec::len), Some(2));
    let agents = node.get("/v1/agents").await;
    assert_eq!(agents["agents"][0]["current"], crate::node::PATH);
    node.stop().await;
}

#[tokio::test]
async fn what_is_sent_again_on_a_later_session_counts_once() {
    let node = Node::new().await;
    let (mut agent, _) = Agent::welcomed(&node, "web", 1).await;
    let deployment = node.activate("web").await;
    let claim = FromAgent::Claim { request_id: request_id(), deployment };
    let output = FromAgent::Output {
        request_id: request_id(),
        deployment,
        offset: 0,
        bytes: "eA==".to_owned(),
    };
    let report = FromAgent::Report {
        request_id: request_id(),
        deployment,
        report: fetched(),
        occurred_at: now(),
    };
    let end = FromAgent::Report {
        request_id: request_id(),
        deployment,
        report: Report::Failed {
            reason: FailureReason::ActivationFailed,
            outcome: FailureOutcome::Unknown,
            output: digest(b"x"),
            error: "exit 1".to_owned(),
        },
        occurred_at: now(),
    };
    let all = [claim, output, report, end];
    for _ in 0..2 {
        for message in &all {
            agent.say(message).await;
            let (FromAgent::Claim { request_id, .. }
            | FromAgent::Output { request_id, .. }
            | FromAgent::Report { request_id, .. }) = message
            else {
                panic!("no request")
            };
            assert_eq!(agent.answer(*request_id).await, Ok(()), "{message:?}");
        }
        agent = Agent::welcomed(&node, "web", 1).await.0;
    }
    assert_eq!(count(&node, |e| matches!(e, Event::DeploymentStarted(_))).await, 1);
    assert_eq!(count(&node, |e| matches!(e, Event::ClosureFetched(_))).await, 1);
    assert_eq!(count(&node, |e| matches!(e, Event::DeploymentFailed(_))).await, 1);
    let shown = node.get(&format!("/v1/deployments/{deployment}")).await;
    assert_eq!((&shown["status"], &shown["error"]), (&json!("failed"), &json!("exit 1")));
    // The same id for something else is refused, and so is output after the end.
    let FromAgent::Report { request_id, .. } = &all[3] else { panic!("the end") };
    agent
        .say(&FromAgent::Report {
            request_id: *request_id,
            deployment,
            report: activated(),
            occurred_at: now(),
        })
        .await;
    assert_eq!(agent.answer(*request_id).await, Err(Code::IdempotencyMismatch));
    assert_eq!(agent.output(deployment, 1, b"y").await, Err(Code::ReportOutOfOrder));
    node.stop().await;
}

#[tokio::test]
async fn claims_of_what_is_over_are_refused_with_the_reason() {
    let node = Node::new().await;
    let (mut agent, _) = Agent::welcomed(&node, "web", 1).await;
    let first = node.activate("web").await;
    let second = node.activate("web").await;
    assert_eq!(agent.claim(first).await, Err(Code::DeploymentSuperseded));
    let cancel = json!({ "request_id": request_id() });
    node.post(&format!("/v1/deployments/{second}/cancel"), cancel).await;
    assert_eq!(agent.claim(second).await, Err(Code::DeploymentCancelled));
    let third = node.activate("web").await;
    assert_eq!(agent.claim(third).await, Ok(()));
    let fourth = node.activate("web").await;
    assert_eq!(agent.claim(fourth).await, Err(Code::AgentBusy));
    assert_eq!(agent.report(fourth, fetched()).await, Err(Code::ReportOutOfOrder));
    let unknown = DeploymentId::from_bytes([9; 16]);
    assert_eq!(agent.output(unknown, 0, b"x").await, Err(Code::DeploymentNotFound));
    // Another agent's deployment is none of its.
    let (mut other, _) = Agent::welcomed(&node, "db", 2).await;
    assert_eq!(other.claim(third).await, Err(Code::DeploymentNotFound));
    assert_eq!(other.output(third, 0, b"x").await, Err(Code::DeploymentNotFound));
    node.stop().await;
}

#[tokio::test]
async fn output_is_bounded_continuous_and_vouched_for() {
    let node = Node::new().await;
    let (mut agent, _) = Agent::welcomed(&node, "web", 1).await;
    let deployment = node.activate("web").await;
    assert_eq!(agent.claim(deployment).await, Ok(()));
    assert_eq!(agent.output(deployment, 0, b"").await, Err(Code::BadRequest));
    let large = vec![b'x'; ledger_core::limits::OUTPUT_CHUNK_BYTES_MAX + 1];
    assert_eq!(agent.output(deployment, 0, &large).await, Err(Code::BadRequest));
    let beyond = ledger_core::limits::OUTPUT_BYTES_MAX;
    assert_eq!(agent.output(deployment, beyond, b"x").await, Err(Code::TooLarge));
    assert_eq!(agent.output(deployment, u64::MAX, b"x").await, Err(Code::TooLarge));
    assert_eq!(agent.output(deployment, 5, b"x").await, Err(Code::ReportOutOfOrder));
    assert_eq!(agent.output(deployment, 0, b"seen").await, Ok(()));
    // An agent that lost its state cannot know what it sent: the server vouches.
    let (mut agent, welcome) = Agent::welcomed(&node, "web", 1).await;
    assert_eq!(welcome.running, Some(deployment));
    let lost = Report::Failed {
        reason: FailureReason::StateLost,
        outcome: FailureOutcome::Unknown,
        output: digest(b""),
        error: "the state is gone".to_owned(),
    };
    assert_eq!(agent.report(deployment, lost).await, Ok(()));
    let shown = node.get(&format!("/v1/deployments/{deployment}")).await;
    assert_eq!(shown["output"], json!(digest(b"seen")));
    node.stop().await;
}
