//! What must hold of every log, whatever happened.

use super::agent::Agent;
use super::world::World;
use api_wire::http::LogEvent;
use std::collections::{BTreeMap, BTreeSet};

/// A deployment that went well, from its request on.
pub(crate) const WELL: [&str; 5] = [
    "DeploymentRequested",
    "DeploymentStarted",
    "ClosureFetched",
    "ActivationSucceeded",
    "DeploymentSucceeded",
];

impl World {
    /// Checks an agent's stream, type by type, and then the whole log.
    pub(crate) fn check_story(&self, agent: &Agent, expected: &[&str]) {
        let story = self.story(agent.name());
        assert_eq!(story, expected, "the stream of {}", agent.name());
        let log = self.log();
        check_log(&log);
        check_acknowledged(&log, agent);
    }
}

/// Checks what holds of every log: order, ids, and each step of a deployment once.
pub(crate) fn check_log(log: &[LogEvent]) {
    let mut versions = BTreeMap::new();
    let mut ids = BTreeSet::new();
    let mut steps = BTreeSet::new();
    let mut ends = BTreeMap::new();
    for (index, event) in log.iter().enumerate() {
        let what = format!("{} at position {}", event.type_name, event.position);
        assert_eq!(event.position.0, index as u64 + 1, "a gap or a repetition at {what}");
        let version = versions.entry(event.stream.to_string()).or_insert(0);
        *version += 1;
        assert_eq!(event.version.0, *version, "a gap or a repetition in the stream of {what}");
        assert!(ids.insert(event.event_id), "the id of {what} stands twice");
        if let Some(before) = index.checked_sub(1).map(|before| &log[before]) {
            assert!(before.recorded_at <= event.recorded_at, "time falls at {what}");
        }
        let Some(deployment) = event.payload["deployment"].as_str() else { continue };
        assert!(steps.insert((deployment, &event.type_name)), "{what} is reported twice");
        if is_end(&event.type_name) {
            let before = ends.insert(deployment, &event.type_name);
            assert_eq!(before, None, "{what} ends what had ended");
        } else {
            assert!(!ends.contains_key(deployment), "{what} comes after the end");
        }
    }
}

fn is_end(type_name: &str) -> bool {
    matches!(
        type_name,
        "DeploymentSucceeded" | "DeploymentFailed" | "DeploymentSuperseded" | "DeploymentCancelled"
    )
}

/// Checks that every report that the agent knows to be acknowledged is in the log once.
fn check_acknowledged(log: &[LogEvent], agent: &Agent) {
    for id in agent.acknowledged() {
        let times = log.iter().filter(|event| event.event_id == id).count();
        assert_eq!(
            times,
            1,
            "a report acknowledged to {} is in the log {times} times",
            agent.name()
        );
    }
}
