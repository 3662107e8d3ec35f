//! One batch: the rows that its requests add, and what they may look up.
//!
//! What is placed is a part of what the writer knows only once it is settled.

use crate::backend::{Append, Erasure, Failure, Head, Request, Rows, SignedNote};
use crate::limits;
use crate::read::StoredOutput;
use crate::write::{OutputError, OutputWrite, Write, WriteError, Written};
use crate::writer::folded::{Fold, Folded};
use crate::writer::settle::Unsettled;
use foldhash::fast::RandomState;
use ledger_core::limits as bounds;
use ledger_core::record::Given;
use ledger_core::{
    DeploymentId, Event, EventId, NewEvent, Position, Record, RequestId, SealedAnnex, StreamId,
    Timestamp, Version,
};
use std::collections::HashMap;
use std::sync::Arc;

/// Events of a request that are encoded before the first of them is placed, and that
/// are handed over at once.
const CHUNK: usize = 64;

/// What will be committed together.
pub(crate) struct Batch {
    /// What was not handed over yet.
    pub(crate) rows: Rows,
    /// What was handed over and is not settled yet.
    pub(super) handed: Vec<Arc<Vec<Record>>>,
    pub(super) unsettled: Unsettled,
    /// Events, those that were handed over included.
    n_events: usize,
    /// Where the log will end.
    pub(crate) position: Position,
    /// When its events are recorded: one moment for all of them.
    pub(crate) now: Timestamp,
    /// What the clock says, where that matters: for the one who vouches for it.
    pub(crate) clock: Timestamp,
    /// Requests that wrote something, in the log or earlier in the batch.
    pub(crate) requests: HashMap<RequestId, Request>,
    /// Versions of the streams of its events, and those that were looked up, of streams
    /// that are not remembered.
    pub(crate) versions: HashMap<StreamId, Version, RandomState>,
    /// Where the output of deployments ends, this batch included.
    pub(crate) output_ends: HashMap<DeploymentId, u64>,
    /// The newest cursor, this batch included.
    pub(crate) output_head: u64,
    /// The size of the newest checkpoint, this batch included.
    signed: u64,
    bytes: usize,
}

/// An event with the bytes that will be stored.
struct Encoded<'a> {
    event: &'a NewEvent,
    payload: Vec<u8>,
    annex: Option<SealedAnnex>,
}

impl Batch {
    pub(crate) fn new(
        head: Head,
        clock: Timestamp,
        folded: &Folded,
        requests: HashMap<RequestId, Request>,
    ) -> Self {
        Self {
            rows: Rows { behind: folded.last, ..Rows::default() },
            handed: Vec::new(),
            unsettled: Unsettled::default(),
            n_events: 0,
            position: folded.position,
            now: folded.recorded_at.unwrap_or(clock).max(clock),
            clock,
            requests,
            versions: HashMap::default(),
            output_ends: HashMap::new(),
            output_head: head.output,
            signed: head.signed,
            bytes: 0,
        }
    }

    /// Returns whether nothing is to be committed.
    pub(crate) fn is_empty(&self) -> bool {
        self.n_events == 0 && self.rows.outputs.is_empty() && self.rows.checkpoints.is_empty()
    }

    /// Returns whether no further request should join.
    pub(crate) fn is_full(&self) -> bool {
        self.n_events + self.rows.outputs.len() >= bounds::BATCH_EVENTS_MAX
            || self.bytes >= bounds::BATCH_BYTES_MAX
    }

    /// Returns the answer to a request that wrote something before.
    pub(crate) fn repeated(&self, write: &Write) -> Option<Result<Written, WriteError>> {
        let request = self.requests.get(&write.request_id)?;
        let same = request.given == Given::new(write.given, request.given.events);
        Some(if same {
            Ok(Written { positions: Some((request.first, request.last())), repeated: true })
        } else {
            Err(WriteError::IdempotencyMismatch { request_id: write.request_id })
        })
    }

