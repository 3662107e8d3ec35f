//! Every bound of the server, in one place, with its reason. What bounds the
//! log's own input is in [`ledger_core::limits`].

use std::time::Duration;

/// How long signed checkpoints are apart at least, and so the longest that an event
/// goes unsigned.
pub(crate) const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);
/// How often a connection is pinged unless told otherwise: under the minute after
/// which common proxies and NATs forget an idle connection.
pub const PING_INTERVAL: Duration = Duration::from_secs(20);
/// The shortest ping interval: below it, pings would be all that a server does.
pub(crate) const PING_INTERVAL_MIN: Duration = Duration::from_millis(10);
/// How many ping intervals without a sign of life end a session.
pub const PINGS_MISSED_MAX: u32 = 3;
/// For the whole head of a request: a slow client cannot hold a connection open.
pub(crate) const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(15);
/// For the first byte on a fresh connection, before a head is even begun.
pub(crate) const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(15);
/// For a client to take some of what is written to it. It may read as slowly as
/// it likes, and be silent while nothing is written, but who does not read at all
/// must not hold a connection for ever.
pub(crate) const WRITE_PROGRESS_TIMEOUT: Duration = Duration::from_secs(30);
/// For a TLS handshake.
pub(crate) const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the files of certificate and key are looked at.
pub(crate) const TLS_RELOAD_INTERVAL: Duration = Duration::from_secs(2);
/// For a whole request: the largest deploy.json over 4 Mbit/s. Longer than the
/// longest poll.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);
/// For a write: longer than any disk's hiccup, shorter than a client's patience.
pub(crate) const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// For the fold to reach a write: it is milliseconds behind.
pub(crate) const FOLD_TIMEOUT: Duration = Duration::from_secs(10);
/// For the log to be folded when a server starts: 100 million events.
pub(crate) const FIRST_FOLD_TIMEOUT: Duration = Duration::from_secs(600);
/// For requests and sessions under way when a server stops.
pub(crate) const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections at once: a process here may open 20,000 files, and the database,
/// the listener and the log files need some of them.
pub(crate) const CONNECTIONS_MAX: usize = 19_500;
/// Connections at once to the address of the figures alone: a few monitoring
/// systems, and a person who looks.
pub(crate) const METRICS_CONNECTIONS_MAX: usize = 64;
/// HTTP/2 streams of one connection at once.
pub(crate) const HTTP2_STREAMS_MAX: u32 = 128;
/// Bytes of a request's head.
pub(crate) const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Bytes of a body that carries deploy.json as a JSON string: its quotes and line
/// ends may double it.
pub(crate) const ACTIVATE_BYTES_MAX: usize =
    2 * ledger_core::limits::SPEC_BYTES_MAX + ledger_core::limits::REQUEST_BYTES_MAX;

/// Events of one page of the log.
pub(crate) const LOG_EVENTS_MAX: usize = 1_000;
/// Bytes of payload and annex after which a page of the log is full.
pub(crate) const LOG_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Annexes that are read at once, beyond which the bytes of a page are looked at:
/// 4 MiB at the most.
pub(crate) const ANNEXES_AT_ONCE: usize = 64;
/// Events that a stream sends at once: what its reader is likely to take at once.
pub(crate) const STREAM_EVENTS: usize = 256;
/// How often a stream without news says how far it has come, at the least; where
/// agents are pinged more often, as often.
pub(crate) const STREAM_HEARTBEAT: Duration =
    Duration::from_secs(api_wire::http::HEARTBEAT_SECONDS);
/// Records that one request looks at: about a tenth of a second.
pub(crate) const SCAN_RECORDS_MAX: usize = 50_000;
/// Pieces of output in one page: 8 MiB at the most.
pub(crate) const OUTPUT_CHUNKS_MAX: usize = 256;
/// Agents, tokens or workspaces of one page, if not fewer are asked for: half a
/// megabyte.
pub(crate) const LIST_MAX: usize = 1_000;
/// Deployments of one page.
pub(crate) const DEPLOYMENTS_MAX: usize = 500;
/// Deployments of one page unless asked otherwise.
pub(crate) const DEPLOYMENTS_DEFAULT: usize = 50;
/// Events of an agent's stream for one deployment, at the most if all goes its way.
pub(crate) const DEPLOYMENT_EVENTS: usize = 6;
/// Events of an agent's stream that are read at once to tell of a deployment: those
/// of about ten.
pub(crate) const HISTORY_EVENTS: usize = 64;
/// Streams that are read from the log at once, so that history never starves
/// the present of the database's readers.
pub(crate) const HISTORIES_AT_ONCE: usize = 8;
/// Bodies beyond [`ledger_core::limits::REQUEST_BYTES_MAX`] that are read at once;
/// more wait for their turn. One takes its own size and what is parsed from it.
pub(crate) const LARGE_BODIES_AT_ONCE: usize = 4;
/// Parts of activations that are remembered for those who follow them: two of
/// the largest, 200 bytes for each part.
pub(crate) const PARTS_REMEMBERED_MAX: usize = 2 * ledger_core::limits::ACTIVATION_AGENTS_MAX;
/// Activations that are remembered, however small.
pub(crate) const ACTIVATIONS_REMEMBERED_MAX: usize = 256;

/// Refusals of one address within [`REFUSALS_WINDOW`] that cost nothing yet: a
/// fleet behind one address whose token expired should still read why.
pub(crate) const REFUSALS_FREE: u32 = 30;
/// How long refusals are counted together.
pub(crate) const REFUSALS_WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are counted at once; beyond them, counting begins anew.
pub(crate) const REFUSALS_ADDRESSES_MAX: usize = 10_000;

/// Events that wait for one session. One that is slower reads from the log instead.
pub(crate) const SESSION_QUEUE_MAX: usize = 64;
/// Events that a session reads from the log at once.
pub(crate) const CATCH_UP_EVENTS: usize = 500;
/// For an agent to answer the challenge.
pub(crate) const HELLO_TIMEOUT: Duration = Duration::from_secs(15);
/// For one message to leave.
pub(crate) const SEND_TIMEOUT: Duration = Duration::from_secs(20);
/// For an agent to read the last message and close its side.
pub(crate) const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an agent should wait before it comes back to a server that cannot serve it.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Between tries to record the end of a session while the log takes no writes.
pub(crate) const DISCONNECT_RETRY_MAX: Duration = Duration::from_secs(30);
/// Bytes of a session's read buffer. The library's default costs 128 KiB for each.
pub(crate) const SOCKET_READ_BUFFER: usize = 4 * 1024;
/// Bytes of messages that may wait to leave: two of the largest.
pub(crate) const SOCKET_WRITE_BUFFER_MAX: usize = 2 * ledger_core::limits::MESSAGE_BYTES_MAX;
/// Pieces of stored output that are digested at once when a deployment ends.
pub(crate) const DIGEST_CHUNKS: usize = 64;

/// How long one request goes through output of others before it answers with
/// how far it came: well within [`REQUEST_TIMEOUT`].
pub(crate) const SCAN_TIMEOUT: Duration = Duration::from_secs(20);
