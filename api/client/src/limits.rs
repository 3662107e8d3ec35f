//! Bounds of the client, each with its reason.

use std::time::Duration;

/// Bytes of one answer. The largest is that of an activation of
/// [`ledger_core::limits::ACTIVATION_AGENTS_MAX`] agents: up to about 700 bytes each.
pub const ANSWER_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Characters of an answer that is not Ledger's, shown to find out whose it is.
pub const FOREIGN_CHARS_MAX: usize = 120;
/// How long a connection may take: a round trip or two and a few lost packets.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer may take. Sending the largest spec at 2 MB/s takes 24 s,
/// and the server must parse and commit it.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// For how long a request is sent again before its last error is returned.
/// A server that restarts is back within it; a wrong address is noticed soon.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How long a stream of events may be silent before it counts as broken: three
/// of the heartbeats that the server promises.
pub const STREAM_SILENCE_MAX: Duration = Duration::from_secs(3 * api_wire::http::HEARTBEAT_SECONDS);
/// Bytes of one line of a stream of events: the largest payload and annex, as
/// JSON escapes them, and what stands around them.
pub const STREAM_LINE_BYTES_MAX: usize =
    6 * (ledger_core::limits::PAYLOAD_BYTES_MAX + ledger_core::limits::ANNEX_BYTES_MAX) + 64 * 1024;