    /// Gives events their places, and hands over what can be.
    ///
    /// The bounds of the first events are checked before one is placed, so that a
    /// refused request leaves nothing behind. Of a large request, later ones are
    /// encoded while earlier ones are inserted: if one is beyond its bounds, the
    /// batch fails, and each of its requests is judged again by itself.
    pub(crate) fn place<A: Append>(
        &mut self,
        fold: &mut Fold,
        appender: &mut A,
        write: &Write,
        events: Arc<Vec<NewEvent>>,
    ) -> Result<Result<Written, WriteError>, Failure> {
        let (ahead, later) = events.split_at(events.len().min(CHUNK));
        let encoded = match check(write, &events).and_then(|()| encode(ahead)) {
            Ok(encoded) if encoded.is_empty() => {
                return Ok(Ok(Written { positions: None, repeated: false }));
            }
            Ok(encoded) => encoded,
            Err(error) => return Ok(Err(error)),
        };
        // Small requests come from many at once, whose answers need the other cores.
        let is_large = events.len() >= A::BESIDE;
        if is_large {
            self.settle(fold);
        }
        // Growing moves what is there.
        self.rows.records.reserve(if is_large { CHUNK } else { events.len() });
        self.versions.reserve(events.len());
        let first = self.position.next();
        // Bounded far below by WRITE_EVENTS_MAX.
        let given = Given::new(write.given, u32::try_from(events.len()).unwrap_or(u32::MAX));
        let encoded = encoded.into_iter().map(Ok).chain(later.iter().map(encode_event));
        for (ordinal, encoded) in (0..).zip(encoded) {
            let encoded = encoded.map_err(half_placed)?;
            self.bytes += encoded.payload.len();
            let given = (ordinal == 0).then_some(given);
            let (record, event) = self.record(fold, write, ordinal, given, encoded);
            if let Event::AnnexErased(erased) = event {
                let erasure = Erasure { position: erased.position, ordered: record.position };
                self.rows.erasures.push(erasure);
            }
            self.rows.records.push(record);
            self.n_events += 1;
            if is_large && self.rows.records.len() >= CHUNK {
                self.handed.extend(appender.hand_over(&mut self.rows.records));
            }
        }
        self.unsettled.placed(events);
        if is_large {
            self.handed.extend(appender.hand_over(&mut self.rows.records));
            self.settle(fold);
        }
        let request = Request { first, given };
        self.requests.insert(write.request_id, request);
        Ok(Ok(Written { positions: Some((first, request.last())), repeated: false }))
    }

    fn record<'a>(
        &mut self,
        folded: &Folded,
        write: &Write,
        ordinal: u32,
        given: Option<Given>,
        encoded: Encoded<'a>,
    ) -> (Record, &'a Event) {
        let new = encoded.event;
        let version = self.version(folded, &new.stream).next();
        match self.versions.get_mut(&new.stream) {
            Some(known) => *known = version,
            None => drop(self.versions.insert(new.stream.clone(), version)),
        }
        self.position = self.position.next();
        let record = Record {
            position: self.position,
            stream: new.stream.clone(),
            version,
            event_id: EventId::derive(write.request_id, ordinal),
            type_name: new.event.type_name().to_owned(),
            occurred_at: new.occurred_at.unwrap_or(self.now),
            recorded_at: self.now,
            actor: write.actor.clone(),
            correlation_id: new.correlation_id,
            causation_id: new.causation_id,
            given,
            payload: encoded.payload,
            annex_digest: encoded.annex.as_ref().map(SealedAnnex::digest),
            annex: encoded.annex,
        };
        (record, &new.event)
    }

    /// Returns a stream's version, this batch included. What is not remembered
    /// must have been looked up.
    pub(crate) fn version(&self, folded: &Folded, stream: &StreamId) -> Version {
        self.versions.get(stream).copied().or_else(|| folded.version(stream)).unwrap_or_default()
    }

    /// Forgets what was presumed of the streams of a refused request: nothing that is
    /// appended to them holds the batch to it. Once something is, the version is above 0.
    pub(crate) fn forget_versions(&mut self, events: &[NewEvent]) {
        for event in events {
            if self.versions.get(&event.stream) == Some(&Version::ZERO) {
                self.versions.remove(&event.stream);
            }
        }
    }

    /// Returns whether an earlier request of the batch erases the annex.
    pub(crate) fn erases(&self, position: Position) -> bool {
        self.rows.erasures.iter().any(|erasure| erasure.position == position)
    }

    /// Adds a checkpoint, if it is newer than every other.
    pub(crate) fn place_checkpoint(&mut self, signed: &SignedNote) {
        if signed.size > self.signed {
            self.signed = signed.size;
            self.rows.checkpoints.push(signed.clone());
        }
    }

    /// Adds a piece of output behind what is stored.
    pub(crate) fn place_output(&mut self, output: &OutputWrite, end: u64) {
        let length = output.bytes.len();
        self.bytes += length;
        self.output_head += 1;
        self.output_ends.insert(output.deployment, end + length as u64);
        self.rows.outputs.push(StoredOutput {
            cursor: self.output_head,
            deployment: output.deployment,
            offset: output.offset,
            stored_at: self.now,
            bytes: output.bytes.clone(),
        });
    }
}

