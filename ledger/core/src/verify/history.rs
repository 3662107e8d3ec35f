//! What must hold from one event to the next: places, times, writes, ids.

use super::fault::Fault;
use crate::ids::{ActivationId, EventId, Position, RequestId, Version};
use crate::record::{ActorKind, Columns};
use crate::stream::StreamId;
use crate::time::Timestamp;
use std::collections::HashMap;

/// What the events so far leave for the next one to fit to.
#[derive(Debug)]
pub(super) struct History {
    /// Whether streams and writes may have begun before the first event.
    partial: bool,
    position: Position,
    recorded_at: Option<Timestamp>,
    versions: HashMap<Box<str>, Version>,
    write: Write,
    /// Every event id in the order of the positions, if repeats are looked for here.
    ids: Option<Vec<u128>>,
}

/// The write whose events are being read.
#[derive(Debug, Default)]
struct Write {
    /// Whether any write's first event was seen.
    seen: bool,
    first: Position,
    /// How many of its events are still to come.
    left: u32,
    ordinal: u32,
    /// What all ids of a write begin with.
    prefix: [u8; 6],
    /// The request's id, where the log tells it: an activation's.
    request: Option<RequestId>,
    actor_kind: Option<ActorKind>,
    actor: String,
}

impl History {
    pub(super) fn new(first: Position, ids: bool) -> Self {
        Self {
            partial: first > Position::ZERO.next(),
            position: Position(first.0.saturating_sub(1)),
            recorded_at: None,
            versions: HashMap::new(),
            write: Write::default(),
            ids: ids.then(Vec::new),
        }
    }

    /// Returns the newest position.
    pub(super) fn position(&self) -> Position {
        self.position
    }

    pub(super) fn event(&mut self, columns: &Columns<'_>) -> Result<(), Fault> {
        let (position, expected) = (columns.position, self.position.next());
        if position != expected {
            return Err(Fault::Gap { expected, found: position });
        }
        self.version(columns)?;
        self.time(columns)?;
        self.write.event(columns, self.partial, self.recorded_at == Some(columns.recorded_at))?;
        self.recorded_at = Some(columns.recorded_at);
        self.position = position;
        if let Some(ids) = &mut self.ids {
            ids.push(columns.event_id.uuid().as_u128());
        }
        Ok(())
    }

    fn version(&mut self, columns: &Columns<'_>) -> Result<(), Fault> {
        let Columns { position, version, stream, .. } = *columns;
        if let Some(before) = self.versions.get_mut(stream) {
            if version != before.next() {
                let what = format!(
                    "{version} stands where {} should in the stream {stream}",
                    before.next()
                );
                return Err(Fault::column(position, "version", what));
            }
            *before = version;
            return Ok(());
        }
        stream.parse::<StreamId>().map_err(|error| Fault::column(position, "stream", error))?;
        let first = Version::ZERO.next();
        if version < first || (version > first && !self.partial) {
            let what = format!("{version} stands where 1 should in the stream {stream}");
            return Err(Fault::column(position, "version", what));
        }
        self.versions.insert(stream.into(), version);
        Ok(())
    }

    fn time(&self, columns: &Columns<'_>) -> Result<(), Fault> {
        match self.recorded_at {
            Some(before) if columns.recorded_at < before => {
                let what =
                    format!("{} lies before {before} of the event before it", columns.recorded_at);
                Err(Fault::column(columns.position, "recorded_at", what))
            }
            _ => Ok(()),
        }
    }

    /// Returns whether the last write is not complete.
    pub(super) fn is_open(&self) -> bool {
        self.write.left > 0
    }

    /// Says how the log goes on that ends in the middle of a write.
    pub(super) fn rest(&self) -> String {
        format!(
            "the write that begins at position {}, {} events of which are missing",
            self.write.first, self.write.left
        )
    }

    /// Looks for an id that two events have.
    pub(super) fn repeated(&self) -> Result<(), Fault> {
        let Some(ids) = &self.ids else { return Ok(()) };
        let mut sorted = ids.clone();
        sorted.sort_unstable();
        let Some(id) = sorted.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0]) else {
            return Ok(());
        };
        let begin = self.position.0 - ids.len() as u64 + 1;
        let mut places = (begin..).zip(ids).filter(|(_, other)| **other == id).map(|(at, _)| at);
        let (first, second) = (places.next().unwrap_or(0), places.next().unwrap_or(0));
        let what = format!("it is that of position {first}, too");
        Err(Fault::column(Position(second), "event_id", what))
    }
}

impl Write {
    fn event(
        &mut self,
        columns: &Columns<'_>,
        partial: bool,
        same_moment: bool,
    ) -> Result<(), Fault> {
        let Columns { position, event_id, .. } = *columns;
        let fault = |column, what: String| Err(Fault::column(position, column, what));
        let id = event_id.bytes();
        if id[6] >> 4 != 7 || id[8] >> 6 != 2 {
            return fault("event_id", format!("{event_id} is not derived from a request"));
        }
        match columns.given {
            Some(_) if self.left > 0 => {
                let (first, left) = (self.first, self.left);
                return fault(
                    "given",
                    format!(
                        "a write begins here, while {left} events of the one at position {first} are missing"
                    ),
                );
            }
            Some(given) => {
                self.begin(columns);
                self.left = given.events;
            }
            None if self.left == 0 && (self.seen || !partial) => {
                return fault("given", "the event belongs to no write".to_owned());
            }
            // The write began before what is looked at.
            None if self.left == 0 => return Ok(()),
            None => {
                self.ordinal += 1;
                if id[..6] != self.prefix {
                    let what = "it is not derived from the request of its write";
                    return fault("event_id", what.to_owned());
                }
                if !same_moment {
                    let what = "it is not that of the other events of its write";
                    return fault("recorded_at", what.to_owned());
                }
                if Some(columns.actor_kind) != self.actor_kind || columns.actor != self.actor {
                    let what = "it is not that of the other events of its write";
                    return fault("actor", what.to_owned());
                }
            }
        }
        self.left = self.left.saturating_sub(1);
        if let Some(request) = self.request
            && EventId::derive(request, self.ordinal) != event_id
        {
            let what = format!("{event_id} is not derived from the activation {request}");
            return fault("event_id", what);
        }
        Ok(())
    }

    fn begin(&mut self, columns: &Columns<'_>) {
        self.seen = true;
        self.first = columns.position;
        self.ordinal = 0;
        self.prefix.copy_from_slice(&columns.event_id.bytes()[..6]);
        self.actor_kind = Some(columns.actor_kind);
        self.actor.clear();
        self.actor.push_str(columns.actor);
        // An activation is written under its own id; that of any other request is
        // known to its client alone.
        let activation = (columns.type_name == "ActivationRequested")
            .then(|| columns.stream.strip_prefix("activation/"))
            .flatten();
        self.request =
            activation.and_then(|id| id.parse::<ActivationId>().ok()).map(RequestId::from);
    }
}
