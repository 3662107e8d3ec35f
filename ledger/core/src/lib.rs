//! The pure core of Ledger: events, what they mean, what commands make happen,
//! and the bytes of the record.
//!
//! Nothing here is async, reads a clock, draws randomness, opens a file or
//! looks at the environment: time and fresh ids come in with [`Context`].
//!
//! To add an **event**: add it to the table in [`event`], let the aggregate that
//! owns its stream `evolve` it, decide it from a [`Command`], and write its
//! golden file with `UPDATE_GOLDENS=1 cargo test -p ledger-core`.
//!
//! To change a released event: do not. Add a new one, and lift the old.

pub mod activation;
pub mod agent;
pub mod annex;
pub mod checkpoint;
pub mod command;
pub mod event;
pub mod ids;
pub mod key;
pub mod limits;
pub mod merkle;
pub mod names;
pub mod node;
pub mod record;
pub mod rejection;
pub mod rights;
pub mod spec;
pub mod state;
pub mod stream;
mod text;
pub mod time;
pub mod verify;
pub mod workspace;

pub use annex::{Annex, AnnexDigest, SealedAnnex};
pub use command::{Command, Context, NewEvent};
pub use event::Event;
pub use ids::{
    ActivationId, DeploymentId, EventId, NodeId, Position, RequestId, SessionId, TokenId, Version,
};
pub use names::{AgentName, StorePath, System, WorkspaceName};
pub use record::{Actor, Given, Record};
pub use rejection::Rejection;
pub use state::State;
pub use stream::StreamId;
pub use time::Timestamp;
