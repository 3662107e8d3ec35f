//! The envelope: the one binary layout that covers every stored column of an event.

use super::{Actor, ActorKind, Given, Record};
use crate::annex::{AnnexDigest, SealedAnnex};
use crate::ids::{EventId, Position, Version};
use crate::merkle::NodeHash;
use crate::stream::{InvalidStreamId, StreamId};
use crate::time::Timestamp;

/// The version of the envelope's layout, and its first bytes.
const MAGIC: &[u8; 4] = b"LDG1";

/// What an envelope covers, borrowed from wherever it stands. Whoever reads many
/// events so copies no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Columns<'a> {
    /// The place in the whole log.
    pub position: Position,
    /// The stream's name.
    pub stream: &'a str,
    /// The place in the stream.
    pub version: Version,
    /// The event's id.
    pub event_id: EventId,
    /// The name of the event's type.
    pub type_name: &'a str,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// When it was appended.
    pub recorded_at: Timestamp,
    /// What kind of thing acted.
    pub actor_kind: ActorKind,
    /// The actor's id.
    pub actor: &'a str,
    /// What it belongs to.
    pub correlation_id: Option<EventId>,
    /// What led to it.
    pub causation_id: Option<EventId>,
    /// The digest of the annex.
    pub annex_digest: Option<AnnexDigest>,
    /// The request that wrote it, if it is the first event of its write.
    pub given: Option<Given>,
    /// The BLAKE3 of the payload.
    pub payload_digest: [u8; 32],
}

/// Bytes that are no envelope, or not that of the payload beside them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{column}: {what}")]
pub struct InvalidEnvelope {
    /// In which column.
    pub column: &'static str,
    /// What is wrong with it.
    pub what: String,
}

impl Record {
    /// Returns the envelope: the one binary layout that covers every stored column.
    ///
    /// Integers are big-endian; text is UTF-8 behind its length. In this order:
    ///
    /// | bytes | what |
    /// |---|---|
    /// | 4 | `LDG1` |
    /// | 8 | position |
    /// | 2 + n | stream |
    /// | 8 | version |
    /// | 16 | event id |
    /// | 1 + n | type |
    /// | 8 | occurred at, microseconds since 1970, two's complement |
    /// | 8 | recorded at, likewise |
    /// | 1 | actor's kind |
    /// | 1 + n | actor's id |
    /// | 1 | which of the next four are there: 1 correlation, 2 causation, 4 annex, 8 request |
    /// | 16 | correlation id, if there |
    /// | 16 | causation id, if there |
    /// | 32 | annex digest, if there |
    /// | 8 + 4 | digest of what the client gave, and the number of events of the write, if there |
    /// | 32 | BLAKE3 of the payload |
    pub fn envelope(&self) -> Vec<u8> {
        let stream = self.stream.to_string();
        let mut out = Vec::with_capacity(256);
        self.columns(&stream).put_envelope(&mut out);
        out
    }

    /// Returns what the envelope covers. The stream's name is the caller's, who
    /// may have it written out already.
    pub(super) fn columns<'a>(&'a self, stream: &'a str) -> Columns<'a> {
        Columns {
            position: self.position,
            stream,
            version: self.version,
            event_id: self.event_id,
            type_name: &self.type_name,
            occurred_at: self.occurred_at,
            recorded_at: self.recorded_at,
            actor_kind: self.actor.kind,
            actor: &self.actor.id,
            correlation_id: self.correlation_id,
            causation_id: self.causation_id,
            annex_digest: self.annex_digest,
            given: self.given,
            payload_digest: self.payload_digest(),
        }
    }

    /// Reads a record out of its envelope and its payload, without an annex.
    ///
    /// What it returns has this envelope again, byte for byte.
    pub fn from_envelope(envelope: &[u8], payload: Vec<u8>) -> Result<Self, InvalidEnvelope> {
        let columns = Columns::parse(envelope)?;
        if *blake3::hash(&payload).as_bytes() != columns.payload_digest {
            return Err(invalid("payload", "it does not have the digest that the envelope names"));
        }
        Self::from_columns(&columns, payload, None).map_err(|error| invalid("stream", error))
    }

    /// Makes a record of its columns, which hold everything but payload and annex.
    /// That these have the digests that the columns name is the caller's to see to.
    ///
    /// Fails if the stream's name is none.
    pub fn from_columns(
        columns: &Columns<'_>,
        payload: Vec<u8>,
        annex: Option<SealedAnnex>,
    ) -> Result<Self, InvalidStreamId> {
        Ok(Self {
            position: columns.position,
            stream: columns.stream.parse()?,
            version: columns.version,
            event_id: columns.event_id,
            type_name: columns.type_name.to_owned(),
            occurred_at: columns.occurred_at,
            recorded_at: columns.recorded_at,
            actor: Actor { kind: columns.actor_kind, id: columns.actor.to_owned() },
            correlation_id: columns.correlation_id,
            causation_id: columns.causation_id,
            given: columns.given,
            payload,
            annex_digest: columns.annex_digest,
            annex,
        })
    }
}

