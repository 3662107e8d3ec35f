//! Every bound on input, in one place, with its reason.

/// Characters of a workspace's name: as a DNS label, so that it may become one.
pub const WORKSPACE_NAME_CHARS_MAX: usize = 63;
/// Characters of an agent's name: a host name's whole length is 253; fleets use far less.
pub const AGENT_NAME_CHARS_MAX: usize = 128;
/// Characters of a Nix system, like `x86_64-linux`; the longest in nixpkgs has 24.
pub const SYSTEM_CHARS_MAX: usize = 64;
/// Characters of the name part of a store path: Nix's own bound.
pub const STORE_NAME_CHARS_MAX: usize = 211;
/// Characters of a version string that an agent gives.
pub const VERSION_CHARS_MAX: usize = 64;
/// Bytes of one event's payload. The largest, SessionsLost, is cut to fit.
pub const PAYLOAD_BYTES_MAX: usize = 256 * 1024;
/// Bytes of one event's annex: an error text of [`TEXT_CHARS_MAX`] and its neighbours.
pub const ANNEX_BYTES_MAX: usize = 64 * 1024;
/// Characters of a description, a reason or an error text.
pub const TEXT_CHARS_MAX: usize = 8 * 1024;
/// Agents in one activation: twice the largest fleet that design §9 names.
pub const ACTIVATION_AGENTS_MAX: usize = 100_000;
/// Bytes of a deploy.json: the most agents, with the longest names and paths.
pub const SPEC_BYTES_MAX: usize = 48 * 1024 * 1024;
/// Rollback scripts in one deploy.json: one per system, and Nix knows about 40.
pub const ROLLBACK_SCRIPTS_MAX: usize = 64;
/// Name patterns of one token.
pub const TOKEN_PATTERNS_MAX: usize = 64;
/// Sessions named in one SessionsLost: 200 bytes each stay under [`PAYLOAD_BYTES_MAX`].
pub const SESSIONS_PER_EVENT_MAX: usize = 1_000;
/// Deployments of one agent whose end the fold remembers, to say why a late claim is refused.
pub const ENDED_DEPLOYMENTS_KEPT: usize = 16;
/// Events of one append that the writer gathers from several requests.
pub const BATCH_EVENTS_MAX: usize = 2_000;
/// Bytes of payload of one append that the writer gathers from several requests.
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;
/// Records in one page of a read.
pub const PAGE_RECORDS_MAX: usize = 5_000;
/// Bytes of one chunk of a deployment's output.
pub const OUTPUT_CHUNK_BYTES_MAX: usize = 32 * 1024;
/// Bytes of a deployment's whole output; what follows is cut, and the output says so.
pub const OUTPUT_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Bytes of one message between server and agent: a chunk of output, as JSON escapes it.
pub const MESSAGE_BYTES_MAX: usize = 256 * 1024;
/// Bytes of an ordinary request's body; the spec has its own bound.
pub const REQUEST_BYTES_MAX: usize = 64 * 1024;
/// An integer in an event: what every JSON reader takes exactly, 2^53.
pub const EVENT_INTEGER_MAX: u64 = 1 << 53;
