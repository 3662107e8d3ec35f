//! What a source reads, many rows together: they cross threads at once, and all
//! their text and bytes lie one after the other.

use ledger_core::merkle::{NodeHash, TileId};
use ledger_core::record::{ActorKind, Columns, Given};
use ledger_core::verify::{Fault, Piece, Told};
use ledger_core::{AnnexDigest, DeploymentId, EventId, Position, Timestamp, Version};

/// Bytes after which a batch is handed on: few enough to stay in a core's cache.
const BYTES_MAX: usize = 192 * 1024;
/// Items after which it is.
const ITEMS_MAX: usize = 1024;

/// A part of a batch's bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Span {
    start: usize,
    end: usize,
}

/// A part of a batch's text.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TextSpan(Span);

/// One event as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) position: Position,
    pub(crate) stream: TextSpan,
    pub(crate) version: Version,
    pub(crate) event_id: EventId,
    pub(crate) type_name: TextSpan,
    pub(crate) occurred_at: Timestamp,
    pub(crate) recorded_at: Timestamp,
    pub(crate) actor_kind: ActorKind,
    pub(crate) actor: TextSpan,
    pub(crate) correlation_id: Option<EventId>,
    pub(crate) causation_id: Option<EventId>,
    pub(crate) given: Option<Given>,
    pub(crate) payload: Span,
    /// The payload's digest, where the row says one.
    pub(crate) payload_digest: Option<[u8; 32]>,
    pub(crate) annex_digest: Option<AnnexDigest>,
    pub(crate) annex: Option<([u8; 16], Span)>,
}

/// A piece of output as it is stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) cursor: u64,
    pub(crate) deployment: DeploymentId,
    pub(crate) offset: u64,
    pub(crate) stored_at: Timestamp,
    pub(crate) bytes: Span,
}

/// One thing that is stored, in the order in which a checker wants it.
#[expect(clippy::large_enum_variant, reason = "nearly all are events: a box for each costs more")]
#[derive(Clone, Debug)]
pub(crate) enum Item {
    Event(Row),
    Erasure {
        position: Position,
        ordered: Position,
    },
    Tile {
        id: TileId,
        hashes: Option<Span>,
    },
    Checkpoint {
        size: u64,
        note: Span,
    },
    Output(Place),
    /// The root that everything up to here is said to have.
    Root(NodeHash),
    /// Something that belongs behind the last event.
    Beyond(String),
    /// Something that cannot be read.
    Fault(Fault),
    /// Something about the whole, which counts if nothing else is wrong.
    Afterwards(Fault),
}

/// What an event tells, and the digest of its payload.
pub(crate) type Looked = Result<(Told, [u8; 32]), Fault>;

/// Some items, with their text and bytes.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) items: Vec<Item>,
    bytes: Vec<u8>,
    text: String,
    /// What each event tells, once a worker looked at it.
    told: Vec<Looked>,
}

impl Batch {
    /// Forgets everything but the memory that it took.
    pub(crate) fn clear(&mut self) {
        let Self { items, bytes, text, told } = self;
        items.clear();
        bytes.clear();
        text.clear();
        told.clear();
    }

    /// Keeps bytes.
    pub(crate) fn keep(&mut self, bytes: &[u8]) -> Span {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        Span { start, end: self.bytes.len() }
    }

    /// Returns whether it is to be handed on.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= BYTES_MAX || self.items.len() >= ITEMS_MAX
    }

    /// Returns kept bytes.
    pub(crate) fn bytes(&self, span: Span) -> &[u8] {
        self.bytes.get(span.start..span.end).unwrap_or_default()
    }

    /// Keeps text.
    pub(crate) fn keep_text(&mut self, text: &str) -> TextSpan {
        let start = self.text.len();
        self.text.push_str(text);
        TextSpan(Span { start, end: self.text.len() })
    }

    /// Returns kept text.
    fn text(&self, TextSpan(span): TextSpan) -> &str {
        self.text.get(span.start..span.end).unwrap_or_default()
    }

    /// Returns an event's columns, the digest of the payload apart.
    pub(crate) fn columns(&self, row: &Row) -> Columns<'_> {
        Columns {
            position: row.position,
            stream: self.text(row.stream),
            version: row.version,
            event_id: row.event_id,
            type_name: self.text(row.type_name),
            occurred_at: row.occurred_at,
            recorded_at: row.recorded_at,
            actor_kind: row.actor_kind,
            actor: self.text(row.actor),
            correlation_id: row.correlation_id,
            causation_id: row.causation_id,
            annex_digest: row.annex_digest,
            given: row.given,
            payload_digest: [0; 32],
        }
    }

    /// Looks at each event alone. This is what costs the most.
    pub(crate) fn look(&mut self) {
        let mut scratch = Vec::with_capacity(512);
        let mut told = std::mem::take(&mut self.told);
        told.reserve(self.items.len());
        for item in &self.items {
            if let Item::Event(row) = item {
                told.push(self.look_at(row, &mut scratch));
            }
        }
        self.told = told;
    }

    fn look_at(&self, row: &Row, scratch: &mut Vec<u8>) -> Looked {
        let mut columns = self.columns(row);
        let annex = row.annex.as_ref().map(|(salt, bytes)| (salt, self.bytes(*bytes)));
        let told = Told::of_row(&mut columns, self.bytes(row.payload), annex, scratch)?;
        if row.payload_digest.is_some_and(|said| said != columns.payload_digest) {
            let what = "it was changed: it does not have the digest that its envelope names";
            return Err(Fault::column(row.position, "payload", what));
        }
        Ok((told, columns.payload_digest))
    }

    /// Takes what was seen of the events, in their order.
    pub(crate) fn take_told(&mut self) -> Vec<Looked> {
        std::mem::take(&mut self.told)
    }

    /// Keeps the memory of what was seen.
    pub(crate) fn keep_told(&mut self, told: Vec<Looked>) {
        self.told = told;
    }

    /// Returns a piece of output.
    pub(crate) fn piece(&self, place: &Place) -> Piece<'_> {
        Piece {
            cursor: place.cursor,
            deployment: place.deployment,
            offset: place.offset,
            bytes: self.bytes(place.bytes),
        }
    }
}
