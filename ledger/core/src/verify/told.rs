//! What one event tells, looked at alone.

use super::fault::Fault;
use crate::annex::AnnexDigest;
use crate::checkpoint::NoteKey;
use crate::event::{DecodeError, Event, OutputDigest};
use crate::ids::{DeploymentId, Position};
use crate::merkle::NodeHash;
use crate::record::Columns;

/// What an event tells a [`super::Checker`] beside its columns.
#[derive(Clone, Debug)]
pub struct Told {
    pub(super) leaf: NodeHash,
    pub(super) fact: Fact,
    pub(super) annex: AnnexSeen,
}

/// What the event means for what is checked of others.
#[derive(Clone, Debug)]
pub(super) enum Fact {
    /// Nothing.
    Plain,
    /// Nobody knows: a newer program wrote it.
    Unknown,
    KeyAdded(NoteKey),
    ForkAccepted {
        size: u64,
        root: NodeHash,
    },
    AnnexErased(Position),
    Requested,
    /// A deployment ended, with this output; `None` where nobody vouches for it.
    Ended(DeploymentId, Option<OutputDigest>),
    /// A deployment ended before it began.
    NeverBegan(DeploymentId),
}

/// Whether the annex stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AnnexSeen {
    Never,
    Whole,
    Missing,
}

/// An annex as it is stored: salt and bytes.
type Sealed<'a> = (&'a [u8; 16], &'a [u8]);

impl Told {
    /// Looks at an event that is stored in columns. Sets the payload's digest, which
    /// is not stored. `scratch` is overwritten.
    pub fn of_row(
        columns: &mut Columns<'_>,
        payload: &[u8],
        annex: Option<Sealed<'_>>,
        scratch: &mut Vec<u8>,
    ) -> Result<Self, Fault> {
        columns.payload_digest = *blake3::hash(payload).as_bytes();
        bounded(columns)?;
        let leaf = columns.leaf_hash(scratch);
        Self::of(columns, leaf, payload, annex)
    }

    fn of(
        columns: &Columns<'_>,
        leaf: NodeHash,
        payload: &[u8],
        annex: Option<Sealed<'_>>,
    ) -> Result<Self, Fault> {
        let position = columns.position;
        let fact = match Event::decode(columns.type_name, payload) {
            Ok(event) => fact(&event),
            Err(DecodeError::UnknownType(_)) => Fact::Unknown,
            Err(DecodeError::Payload { type_name, source }) => {
                let what = format!("it is no {type_name}: {source}");
                return Err(Fault::column(position, "payload", what));
            }
        };
        let annex = match (columns.annex_digest, annex) {
            (None, None) => AnnexSeen::Never,
            (Some(_), None) => AnnexSeen::Missing,
            (Some(digest), Some((salt, bytes))) if AnnexDigest::over(salt, bytes) == digest => {
                AnnexSeen::Whole
            }
            (Some(_), Some(_)) => {
                let what = "it was changed: it does not have the digest that the event names";
                return Err(Fault::Annex { position, what: what.to_owned() });
            }
            (None, Some(_)) => {
                let what = "it was put there: the event never had one";
                return Err(Fault::Annex { position, what: what.to_owned() });
            }
        };
        Ok(Self { leaf, fact, annex })
    }
}

/// Text whose length the envelope cannot hold would be cut off by it.
fn bounded(columns: &Columns<'_>) -> Result<(), Fault> {
    let texts = [
        ("stream", columns.stream, usize::from(u16::MAX)),
        ("type", columns.type_name, usize::from(u8::MAX)),
        ("actor", columns.actor, usize::from(u8::MAX)),
    ];
    for (column, text, most) in texts {
        if text.is_empty() || text.len() > most {
            let what = format!("it has {} bytes; 1 to {most} may stand there", text.len());
            return Err(Fault::column(columns.position, column, what));
        }
    }
    Ok(())
}

fn fact(event: &Event) -> Fact {
    match event {
        Event::SigningKeyAdded(added) => {
            Fact::KeyAdded(NoteKey { name: added.origin.clone(), key: added.public_key })
        }
        Event::ForkAccepted(accepted) => {
            Fact::ForkAccepted { size: accepted.size, root: accepted.root }
        }
        Event::AnnexErased(erased) => Fact::AnnexErased(erased.position),
        Event::DeploymentRequested(_) => Fact::Requested,
        Event::DeploymentSucceeded(ended) => {
            Fact::Ended(ended.deployment, Some(ended.output.clone()))
        }
        Event::DeploymentFailed(ended) => Fact::Ended(ended.deployment, ended.output.clone()),
        Event::DeploymentSuperseded(ended) => Fact::NeverBegan(ended.deployment),
        Event::DeploymentCancelled(ended) => Fact::NeverBegan(ended.deployment),
        _ => Fact::Plain,
    }
}
