//! What events are made of: closed lists of words, and small values.

use crate::ids::SessionId;
use crate::names::{AgentName, ProgramVersion};
use crate::text::as_text;
use serde::{Deserialize, Serialize};

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $word)] $variant,)* }

        impl $name {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Returns the stored and printed word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    )*};
}
pub(crate) use words;

words! {
    /// What a token may see.
    Reach {
        /// The workspace that it was issued in.
        Workspace = "workspace",
        /// The whole ledger.
        Ledger = "ledger",
    }
    /// Why a session ended.
    DisconnectReason {
        /// The agent said goodbye.
        AgentStopped = "agent_stopped",
        /// The connection broke.
        ConnectionLost = "connection_lost",
        /// Nothing was heard for longer than the liveness deadline.
        TimedOut = "timed_out",
        /// The agent broke the protocol.
        ProtocolError = "protocol_error",
        /// The server stopped.
        NodeStopped = "node_stopped",
        /// An operator retired or rekeyed the agent, or its token ended.
        Revoked = "revoked",
    }
    /// Why a deployment was called off.
    CancelReason {
        /// Somebody asked for it.
        Requested = "requested",
        /// The agent was retired.
        AgentRetired = "agent_retired",
    }
    /// What a closure is, and so how it is activated.
    ClosureKind {
        /// A NixOS system.
        Nixos = "nixos",
        /// A nix-darwin system.
        Darwin = "darwin",
        /// A home-manager generation.
        HomeManager = "home_manager",
        /// Anything else: a plain profile.
        Plain = "plain",
    }
    /// At which point and why a deployment failed.
    FailureReason {
        /// The closure could not be brought to the machine.
        FetchFailed = "fetch_failed",
        /// The closure's activation failed.
        ActivationFailed = "activation_failed",
        /// Agent or machine stopped in the middle, and how far it came is not known.
        Interrupted = "interrupted",
        /// The agent came back without the state that knew of it.
        StateLost = "state_lost",
        /// The agent was retired meanwhile.
        AgentRetired = "agent_retired",
        /// The agent's own machine hindered it: disk full, permission, no Nix.
        AgentError = "agent_error",
    }
    /// What a machine runs after a failure.
    FailureOutcome {
        /// What it ran before: nothing was touched.
        Unchanged = "unchanged",
        /// Perhaps the new, perhaps the old: the activation had begun.
        Unknown = "unknown",
    }
}

/// One of the sessions that died with a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostSession {
    /// The session.
    pub session: SessionId,
    /// Whose.
    pub agent: AgentName,
}

/// The evidence for a deployment's output lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputDigest {
    /// BLAKE3 of all bytes.
    pub blake3: Digest,
    /// How many bytes.
    pub bytes: u64,
}

/// The CI run that an activation came from, as the CI's own environment says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CiRun {
    /// The CI system, like `github`.
    pub provider: ProgramVersion,
    /// The repository, like `acme/infra`.
    pub repository: Option<CiText>,
    /// The run's id.
    pub run: Option<CiText>,
    /// The revision that was built.
    pub revision: Option<CiText>,
}

/// A word that a CI gives: 1 to 200 printable ASCII characters without spaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CiText(String);

as_text!(CiText);

impl CiText {
    /// Checks the text.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        let valid = (1..=200).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic());
        valid.then_some(Self(text))
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for CiText {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text).ok_or("it must be 1 to 200 printable ASCII characters without spaces")
    }
}

impl std::fmt::Display for CiText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

/// 32 bytes of a BLAKE3, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

as_text!(Digest);

/// The keyed BLAKE3 of a token's secret.
pub type SecretHash = Digest;

impl Digest {
    /// Digests the bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(&data_encoding::HEXLOWER.encode_display(&self.0), f)
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Digest {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        let fits = text.len() == 2 * bytes.len();
        let decoded =
            fits && data_encoding::HEXLOWER.decode_mut(text.as_bytes(), &mut bytes).is_ok();
        decoded.then_some(Self(bytes)).ok_or("it must be 64 lower-case hexadecimal digits")
    }
}
