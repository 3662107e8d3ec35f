//! What must hold of a log whose servers died again and again.

use super::load::{Acknowledged, Deed};
use api_wire::http::LogEvent;
use ledger_core::{AgentName, DeploymentId, EventId, Position, RequestId, SessionId, StreamId};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A log as it was read.
#[derive(Clone, Default)]
pub(super) struct History {
    pub(super) events: Vec<LogEvent>,
    /// Whether servers share the log, and so give signs of life beside it.
    shared: bool,
    /// Where each event stands in `events`.
    places: HashMap<EventId, usize>,
    /// The index of each deployment among its agent's.
    indexes: HashMap<EventId, u64>,
    /// How many deployments each stream asks for.
    requested: HashMap<StreamId, u64>,
}

impl History {
    /// A log of which nothing was read yet.
    pub(super) fn new(shared: bool) -> Self {
        Self { shared, ..Self::default() }
    }

    /// The same log, if these were its events.
    pub(super) fn with(&self, events: Vec<LogEvent>) -> Self {
        let mut history = Self::new(self.shared);
        history.extend(events);
        history
    }

    pub(super) fn extend(&mut self, events: Vec<LogEvent>) {
        for event in events {
            self.places.insert(event.event_id, self.events.len());
            if event.type_name == "DeploymentRequested" {
                let index = self.requested.entry(event.stream.clone()).or_insert(0);
                *index += 1;
                self.indexes.insert(event.event_id, *index);
            }
            self.events.push(event);
        }
    }

    /// Where to read on.
    pub(super) fn next(&self) -> Position {
        Position(self.events.len() as u64 + 1)
    }

    pub(super) fn count(&self, type_name: &str) -> usize {
        self.events.iter().filter(|event| event.type_name == type_name).count()
    }

    /// Finds a request that is there, of those that must not be.
    pub(super) fn find(&self, requests: &[RequestId]) -> Option<RequestId> {
        let is_there = |id: &&RequestId| self.places.contains_key(&EventId::derive(**id, 0));
        requests.iter().find(is_there).copied()
    }

    /// Where an acknowledged write begins.
    pub(super) fn position(&self, acknowledged: &Acknowledged) -> Option<Position> {
        let first = EventId::derive(acknowledged.request, 0);
        self.places.get(&first).map(|idx| self.events[*idx].position)
    }

    /// Finds gaps, repetitions, and lines of which one stands in another's place.
    pub(super) fn faults_of_order(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut versions = BTreeMap::new();
        for (event, position) in self.events.iter().zip(1..) {
            let version = versions.entry(&event.stream).or_insert(0);
            *version += 1;
            if event.position.0 != position || event.version.0 != *version {
                faults.push(format!("a gap or a repetition at {}", name(event)));
            }
        }
        if self.places.len() != self.events.len() {
            faults.push("an event id stands twice".to_owned());
        }
        if !self.events.is_sorted_by_key(|event| event.recorded_at) {
            faults.push("time falls".to_owned());
        }
        faults
    }

    /// Finds what was acknowledged and is not there as it was acknowledged.
    pub(super) fn faults_of(&self, acknowledged: &[Acknowledged]) -> Vec<String> {
        let faults = acknowledged.iter().filter_map(|acknowledged| {
            let fault = self.fault_of(acknowledged).err()?;
            Some(format!("{fault}: {acknowledged:?}"))
        });
        faults.collect()
    }

