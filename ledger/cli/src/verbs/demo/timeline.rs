//! What the log recorded, as a timeline for people.

use super::look::{INDENT, Look, Tone};
use crate::terminal::bytes;
use api_wire::http::LogEvent;
use ledger_core::StorePath;
use ledger_core::event::Event;
use std::collections::HashMap;

/// Characters of a time, and of the name that comes after it.
const TIME_WIDTH: usize = 12;
const WHO_WIDTH: usize = 6;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// The time of day in UTC, to the millisecond.
    time: String,
    /// Whom it is about: an agent, or the server.
    who: String,
    what: String,
    /// Whether something new begins with it.
    begins: bool,
}

/// Tells the events, in their order.
pub(crate) fn tell(events: &[LogEvent]) -> Vec<Row> {
    let mut numbers = Numbers::default();
    events
        .iter()
        .map(|event| {
            let payload = event.payload.to_string();
            let (who, what) = match Event::decode(&event.type_name, payload.as_bytes()) {
                Ok(decoded) => (who(event, &decoded), numbers.what(event, &decoded)),
                // Of a newer program: its name says it.
                Err(_) => (agent_of(event), event.type_name.clone()),
            };
            let time = event.recorded_at.to_string();
            // RFC 3339: the date and a T come first, microseconds last.
            let time = time.get(11..11 + TIME_WIDTH).unwrap_or_default().to_owned();
            let begins = event.type_name == "ActivationRequested";
            Row { time, who: who.unwrap_or_else(|| "server".to_owned()), what, begins }
        })
        .collect()
}

/// Shows rows in columns. What happened in the same millisecond repeats no time.
pub(crate) fn show(rows: &[Row], look: Look) -> Vec<String> {
    let mut lines = Vec::new();
    let mut last = "";
    let before = INDENT.len() + TIME_WIDTH + 2 + WHO_WIDTH + 2;
    for row in rows {
        if row.begins {
            lines.push(String::new());
        }
        let time = if row.time == last && !row.begins { "" } else { &row.time };
        last = &row.time;
        let tone = if row.who == "server" { Tone::Plain } else { Tone::Name };
        let time = look.paint(Tone::Quiet, &format!("{time:<TIME_WIDTH$}"));
        let who = look.paint(tone, &format!("{:<WHO_WIDTH$}", row.who));
        let mut what = look.broken(&row.what, before).into_iter();
        lines.push(format!("{INDENT}{time}  {who}  {}", what.next().unwrap_or_default()));
        lines.extend(what.map(|rest| format!("{:before$}{rest}", "")));
    }
    lines
}

fn who(event: &LogEvent, decoded: &Event) -> Option<String> {
    match decoded {
        Event::AgentConnected(e) => Some(e.agent.to_string()),
        Event::AgentDisconnected(e) => Some(e.agent.to_string()),
        _ => agent_of(event),
    }
}

/// Returns the agent whose stream an event stands in.
fn agent_of(event: &LogEvent) -> Option<String> {
    let stream = event.stream.to_string();
    let agent = stream.strip_prefix("agent/")?.rsplit('/').next()?;
    Some(agent.to_owned())
}

/// Each deployment by its number, as people say `#2`.
#[derive(Debug, Default)]
struct Numbers {
    asked: HashMap<String, u64>,
    of: HashMap<String, u64>,
}

