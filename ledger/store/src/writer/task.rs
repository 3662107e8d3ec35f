//! What the writer is asked to do, and how it answers.

use crate::backend::{Sign, SignedNote};
use crate::read::ReadError;
use crate::write::{Change, OutputError, OutputWrite, Write, WriteError, Written};
use ledger_core::limits::BATCH_EVENTS_MAX;
use ledger_core::merkle::Tree;
use ledger_core::{Command, NodeId, State, Timestamp};
use std::error::Error;
use std::sync::Arc;
use tokio::sync::oneshot;

/// One thing to do, with where the answer goes.
pub(crate) enum Task {
    /// Append.
    Write { write: Write, reply: oneshot::Sender<Result<Written, WriteError>> },
    /// Append, and trust the clock from then on.
    ConfirmClock { write: Write, reply: oneshot::Sender<Result<Written, WriteError>> },
    /// Store a piece of output.
    Output { output: OutputWrite, reply: oneshot::Sender<Result<(), OutputError>> },
    /// Store a signed checkpoint, if there is no newer one.
    Checkpoint { signed: SignedNote, reply: oneshot::Sender<Result<(), OutputError>> },
    /// Tell the tree over everything that is committed.
    Tree { reply: oneshot::Sender<Result<Tree, ReadError>> },
    /// Give a sign of life, and tell of the other servers.
    Beat { node: NodeId, reply: oneshot::Sender<Result<Vec<Sign>, OutputError>> },
    /// Tell when a server was last heard of.
    LastSeen { node: NodeId, reply: oneshot::Sender<Result<Option<Timestamp>, OutputError>> },
    /// Tell the state that decisions are taken from.
    State { reply: oneshot::Sender<State> },
    /// Write what waits, and end.
    Close,
}

/// What was judged, to be sent when it is committed.
pub(crate) enum Verdict {
    Write(Result<Written, WriteError>),
    Output(Result<(), OutputError>),
    Checkpoint,
}

impl Task {
    /// Returns the write in it, if there is one.
    pub(crate) fn write(&self) -> Option<&Write> {
        match self {
            Self::Write { write, .. } | Self::ConfirmClock { write, .. } => Some(write),
            Self::Output { .. }
            | Self::Checkpoint { .. }
            | Self::Tree { .. }
            | Self::Beat { .. }
            | Self::LastSeen { .. }
            | Self::State { .. }
            | Self::Close => None,
        }
    }

    /// Returns whether no other joins its batch behind what was there: it would fill one
    /// by itself, or is judged by another clock.
    pub(crate) fn is_alone(&self) -> bool {
        matches!(self, Self::ConfirmClock { .. }) || self.n_events() > BATCH_EVENTS_MAX
    }

    /// Returns how many events it has, as far as it tells before it is judged.
    pub(crate) fn n_events(&self) -> usize {
        match self.write().map(|write| &write.change) {
            Some(Change::Events(events)) => events.len(),
            Some(Change::Command(command)) => match &**command {
                Command::Activate(activate) => activate.agents.len(),
                _ => 1,
            },
            None => 1,
        }
    }

    /// Answers. Whoever no longer waits for it does not get it: the write stands all the same.
    pub(crate) fn answer(self, verdict: Verdict) {
        match (self, verdict) {
            (
                Self::Write { reply, .. } | Self::ConfirmClock { reply, .. },
                Verdict::Write(verdict),
            ) => drop(reply.send(verdict)),
            (Self::Output { reply, .. }, Verdict::Output(verdict)) => drop(reply.send(verdict)),
            (Self::Checkpoint { reply, .. }, Verdict::Checkpoint) => drop(reply.send(Ok(()))),
            // A verdict is made from its own task, so no other pair occurs;
            // the reply is dropped, which its receiver reads as a failure.
            _ => {}
        }
    }

    /// Answers that the log takes no writes.
    pub(crate) fn unavailable(self, why: &str) {
        match self {
            Self::Write { reply, .. } | Self::ConfirmClock { reply, .. } => {
                drop(reply.send(Err(WriteError::Unavailable { why: why.to_owned() })));
            }
            Self::Output { reply, .. } | Self::Checkpoint { reply, .. } => {
                drop(reply.send(Err(OutputError::Unavailable { why: why.to_owned() })));
            }
            Self::Tree { .. }
            | Self::Beat { .. }
            | Self::LastSeen { .. }
            | Self::State { .. }
            | Self::Close => {}
        }
    }

    /// Answers that the database failed; `in_doubt` if it may have committed.
    pub(crate) fn fail(self, in_doubt: bool, why: &str, source: &Arc<dyn Error + Send + Sync>) {
        if !in_doubt {
            return self.unavailable(why);
        }
        let source = || Box::new(Shared(why.to_owned(), Arc::clone(source)));
        match self {
            Self::Write { reply, .. } | Self::ConfirmClock { reply, .. } => {
                drop(reply.send(Err(WriteError::Database(source()))));
            }
            Self::Output { reply, .. } | Self::Checkpoint { reply, .. } => {
                drop(reply.send(Err(OutputError::Database(source()))));
            }
            Self::Tree { .. }
            | Self::Beat { .. }
            | Self::LastSeen { .. }
            | Self::State { .. }
            | Self::Close => {}
        }
    }
}

/// One failure, told to every request of a batch.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Shared(String, #[source] Arc<dyn Error + Send + Sync>);