    fn fault_of(&self, acknowledged: &Acknowledged) -> Result<(), &'static str> {
        let written = self.written(acknowledged).ok_or("lost")?;
        let first = &written[0];
        let stream = first.stream.to_string();
        let is = |holds: bool, fault| if holds { Ok(()) } else { Err(fault) };
        match &acknowledged.deed {
            Deed::Workspace { name, position } => {
                is(first.position == *position, "at another position")?;
                is(written.len() == 1 && first.type_name == "WorkspaceCreated", "not what it was")?;
                is(stream == format!("workspace/{name}"), "in another stream")
            }
            Deed::Token => {
                is(written.len() == 1 && first.type_name == "TokenIssued", "not what it was")
            }
            Deed::Activation { position, deployments } => {
                is(first.position == *position, "at another position")?;
                is(first.type_name == "ActivationRequested", "not what it was")?;
                is(
                    deployments.iter().all(|deployment| self.is_requested(written, deployment)),
                    "without a deployment that it asked for",
                )
            }
            Deed::Step { agent, deployment, type_name } => {
                is(written.len() == 1 && first.type_name == *type_name, "not what it was")?;
                is(stream == format!("agent/default/{agent}"), "in another stream")?;
                is(
                    first.payload["deployment"] == deployment.to_string(),
                    "about another deployment",
                )
            }
        }
    }

    /// The events of a write: one behind the other, as one append leaves them.
    fn written(&self, acknowledged: &Acknowledged) -> Option<&[LogEvent]> {
        let id = |ordinal| EventId::derive(acknowledged.request, ordinal);
        let first = *self.places.get(&id(0))?;
        let behind = self.events[first..].iter().zip(0..);
        let n_events = behind.take_while(|(event, ordinal)| event.event_id == id(*ordinal)).count();
        (n_events > 0).then(|| &self.events[first..first + n_events])
    }

    fn is_requested(
        &self,
        written: &[LogEvent],
        (agent, id, index): &(AgentName, DeploymentId, u64),
    ) -> bool {
        let id = EventId::from(*id);
        let event = written.iter().find(|event| event.event_id == id);
        event.is_some_and(|event| event.stream.to_string() == format!("agent/default/{agent}"))
            && self.indexes.get(&id) == Some(index)
    }

    /// Finds deaths that are not recorded as they must be: with the next start of
    /// the node stands that it was lost, and each session that it held, once; none
    /// is open after it.
    pub(super) fn faults_of_deaths(&self, welcomed: &[SessionId]) -> Vec<String> {
        let mut faults = Vec::new();
        let mut open: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let mut running = BTreeSet::new();
        for (idx, event) in self.events.iter().enumerate() {
            match event.type_name.as_str() {
                "AgentConnected" => {
                    let [session, agent, node] =
                        ["session", "agent", "node"].map(|key| event.payload[key].as_str());
                    let (Some(session), Some(agent), Some(node)) = (session, agent, node) else {
                        faults.push(format!("{} names no session", name(event)));
                        continue;
                    };
                    seen.insert(session);
                    open.insert(agent, (session, node));
                }
                "AgentDisconnected" => {
                    let session = event.payload["session"].as_str();
                    open.retain(|_, (current, _)| Some(*current) != session);
                }
                "NodeStarted" => {
                    let node = event.stream.to_string();
                    let held: BTreeSet<&str> = open
                        .values()
                        .filter(|(_, holder)| node == format!("node/{holder}"))
                        .map(|(session, _)| *session)
                        .collect();
                    let (deaths, lost) = self.lost_with(idx);
                    let died = usize::from(!running.insert(node));
                    if (deaths, &lost) != (died, &held) {
                        let what = format!("{died} deaths with {held:?}");
                        faults.push(format!("{}: {what}, not {deaths} with {lost:?}", name(event)));
                    }
                    open.retain(|_, (session, _)| !held.contains(session));
                }
                "NodeStopped" => {
                    running.remove(&event.stream.to_string());
                }
                _ => {}
            }
        }
        for session in welcomed.iter().map(ToString::to_string) {
            if !seen.contains(session.as_str()) {
                faults.push(format!("session {session} was welcomed and is not in the log"));
            }
        }
        faults
    }

    /// How many deaths of the node, and which sessions as lost, are recorded in the
    /// same append as a start.
    fn lost_with(&self, start: usize) -> (usize, BTreeSet<&str>) {
        let started = &self.events[start];
        let is_part = |event: &&LogEvent| {
            matches!(event.type_name.as_str(), "NodeLost" | "SessionsLost")
                && event.recorded_at == started.recorded_at
        };
        let lost: Vec<&LogEvent> = self.events[..start].iter().rev().take_while(is_part).collect();
        let truthful = |event: &&&LogEvent| self.lived_until(event, start - lost.len());
        let deaths = lost.iter().filter(truthful);
        let deaths = deaths.filter(|e| e.type_name == "NodeLost" && e.stream == started.stream);
        let sessions = lost.iter().filter(truthful);
        let sessions = sessions.filter_map(|event| event.payload["sessions"].as_array()).flatten();
        (deaths.count(), sessions.filter_map(|session| session["session"].as_str()).collect())
    }

    /// Whether a loss, recorded with a start, says rightly until when the server
    /// lived; `end` events are from before.
    fn lived_until(&self, loss: &LogEvent, end: usize) -> bool {
        let said = loss.payload["alive_until"].as_str().unwrap_or_default();
        if !self.shared {
            // At least until the newest event that it wrote itself.
            let newest = end.checked_sub(1).map(|idx| self.events[idx].recorded_at);
            return newest.is_some_and(|newest| newest.to_string() == said);
        }
        // Signs of life are as good a proof, and others may have written since.
        let proves = |event: &&LogEvent| {
            event.type_name == "AgentConnected" || event.type_name == "NodeStarted"
        };
        let proven = self.events[..end].iter().rfind(proves).map(|event| event.recorded_at);
        let said = said.parse().ok();
        proven.is_some() && said >= proven && said <= Some(loss.recorded_at)
    }

    /// Finds effects of requests that nobody was told of, or that count twice,
    /// when every request was answered in the end. The first start makes a
    /// workspace and a token by itself.
    pub(super) fn faults_of_sums(&self, acknowledged: &[Acknowledged]) -> Vec<String> {
        let expected = |of: fn(&Deed) -> bool| acknowledged.iter().filter(|a| of(&a.deed)).count();
        let workspaces = expected(|deed| matches!(deed, Deed::Workspace { .. }));
        let tokens = expected(|deed| matches!(deed, Deed::Token));
        let activations = expected(|deed| matches!(deed, Deed::Activation { .. }));
        let expected = [
            ("WorkspaceCreated", 1 + workspaces),
            ("TokenIssued", 1 + tokens),
            ("ActivationRequested", activations),
            ("DeploymentRequested", activations * super::agents::NAMES.len()),
        ];
        let faults = expected.iter().filter_map(|(type_name, expected)| {
            let there = self.count(type_name);
            (there != *expected).then(|| format!("{there} {type_name}, not {expected}"))
        });
        faults.collect()
    }

    /// Counts the commits in which several requests were together.
    pub(super) fn shared_commits(&self, acknowledged: &[Acknowledged]) -> usize {
        let mut requests = BTreeMap::new();
        for event in acknowledged.iter().filter_map(|a| self.written(a)).map(|events| &events[0]) {
            *requests.entry(event.recorded_at).or_insert(0) += 1;
        }
        requests.values().filter(|n| **n > 1).count()
    }
}

