//! One event of the log on one line.

use crate::terminal::{bytes, clean, seconds};
use api_wire::http::LogEvent;
use ledger_core::event::{self, Event};
use ledger_core::names::{AgentName, AgentPattern};
use ledger_core::record::{Actor, Json};
use ledger_core::{EventId, Position, StreamId, Timestamp, Version};
use serde::Serialize;

/// Characters of free text that a line shows.
const TEXT_CHARS_MAX: usize = 120;

/// The keys of a line of `--format jsonl`, in their order. Part of the promise.
#[derive(Serialize)]
struct Line<'a> {
    position: Position,
    stream: &'a StreamId,
    version: Version,
    event_id: EventId,
    #[serde(rename = "type")]
    type_name: &'a str,
    occurred_at: Timestamp,
    recorded_at: Timestamp,
    actor: &'a Actor,
    correlation_id: Option<EventId>,
    causation_id: Option<EventId>,
    payload: &'a Json,
}

/// Returns the event as JSON.
pub(crate) fn json(event: &LogEvent) -> serde_json::Result<String> {
    serde_json::to_string(&Line {
        position: event.position,
        stream: &event.stream,
        version: event.version,
        event_id: event.event_id,
        type_name: &event.type_name,
        occurred_at: event.occurred_at,
        recorded_at: event.recorded_at,
        actor: &event.actor,
        correlation_id: event.correlation_id,
        causation_id: event.causation_id,
        payload: &event.payload,
    })
}

/// Returns the event for people: position, time, stream, type, and what tells.
pub(crate) fn text(event: &LogEvent) -> String {
    let payload = event.payload.to_string();
    let telling = match Event::decode(&event.type_name, payload.as_bytes()) {
        // The event's id is the deployment's, which later events name.
        Ok(Event::DeploymentRequested(e)) => format!("{}, {}", event.event_id, e.store_path),
        Ok(decoded) => telling(&decoded),
        // Of a newer server: its payload is shown as it is.
        Err(_) => payload,
    };
    let mut line = format!(
        "{:>6}  {}  {}  {}",
        event.position,
        seconds(event.recorded_at),
        event.stream,
        event.type_name
    );
    let annex = event.annex.as_ref();
    let last_line = |text: &'_ str| text.trim_end().lines().next_back().map(str::to_owned);
    let said = annex.and_then(|annex| {
        annex.description.clone().or_else(|| annex.error.as_deref().and_then(last_line))
    });
    let said = said.map(|said| format!("{:?}", first_words(&said))).unwrap_or_default();
    for part in [telling, said].iter().filter(|part| !part.is_empty()) {
        line.push_str("  ");
        line.push_str(part);
    }
    clean(&line)
}

fn first_words(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let words = words.join(" ");
    let mut chars = words.chars();
    let mut short: String = chars.by_ref().take(TEXT_CHARS_MAX).collect();
    if chars.next().is_some() {
        short.push('…');
    }
    short
}

/// Returns what tells one event of a type from another.
fn telling(event: &Event) -> String {
    match event {
        Event::WorkspaceCreated(_) | Event::AgentRetired(_) | Event::NodeStopped(_) => {
            String::new()
        }
        Event::TokenIssued(e) => token_issued(e),
        Event::TokenRevoked(e) => format!("token {}", e.token),
        Event::AgentConnected(e) => {
            format!("{} from {}, version {}", e.agent, e.system, e.version)
        }
        Event::AgentDisconnected(e) => format!("{}: {}", e.agent, e.reason),
        Event::SessionsLost(e) => {
            let agents: Vec<&AgentName> = e.sessions.iter().map(|lost| &lost.agent).collect();
            format!("of node {}, alive until {}: {}", e.node, seconds(e.alive_until), list(&agents))
        }
        Event::AgentRegistered(e) => format!("key {}", e.public_key),
        Event::AgentRekeyed(e) => match e.public_key {
            Some(key) => format!("key {key}"),
            None => "any key".to_owned(),
        },
        Event::ActivationRequested(e) => activation_requested(e),
        Event::NodeStarted(e) => format!("version {}", e.version),
        Event::ClockConfirmed(e) => {
            format!("clock {}, last recorded {}", seconds(e.clock), seconds(e.last_recorded_at))
        }
        Event::NodeLost(e) => format!("alive until {}", seconds(e.alive_until)),
        Event::SigningKeyAdded(e) => format!("{} signs as {}", e.public_key, e.origin),
        Event::ForkAccepted(e) => format!("in place of {} events with the root {}", e.size, e.root),
        Event::AnnexErased(e) => format!("of event {}", e.position),
        Event::DeploymentRequested(_)
        | Event::DeploymentSuperseded(_)
        | Event::DeploymentCancelled(_)
        | Event::DeploymentStarted(_)
        | Event::ClosureFetched(_)
        | Event::ActivationSucceeded(_)
        | Event::ActivationFailed(_)
        | Event::DeploymentSucceeded(_)
        | Event::DeploymentFailed(_) => telling_of_deployment(event),
    }
}

