//! The store's own bounds; those on input stand in [`ledger_core::limits`].

use std::time::Duration;

/// Writes that wait for the writer. Beyond it, producers wait for their turn:
/// twice a batch, so that the next one gathers while one commits.
pub(crate) const WAITING_WRITES_MAX: usize = 2 * ledger_core::limits::BATCH_EVENTS_MAX;
/// After a batch was refused that had asked nothing, so many ask first: whoever sends old
/// requests again, or another server, makes few batches fail.
pub(crate) const DOUBTED_BATCHES: u32 = 16;
/// Events of one write: an activation of the most agents, each with something to supersede.
pub(crate) const WRITE_EVENTS_MAX: usize = 2 * ledger_core::limits::ACTIVATION_AGENTS_MAX + 1;
/// Characters of an actor's id: the longest is an agent's name.
pub(crate) const ACTOR_ID_CHARS_MAX: usize = 128;
/// How far the clock may lie behind the newest event: what time synchronisation
/// corrects by itself after a boot.
pub(crate) const CLOCK_BEHIND_MAX: Duration = Duration::from_secs(60);
/// How far the clock may move against the time that passed, while the server runs.
pub(crate) const CLOCK_JUMP_MAX: Duration = Duration::from_secs(60 * 60);
/// How long until a failing database is tried again, when nothing is written meanwhile.
pub(crate) const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Rows that one query for output looks at, so that it ends soon.
pub(crate) const OUTPUT_ROWS_SCANNED_MAX: usize = 4_096;
/// Deployments whose output is found by index; for more, the table is scanned from the cursor on.
pub(crate) const OUTPUT_DEPLOYMENTS_INDEXED_MAX: usize = 64;
/// Bytes of payloads and annexes after which a page of records ends, however few
/// they are: a page of the largest would have hundreds of megabytes. A page of
/// ordinary ones is never cut.
pub(crate) const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Pieces of output in one page: 8 MiB at most.
pub(crate) const OUTPUT_PAGE_MAX: usize = 256;
/// Connections that read a log on SQLite. More would only wait for the same few cores.
pub(crate) const SQLITE_READERS: usize = 4;
/// How long a question waits for one of them.
pub(crate) const READ_WAIT_MAX: Duration = Duration::from_secs(30);
/// Names that readers of a log on SQLite keep, some 200 bytes each: two for each
/// agent of a large fleet.
pub(crate) const NAMES_KNOWN_MAX: usize = 100_000;
/// Ids of activations that readers and the writer of a log on SQLite keep: what is
/// asked for again belongs to the newest ones, or to those of one page.
pub(crate) const IDS_KNOWN_MAX: usize = 8192;
