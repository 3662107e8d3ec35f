//! How deployments ended, from the events as they are folded.

use crate::metrics::{Counters, counters};
use ledger_core::{DeploymentId, Event, Position, Record, Timestamp};
use prometheus_client::metrics::histogram::Histogram;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Seconds that a deployment may take, from a switch of a symlink to a large
/// closure over a slow line.
const DEPLOYMENT_SECONDS: [f64; 11] =
    [1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0];

/// Counts ends of deployments, and how long those took that began here.
pub(crate) struct Outcomes {
    since: Position,
    pub(super) ends: Counters,
    pub(super) seconds: Histogram,
    /// When what runs was started: one for each agent at the most.
    started: Mutex<HashMap<DeploymentId, Timestamp>>,
}

/// What one event says of a deployment.
enum Step {
    Started(DeploymentId),
    Ended(&'static str, DeploymentId),
}

impl Outcomes {
    pub(super) fn new(since: Position) -> Self {
        Self {
            since,
            ends: counters("result", ["succeeded", "failed", "superseded", "cancelled"]),
            seconds: Histogram::new(DEPLOYMENT_SECONDS),
            started: Mutex::default(),
        }
    }

    /// Counts what the records say. What the log held before the start is history.
    pub(crate) fn observe(&self, records: &[Record]) {
        for record in records.iter().filter(|record| record.position > self.since) {
            match step(record) {
                Some(Step::Started(deployment)) => {
                    self.started().insert(deployment, record.recorded_at);
                }
                Some(Step::Ended(result, deployment)) => {
                    self.ends.get_or_create(&[("result", result)]).inc();
                    let started = self.started().remove(&deployment);
                    if let Some(started) = started {
                        self.seconds.observe(seconds(started, record.recorded_at));
                    }
                }
                None => {}
            }
        }
    }

    fn started(&self) -> std::sync::MutexGuard<'_, HashMap<DeploymentId, Timestamp>> {
        // Whole before and after each change.
        self.started.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn step(record: &Record) -> Option<Step> {
    // By the name first: most events are no deployment's, and need not be read.
    if !record.type_name.starts_with("Deployment") {
        return None;
    }
    Some(match record.event().ok()? {
        Event::DeploymentStarted(event) => Step::Started(event.deployment),
        Event::DeploymentSucceeded(event) => Step::Ended("succeeded", event.deployment),
        Event::DeploymentFailed(event) => Step::Ended("failed", event.deployment),
        Event::DeploymentSuperseded(event) => Step::Ended("superseded", event.deployment),
        Event::DeploymentCancelled(event) => Step::Ended("cancelled", event.deployment),
        _ => return None,
    })
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    // Microseconds of any deployment are exact in a float.
    to.micros().saturating_sub(from.micros()).max(0) as f64 / 1e6
}