/// Checks that the checks find what they are for, on a log that passes them.
pub(super) fn assert_notices(
    good: &History,
    acknowledged: &[Acknowledged],
    sessions: &[SessionId],
) {
    let without = |idx: usize| {
        let mut events = good.events.clone();
        events.remove(idx);
        good.with(events)
    };
    let last = acknowledged.last().expect("something was acknowledged");
    let place = good.places[&EventId::derive(last.request, 0)];
    assert!(!without(place).faults_of(acknowledged).is_empty(), "a lost write is not noticed");
    assert!(!without(place).faults_of_order().is_empty(), "a gap is not noticed");

    let mut events = good.events.clone();
    events.push(events[place].clone());
    assert!(!good.with(events).faults_of_order().is_empty(), "a repetition is not noticed");
    let counted_twice = [acknowledged, &acknowledged[..1]].concat();
    assert!(!good.faults_of_sums(&counted_twice).is_empty(), "a wrong sum is not noticed");

    for type_name in ["SessionsLost", "NodeLost"] {
        let lost = good.events.iter().position(|event| event.type_name == type_name);
        let lost = without(lost.expect("servers died with sessions"));
        assert!(!lost.faults_of_deaths(sessions).is_empty(), "no {type_name} is not noticed");
    }
    let unknown = SessionId::new(uuid::Uuid::now_v7());
    assert!(!good.faults_of_deaths(&[unknown]).is_empty(), "a lost session is not noticed");
}

fn name(event: &LogEvent) -> String {
    format!("{} at position {}", event.type_name, event.position)
}