impl<'a> Columns<'a> {
    /// Puts the envelope behind what stands in `out`. [`Record::envelope`] has its layout.
    pub fn put_envelope(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.position.0.to_be_bytes());
        // The longest stream name has 5 + 1 + 63 + 1 + 128 bytes.
        let length = u16::try_from(self.stream.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(self.stream.as_bytes());
        out.extend_from_slice(&self.version.0.to_be_bytes());
        out.extend_from_slice(&self.event_id.bytes());
        put_short(out, self.type_name);
        out.extend_from_slice(&self.occurred_at.micros().to_be_bytes());
        out.extend_from_slice(&self.recorded_at.micros().to_be_bytes());
        out.push(self.actor_kind.code());
        put_short(out, self.actor);
        out.push(
            u8::from(self.correlation_id.is_some())
                | u8::from(self.causation_id.is_some()) << 1
                | u8::from(self.annex_digest.is_some()) << 2
                | u8::from(self.given.is_some()) << 3,
        );
        for id in [self.correlation_id, self.causation_id].into_iter().flatten() {
            out.extend_from_slice(&id.bytes());
        }
        if let Some(AnnexDigest(digest)) = self.annex_digest {
            out.extend_from_slice(&digest);
        }
        if let Some(Given { digest, events }) = self.given {
            out.extend_from_slice(&digest);
            out.extend_from_slice(&events.to_be_bytes());
        }
        out.extend_from_slice(&self.payload_digest);
    }

    /// Returns the leaf hash of RFC 6962. `scratch` is overwritten.
    pub fn leaf_hash(&self, scratch: &mut Vec<u8>) -> NodeHash {
        scratch.clear();
        self.put_envelope(scratch);
        NodeHash::leaf(scratch)
    }

    /// Reads an envelope. Only what [`Columns::put_envelope`] writes is one, so no
    /// two envelopes say the same.
    pub fn parse(envelope: &'a [u8]) -> Result<Self, InvalidEnvelope> {
        let mut rest = Bytes(envelope);
        if rest.array("envelope")? != *MAGIC {
            return Err(invalid("envelope", "it does not begin with LDG1"));
        }
        let position = Position(u64::from_be_bytes(rest.array("position")?));
        let length = u16::from_be_bytes(rest.array("stream")?);
        let stream = rest.text("stream", length.into())?;
        stream.parse::<StreamId>().map_err(|error| invalid("stream", error))?;
        let version = Version(u64::from_be_bytes(rest.array("version")?));
        let event_id = EventId::from_bytes(rest.array("event_id")?);
        let type_name = rest.short("type")?;
        let occurred_at = rest.time("occurred_at")?;
        let recorded_at = rest.time("recorded_at")?;
        let [code] = rest.array("actor_kind")?;
        let kind = ActorKind::from_code(code);
        let actor_kind = kind.ok_or_else(|| invalid("actor_kind", "there is no such kind"))?;
        let actor = rest.short("actor")?;
        let [flags] = rest.array("envelope")?;
        if flags >= 16 {
            return Err(invalid("envelope", "it has parts that this program does not know"));
        }
        let mut id = |flag: u8, column| {
            let id = (flags & flag != 0).then(|| rest.array(column).map(EventId::from_bytes));
            id.transpose()
        };
        let correlation_id = id(1, "correlation_id")?;
        let causation_id = id(2, "causation_id")?;
        let annex_digest = match flags & 4 {
            0 => None,
            _ => Some(AnnexDigest(rest.array("annex_digest")?)),
        };
        let given = if flags & 8 == 0 { None } else { Some(rest.given()?) };
        let payload_digest = rest.array("payload")?;
        if !rest.0.is_empty() {
            return Err(invalid("envelope", "it has bytes behind its end"));
        }
        Ok(Self {
            position,
            stream,
            version,
            event_id,
            type_name,
            occurred_at,
            recorded_at,
            actor_kind,
            actor,
            correlation_id,
            causation_id,
            annex_digest,
            given,
            payload_digest,
        })
    }
}

/// What is left to read of an envelope.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn array<const N: usize>(&mut self, column: &'static str) -> Result<[u8; N], InvalidEnvelope> {
        let (array, rest) =
            self.0.split_first_chunk().ok_or_else(|| invalid(column, "the envelope ends in it"))?;
        self.0 = rest;
        Ok(*array)
    }

    fn text(&mut self, column: &'static str, length: usize) -> Result<&'a str, InvalidEnvelope> {
        let (text, rest) = self
            .0
            .split_at_checked(length)
            .ok_or_else(|| invalid(column, "the envelope ends in it"))?;
        self.0 = rest;
        let text = str::from_utf8(text).map_err(|error| invalid(column, error))?;
        if text.is_empty() {
            return Err(invalid(column, "nothing stands there"));
        }
        Ok(text)
    }

    fn short(&mut self, column: &'static str) -> Result<&'a str, InvalidEnvelope> {
        let [length] = self.array(column)?;
        self.text(column, length.into())
    }

    fn time(&mut self, column: &'static str) -> Result<Timestamp, InvalidEnvelope> {
        let micros = i64::from_be_bytes(self.array(column)?);
        let time = Timestamp::from_micros(micros);
        if time.micros() == micros {
            Ok(time)
        } else {
            Err(invalid(column, "it is outside of the years 1 to 9999"))
        }
    }

    fn given(&mut self) -> Result<Given, InvalidEnvelope> {
        let digest = self.array("given")?;
        let events = u32::from_be_bytes(self.array("events")?);
        if events == 0 {
            return Err(invalid("events", "a write has at least one event"));
        }
        Ok(Given { digest, events })
    }
}

fn invalid(column: &'static str, what: impl std::fmt::Display) -> InvalidEnvelope {
    InvalidEnvelope { column, what: what.to_string() }
}

/// Puts text of at most 255 bytes behind its length in one byte.
fn put_short(out: &mut Vec<u8>, text: &str) {
    out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(text.as_bytes());
}
