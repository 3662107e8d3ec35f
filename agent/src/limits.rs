//! The agent's own bounds, each with its reason. What goes over the wire is
//! bounded in [`ledger_core::limits`].

use std::time::Duration;

/// A fetch that takes longer is ended: 100 GB at 10 Mbit/s take 22 h.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);
/// An activation that takes longer is ended. Starting services and migrating
/// databases takes minutes; nobody waits for hours without noticing.
pub const ACTIVATION_TIMEOUT: Duration = Duration::from_secs(4 * 60 * 60);
/// A question to the local store. It waits at worst for a garbage collection.
pub const QUERY_TIMEOUT: Duration = Duration::from_secs(60 * 60);
/// Between asking a group of processes to end and killing it.
pub const KILL_GRACE: Duration = Duration::from_secs(5);
/// How long output is awaited after a program ended: a daemon that it left
/// behind may hold the pipe for ever.
pub const OUTPUT_GRACE: Duration = Duration::from_millis(500);
/// How often a running program is looked at, beside its output.
pub const CHILD_POLL: Duration = Duration::from_millis(50);
/// How often new output is looked for: under what people notice.
pub const OUTPUT_POLL: Duration = Duration::from_millis(100);
/// How soon the first output of a deployment is looked for, which somebody waits
/// to see: opening the file and writing to it takes about a millisecond. From
/// there the wait doubles.
pub const OUTPUT_POLL_FIRST: Duration = Duration::from_millis(2);
/// Chunks of output sent and not yet acknowledged: 256 KiB, the bandwidth of
/// 2 MB/s over a round trip of 125 ms.
pub const OUTPUT_CHUNKS_IN_FLIGHT_MAX: usize = 8;
/// Last lines of a failing program that become the report's error.
pub const ERROR_LINES_MAX: usize = 20;
/// Bytes at the end of the output that these lines are looked for in.
pub const ERROR_BYTES_MAX: u64 = 8 * 1024;
/// Bytes of one line of an answer of the local store: a few store paths.
pub const ANSWER_LINE_BYTES_MAX: usize = 64 * 1024;
/// Deployments of whose end the journal knows, so that none is begun twice.
pub const ENDED_DEPLOYMENTS_KEPT: usize = 16;
/// Bytes of a journal above which it is rewritten when nothing runs: a
/// deployment with all the output that is allowed takes 100 KiB of it.
pub const JOURNAL_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Bytes of a journal that are read: far beyond what is ever written.
pub const JOURNAL_READ_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Bytes of a file with a token or a status.
pub const SMALL_FILE_BYTES_MAX: u64 = 64 * 1024;
/// How long a lock is waited for: an agent that was killed while it
/// started a program leaves its lock to that program's first moments.
pub const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// How often it is tried meanwhile.
pub const LOCK_POLL: Duration = Duration::from_millis(20);
/// Until the server's next word in the opening of a session.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(15);
/// How often the server shows that its history only grew.
pub const HISTORY_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// Signs of life missed before a connection is given up, as the protocol says.
pub const PINGS_MISSED_MAX: u32 = 3;
/// The least and the most that a server may set between pings.
pub const PING_INTERVAL: (Duration, Duration) =
    (Duration::from_millis(100), Duration::from_secs(300));
/// The first retry comes within this, so that a restarted server is quickly back.
pub const RETRY_BASE: Duration = Duration::from_secs(1);
/// No two tries are further apart than this, unless the server asks for it.
pub const RETRY_CAP: Duration = Duration::from_secs(30);
/// The longest that a server may ask to wait.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(10 * 60);
/// A session that lived so long counts as good: the next retry is a first one.
pub const SESSION_GOOD_AFTER: Duration = Duration::from_secs(5);
/// Messages of the server that wait for the driver before reading pauses.
pub const INBOX_MESSAGES: usize = 64;
/// For saying goodbye when the agent is stopped.
pub const GOODBYE_DEADLINE: Duration = Duration::from_secs(5);
