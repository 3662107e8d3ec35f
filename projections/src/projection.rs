//! What a projection is, and the step from one snapshot of it to the next.

use ledger_core::event::DecodeError;
use ledger_core::{Event, Position, Record};
use ledger_store::ReadError;
use std::sync::Arc;

/// A pure fold over the log.
pub trait Projection: Send + Sync + 'static {
    /// Its name, for people and for the names of snapshot files.
    const NAME: &'static str;
    /// The version of its state's meaning: another one makes old snapshots worthless.
    const VERSION: u32;
    /// What it knows. Cloning must cost nothing that grows.
    type State: Clone + Default + Send + Sync + 'static;

    /// Applies one record, whose event was read out of it already.
    ///
    /// Total: history cannot be refused, so what does not fit changes nothing.
    fn apply(state: &mut Self::State, record: &Record, event: &Event);
}

/// A state, and the position up to which the log is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot<S> {
    /// The last position folded.
    pub position: Position,
    /// What the fold knows.
    pub state: S,
}

/// Why a projection stopped for good. What it shows stays right up to there.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Halt {
    /// An event that this program cannot read. Going on would be a wrong answer.
    #[error("the {type_name} at position {position} cannot be read")]
    Unreadable {
        /// Where it stands.
        position: Position,
        /// Its stored type.
        type_name: String,
        /// What is wrong with it.
        #[source]
        source: Arc<DecodeError>,
    },
    /// A position is missing.
    #[error("the log has a gap: position {expected} is followed by {found}")]
    Gap {
        /// The position that should stand there.
        expected: Position,
        /// The one that does.
        found: Position,
    },
    /// The log is damaged.
    #[error("the log cannot be read after position {position}")]
    Damaged {
        /// The last good one.
        position: Position,
        /// What is wrong with it.
        #[source]
        source: Arc<ReadError>,
    },
}

/// Folds records that may begin anywhere, as those of one stream do.
pub fn fold<P: Projection>(state: &mut P::State, records: &[Record]) -> Result<(), Halt> {
    for record in records {
        let event = record.event().map_err(|source| Halt::Unreadable {
            position: record.position,
            type_name: record.type_name.clone(),
            source: Arc::new(source),
        })?;
        P::apply(state, record, &event);
    }
    Ok(())
}

/// Folds the records that follow a snapshot.
///
/// Returns the newest state that is right, and why it is not the one after the
/// last record, if so.
pub fn advance<P: Projection>(
    from: &Snapshot<P::State>,
    records: &[Record],
) -> (Snapshot<P::State>, Option<Halt>) {
    let mut next = from.clone();
    for record in records {
        let expected = next.position.next();
        if record.position != expected {
            return (next, Some(Halt::Gap { expected, found: record.position }));
        }
        if let Err(halt) = fold::<P>(&mut next.state, std::slice::from_ref(record)) {
            return (next, Some(halt));
        }
        next.position = record.position;
    }
    (next, None)
}
