//! What was found, before anybody judges it.

use crate::failure::Failure;
use api_client::http::Probe;
use api_wire::http::WhoAmI;
use ledger_core::Timestamp;
use ledger_core::key::PublicKey;
use ledger_core::names::AgentName;
use ledger_store::Inspection;
use std::path::PathBuf;

/// Everything.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// This machine's time.
    pub(crate) now: Timestamp,
    /// This program's version.
    pub(crate) version: &'static str,
    /// Which server and token are meant; none, where none is configured.
    pub(crate) chosen: Result<Option<Chosen>, Trouble>,
    /// What the server says without a token.
    pub(crate) probe: Option<Result<Probe, Trouble>>,
    /// What it says of the token.
    pub(crate) told: Option<Result<WhoAmI, Trouble>>,
    /// Microseconds by which the server's clock is ahead of this machine's.
    pub(crate) ahead: Option<i64>,
    /// The database that is meant, if one is.
    pub(crate) database: Option<Database>,
    /// The agent that is to run here.
    pub(crate) agent: Option<AgentName>,
    /// The first admin token, where it still lies in a data folder.
    pub(crate) first_token: Option<FirstToken>,
    pub(crate) machine: Machine,
}

/// Which server and token are meant.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    pub(crate) url: String,
    /// Where the address comes from.
    pub(crate) url_from: String,
    /// Where the token comes from, if there is one.
    pub(crate) token_from: Option<String>,
    /// Whether the address is this machine's own, where nobody listens in.
    pub(crate) is_this_machine: bool,
}

/// The database that servers share.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    /// Without a password.
    pub(crate) url: String,
    pub(crate) inspected: Result<Inspection, Trouble>,
}

/// Something that did not work, in its own words.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    pub(crate) text: String,
    pub(crate) fix: Option<String>,
    /// Whether the server's certificate is what is wrong.
    pub(crate) is_certificate: bool,
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        let fix = failure.advice().map(str::to_owned);
        Self { text: failure.sentence(), fix, is_certificate: false }
    }
}

/// The first admin token.
#[derive(Clone, Debug)]
pub(crate) struct FirstToken {
    pub(crate) path: PathBuf,
    pub(crate) days: u64,
    /// Whether there is another admin token; none, where that cannot be seen.
    pub(crate) another: Option<bool>,
}

/// What this machine is like.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    /// Whether an agent is to run here, as far as the options tell.
    pub(crate) runs_agent: bool,
    /// What `nix-store --version` prints, or why it does not.
    pub(crate) nix: Option<Result<String, String>>,
    /// Whether the store can be written to, or why not.
    pub(crate) store: Option<Result<(), String>>,
    /// What Nix's own configuration says, or why that is not known.
    pub(crate) config: Option<Result<NixConfig, String>>,
    pub(crate) caches: Vec<Cache>,
    /// The keys that signatures are checked with.
    pub(crate) trusted_keys: Vec<String>,
    /// The profile's link, and why it cannot be set.
    pub(crate) profile: Option<(PathBuf, Result<(), String>)>,
    pub(crate) state: Option<State>,
    pub(crate) session: Option<Result<Session, String>>,
    pub(crate) disks: Vec<Disk>,
}

/// What Nix is configured to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NixConfig {
    pub(crate) substituters: Vec<String>,
    pub(crate) trusted_public_keys: Vec<String>,
    pub(crate) require_sigs: bool,
}

/// A binary cache.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    /// Without a password.
    pub(crate) url: String,
    pub(crate) answer: CacheAnswer,
    /// Names of the keys that sign one of its paths; none, where none was found.
    pub(crate) signed_by: Option<Vec<String>>,
    /// Whether its address says that no signature is needed.
    pub(crate) is_trusted: bool,
}

/// How a cache answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CacheAnswer {
    /// As a cache does.
    Cache,
    /// It wants a password, which Nix may have.
    WantsPassword,
    /// It does not, or not as a cache.
    No(String),
    /// Nothing here speaks its protocol.
    NotAsked,
}

/// An agent's state folder.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) path: PathBuf,
    /// Its permissions, if it is there; why it cannot be looked at.
    pub(crate) mode: Result<Option<u32>, String>,
}

/// What the server knows of the agent's name.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) name: AgentName,
    pub(crate) is_known: bool,
    pub(crate) is_connected: bool,
    pub(crate) is_retired: bool,
    /// The key that the name belongs to.
    pub(crate) pinned: Option<PublicKey>,
    /// The key in the state folder.
    pub(crate) own: Option<PublicKey>,
}

/// Space where something grows.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    pub(crate) of: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) free: u64,
    pub(crate) size: u64,
}