/// The same for the events of a deployment.
fn telling_of_deployment(event: &Event) -> String {
    match event {
        Event::DeploymentRequested(e) => e.store_path.to_string(),
        Event::DeploymentSuperseded(e) => format!("{} by {}", e.deployment, e.by),
        Event::DeploymentCancelled(e) => format!("{}: {}", e.deployment, e.reason),
        Event::DeploymentStarted(e) => e.deployment.to_string(),
        Event::ClosureFetched(e) => {
            let (size, paths) = (bytes(e.closure_bytes), e.closure_paths);
            format!("{}, {size} in {paths} store paths", e.deployment)
        }
        Event::ActivationSucceeded(e) => match e.generation {
            Some(generation) => format!("{}, {}, generation {generation}", e.deployment, e.kind),
            None => format!("{}, {}", e.deployment, e.kind),
        },
        Event::ActivationFailed(e) => match e.exit_status {
            Some(status) => format!("{}, {}, exit status {status}", e.deployment, e.kind),
            None => format!("{}, {}, no exit status", e.deployment, e.kind),
        },
        Event::DeploymentSucceeded(e) => {
            format!("{}, {} of output", e.deployment, bytes(e.output.bytes))
        }
        Event::DeploymentFailed(e) => {
            let output = e.output.as_ref();
            let output = output.map(|o| format!(", {} of output", bytes(o.bytes)));
            let output = output.unwrap_or_default();
            format!("{}: {}, machine {}{output}", e.deployment, e.reason, e.outcome)
        }
        _ => String::new(),
    }
}

fn token_issued(e: &event::TokenIssued) -> String {
    let agents: Vec<&AgentPattern> = e.agents.iter().collect();
    let agents =
        if agents.is_empty() { String::new() } else { format!(", agents {}", list(&agents)) };
    let expires = e.expires_at.map(|at| format!(", until {}", seconds(at))).unwrap_or_default();
    format!("{} for the {}, token {}{agents}{expires}", e.kind, e.reach, e.token)
}

fn activation_requested(e: &event::ActivationRequested) -> String {
    let agents = if e.agents == 1 { "agent" } else { "agents" };
    let mut text = format!("{} {agents}", e.agents);
    if let Some(ci) = &e.ci {
        text.push_str(&format!(", {}", ci.provider));
        let words = [("", &ci.repository), ("run ", &ci.run), ("at ", &ci.revision)];
        for (what, word) in words {
            if let Some(word) = word {
                text.push_str(&format!(" {what}{}", word.as_str()));
            }
        }
    }
    text
}

fn list(items: &[impl ToString]) -> String {
    const SHOWN_MAX: usize = 10;
    let mut words: Vec<String> = items.iter().take(SHOWN_MAX).map(ToString::to_string).collect();
    if items.len() > SHOWN_MAX {
        words.push(format!("and {} more", items.len() - SHOWN_MAX));
    }
    words.join(" ")
}

#[cfg(test)]
mod tests;