impl Numbers {
    fn what(&mut self, event: &LogEvent, decoded: &Event) -> String {
        match decoded {
            Event::WorkspaceCreated(_) => "workspace created".to_owned(),
            Event::NodeStarted(e) => format!("started, version {}", e.version),
            Event::NodeStopped(_) => "stopped".to_owned(),
            Event::TokenIssued(e) => format!("token of kind {} issued", e.kind),
            Event::AgentRegistered(_) => "registered with a key of its own".to_owned(),
            Event::AgentConnected(e) => format!("connected, {}", e.system),
            Event::AgentDisconnected(e) => format!("disconnected, {}", e.reason),
            Event::ActivationRequested(e) => format!("activation for {} agents", e.agents),
            Event::DeploymentRequested(e) => {
                let asked = self.asked.entry(event.stream.to_string()).or_default();
                *asked += 1;
                self.of.insert(event.event_id.to_string(), *asked);
                format!("#{asked} requested: {}", name(&e.store_path))
            }
            Event::DeploymentStarted(e) => format!("{} started", self.number(&e.deployment)),
            Event::ClosureFetched(e) => {
                let (size, paths) = (bytes(e.closure_bytes), e.closure_paths);
                format!("{} fetched: {size} in {paths} paths", self.number(&e.deployment))
            }
            Event::ActivationSucceeded(e) => {
                let number = self.number(&e.deployment);
                match e.generation {
                    Some(generation) => format!("{number} activated as generation {generation}"),
                    None => format!("{number} activated"),
                }
            }
            Event::DeploymentSucceeded(e) => format!("{} succeeded", self.number(&e.deployment)),
            Event::DeploymentFailed(e) => {
                format!("{} failed: {}", self.number(&e.deployment), e.reason)
            }
            other => other.type_name().to_owned(),
        }
    }

    fn number(&self, deployment: &impl ToString) -> String {
        let number = self.of.get(&deployment.to_string());
        number.map_or_else(|| "deployment".to_owned(), |number| format!("#{number}"))
    }
}

/// Returns what comes after a store path's hash.
fn name(path: &StorePath) -> &str {
    let path = path.as_str();
    path.rsplit('/').next().and_then(|name| name.split_once('-')).map_or(path, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0190b1f2-7c1e-7d3a-9f00-5c2d6e1a4b90";

    fn event(stream: &str, type_name: &str, payload: &str) -> LogEvent {
        let payload = payload.replace("ID", ID);
        let text = format!(
            r#"{{"position":41,"stream":"{stream}","version":3,"event_id":"{ID}","type":"{type_name}",
            "occurred_at":"2026-03-01T11:59:59.5Z","recorded_at":"2026-03-01T12:00:00.25Z",
            "actor":{{"kind":"token","id":"t"}},"correlation_id":null,"causation_id":"{ID}","payload":{payload}}}"#
        );
        serde_json::from_str(&text).expect("an event")
    }

    fn story() -> Vec<LogEvent> {
        let agent = "agent/default/web-1";
        let path = "/nix/store/0c5b8vw40dy178xlpddw65q9gf1h2186-site-v1";
        let requested =
            format!(r#"{{"activation":"ID","store_path":"{path}","rollback_script":null}}"#);
        let fetched = r#"{"deployment":"ID","closure_bytes":1536,"closure_paths":3}"#;
        let activated = r#"{"deployment":"ID","kind":"plain","generation":7,"previous":null}"#;
        let connected = r#"{"session":"ID","agent":"web-1","node":"ID","version":"0.1.0","system":"x86_64-linux"}"#;
        vec![
            event("workspace/default", "WorkspaceCreated", "{}"),
            event("sessions/default", "AgentConnected", connected),
            event(agent, "DeploymentRequested", &requested),
            event(agent, "ClosureFetched", fetched),
            event(agent, "ActivationSucceeded", activated),
            event(agent, "TurnedToGold", r#"{"much":true}"#),
        ]
    }

    #[test]
    fn each_event_is_told_of_whom_it_is_about() {
        let told: Vec<String> =
            tell(&story()).iter().map(|row| format!("{} {}", row.who, row.what)).collect();
        assert_eq!(
            told,
            [
                "server workspace created",
                "web-1 connected, x86_64-linux",
                "web-1 #1 requested: site-v1",
                "web-1 #1 fetched: 1.5 KiB in 3 paths",
                "web-1 #1 activated as generation 7",
                "web-1 TurnedToGold",
            ]
        );
    }

    #[test]
    fn rows_stand_in_columns_however_narrow() {
        let rows = tell(&story());
        let plain = show(&rows, Look { width: None, colour: false });
        assert_eq!(plain[0], "   12:00:00.250  server  workspace created");
        assert_eq!(plain[1], "                 web-1   connected, x86_64-linux");
        let narrow = show(&rows, Look { width: Some(48), colour: false });
        assert!(narrow.iter().all(|line| line.chars().count() <= 48), "{narrow:#?}");
        assert!(narrow.len() > plain.len());
    }
}