/// Checks a piece of output by itself.
pub(crate) fn check_output(output: &OutputWrite) -> Result<(), OutputError> {
    let length = output.bytes.len();
    let end = output.offset.checked_add(length as u64);
    if length > bounds::OUTPUT_CHUNK_BYTES_MAX
        || end.is_none_or(|end| end > bounds::OUTPUT_BYTES_MAX)
    {
        return Err(OutputError::TooLarge);
    }
    Ok(())
}

/// Holds what is the whole write's against its bounds.
fn check(write: &Write, events: &[NewEvent]) -> Result<(), WriteError> {
    if events.len() > limits::WRITE_EVENTS_MAX {
        let what = format!("{} events; at most {} fit", events.len(), limits::WRITE_EVENTS_MAX);
        return Err(WriteError::TooLarge { what });
    }
    let actor = write.actor.id.chars().count();
    if actor == 0 || write.actor.id.len() > limits::ACTOR_ID_CHARS_MAX {
        let max = limits::ACTOR_ID_CHARS_MAX;
        return Err(WriteError::TooLarge {
            what: format!("the actor's id must have 1 to {max} bytes"),
        });
    }
    Ok(())
}

/// A request that is refused when a part of it is already placed.
fn half_placed(error: WriteError) -> Failure {
    Failure {
        surroundings: false,
        refused: true,
        overtaken: false,
        why: error.to_string(),
        source: Box::new(error),
    }
}

fn encode(events: &[NewEvent]) -> Result<Vec<Encoded<'_>>, WriteError> {
    let mut encoded = Vec::with_capacity(events.len());
    for event in events {
        encoded.push(encode_event(event)?);
    }
    Ok(encoded)
}

fn encode_event(event: &NewEvent) -> Result<Encoded<'_>, WriteError> {
    let payload = event.event.encode();
    bounded("payload", event, payload.len(), bounds::PAYLOAD_BYTES_MAX)?;
    let annex = if event.annex.is_empty() {
        None
    } else {
        let bytes = event.annex.encode();
        bounded("annex", event, bytes.len(), bounds::ANNEX_BYTES_MAX)?;
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(|error| WriteError::Unavailable {
            why: format!("the system gives no random bytes: {error}"),
        })?;
        Some(SealedAnnex { salt, bytes })
    };
    Ok(Encoded { event, payload, annex })
}

fn bounded(part: &str, event: &NewEvent, bytes: usize, max: usize) -> Result<(), WriteError> {
    if bytes <= max {
        return Ok(());
    }
    let name = event.event.type_name();
    Err(WriteError::TooLarge {
        what: format!("the {part} of a {name} has {bytes} bytes; at most {max} fit"),
    })
}
