//! The append-only log: what was, in one order, on one clock, for ever.
//!
//! [`Log`] is a handle that every part of a server shares. One writer task behind
//! it gathers waiting writes, judges each under the append lock, commits them
//! together and answers after the commit. Readers never wait for it.
//!
//! What is judged and how stands in `writer`, once for every database; what a
//! database must be able to do stands in `backend`. To add a **database**,
//! implement the two traits there. To change the **schema**, add a numbered file
//! to `migrations/` and name it in the database's `migrations.rs`; a released
//! file is never edited.

mod archive;
mod backend;
mod clock;
#[cfg(test)]
mod frozen;
mod limits;
mod log;
mod open;
mod postgres;
mod read;
mod sqlite;
mod tree;
mod verify;
mod write;
mod writer;

pub use archive::{
    ArchiveError, Range, export_postgres, export_sqlite, import_postgres, import_sqlite,
    verify_archive,
};
pub use backend::Sign;
pub use clock::{Clock, SystemClock};
pub use log::Log;
pub use open::{OpenError, Options, Readiness};
pub use postgres::{
    Inspection, Life, LogInspection, Login, NodeInspection, Settings, inspect_postgres,
};
pub use read::{Annexes, ReadError, StoredOutput};
pub use sqlite::{Backup, Interrupt};
pub use verify::{Progress, VerifyError, Watch, verify_postgres, verify_sqlite};
pub use write::{Change, Expectation, OutputError, OutputWrite, Write, WriteError, Written};
