//! The command line of an agent, shared by `ledger agent` and `ledger-agent`.

use crate::driver::{Channels, Driver, DriverError};
use crate::folder::{self, Folder, FolderError};
use crate::history::{History, HistoryError};
use crate::host::nix::NixHost;
use crate::host::profile;
use crate::journal::{Journal, JournalError};
use crate::limits::GOODBYE_DEADLINE;
use crate::link::{self, Identity};
use crate::lock::{ProfileLock, ProfileLockError};
use crate::{output, supervisor};
use api_client::endpoint::{Endpoint, EndpointError};
use api_wire::token::{NotAToken, Secret};
use ledger_core::names::{AgentName, InvalidName, ProgramVersion, System};
use ledger_core::rights::TokenKind;
use std::io;
use std::path::PathBuf;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Run an agent on this machine
///
/// It connects to the server, waits for deployments, and activates them. The
/// token is read from LEDGER_TOKEN or --token-file, never from the command line.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The agent's name, unique in its workspace
    pub name: AgentName,
    /// The profile to deploy to: a name that Nix keeps profiles under, or a path. No two agents
    /// share one. A home-manager closure sets the user's own home-manager profile instead
    #[arg(long, value_name = "NAME|PATH", default_value = "system", value_parser = a_profile)]
    #[arg(env = "LEDGER_PROFILE", hide_env_values = true)]
    pub profile: String,
    /// Where the agent keeps its key and its journal [default: /var/lib/ledger-agent/NAME for
    /// root, $XDG_STATE_HOME/ledger-agent/NAME otherwise]
    #[arg(long, value_name = "DIR", env = "LEDGER_STATE", hide_env_values = true)]
    pub state: Option<PathBuf>,
    /// A binary cache to fetch from, in place of the machine's own; may be repeated
    #[arg(long = "substituter", value_name = "URL", value_parser = one_word)]
    #[arg(env = "LEDGER_SUBSTITUTERS", hide_env_values = true, value_delimiter = ' ')]
    pub substituters: Vec<String>,
    /// A key to trust, like cache.example.com-1:…, in place of the machine's own; may be repeated
    #[arg(long = "trusted-public-key", value_name = "KEY", value_parser = a_nix_key)]
    #[arg(env = "LEDGER_TRUSTED_PUBLIC_KEYS", hide_env_values = true, value_delimiter = ' ')]
    pub trusted_public_keys: Vec<String>,
    /// The server's address, which begins with https://, or with http:// on this machine
    #[arg(long, value_name = "URL", env = "LEDGER_URL", help_heading = "Connection")]
    #[arg(hide_env_values = true)]
    pub url: String,
    /// A file with the token, in place of LEDGER_TOKEN
    #[arg(long, value_name = "FILE", env = "LEDGER_TOKEN_FILE", help_heading = "Connection")]
    #[arg(hide_env_values = true)]
    pub token_file: Option<PathBuf>,
}

fn a_profile(text: &str) -> Result<String, String> {
    let name = text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+".contains(c));
    let valid = !text.is_empty() && !text.starts_with(['-', '.']) && name;
    if valid || (text.contains('/') && !text.ends_with('/')) {
        Ok(text.to_owned())
    } else {
        Err("it must be a name of letters, digits and - _ . +, or a path with a / in it".to_owned())
    }
}

fn one_word(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(char::is_whitespace) {
        return Err("it must be one word".to_owned());
    }
    Ok(text.to_owned())
}

fn a_nix_key(text: &str) -> Result<String, String> {
    let text = one_word(text)?;
    match text.split_once(':') {
        Some((name, key)) if !name.is_empty() && !key.is_empty() => Ok(text),
        _ => Err("it must be NAME:KEY, as in a cache's nix-cache.pub".to_owned()),
    }
}

/// Why an agent ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The server's address is not usable.
    #[error("the server's address cannot be used")]
    Url(#[source] EndpointError),
    /// There is no token.
    #[error(
        "no token: set LEDGER_TOKEN or give --token-file; `ledger token create --kind agent` makes one"
    )]
    NoToken,
    /// The token's file cannot be read.
    #[error("could not read the token from {}", path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// What was given is no token.
    #[error("{whence} holds no token")]
    BadToken {
        /// Where it was read.
        whence: String,
        /// What one looks like.
        #[source]
        source: NotAToken,
    },
    /// The token is of another kind.
    #[error(
        "{whence} holds a token of kind {kind}; an agent needs one of kind agent (`ledger token create --kind agent`)"
    )]
    WrongToken {
        /// Where it was read.
        whence: String,
        /// What it is.
        kind: TokenKind,
    },
    /// This machine has a system that has no name here.
    #[error("this machine's system has no name in Nix")]
    System(#[source] InvalidName),
    /// The state folder is not usable.
    #[error("the agent has no state folder")]
    Folder(#[source] FolderError),
    /// The profile is not free.
    #[error("the agent has no profile")]
    Profile(#[source] ProfileLockError),
    /// The journal is not usable.
    #[error("the agent has no journal")]
    Journal(#[source] JournalError),
    /// What the agent has seen of the server's history is against going on.
    #[error(transparent)]
    History(HistoryError),
    /// The agent could not go on.
    #[error(transparent)]
    Driver(DriverError),
}

impl AgentError {
    /// Returns the exit code: 1 failed, 2 usage, 3 the server's history was
    /// rolled back, 4 refused by the server.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Url(_)
            | Self::NoToken
            | Self::TokenFile { .. }
            | Self::BadToken { .. }
            | Self::WrongToken { .. } => 2,
            Self::Driver(DriverError::RolledBack { .. } | DriverError::Rewritten(_)) => 3,
            Self::History(HistoryError::Rewritten { .. }) => 3,
            Self::Driver(DriverError::Refused(_)) => 4,
            Self::System(_)
            | Self::Folder(_)
            | Self::Profile(_)
            | Self::Journal(_)
            | Self::History(_)
            | Self::Driver(_) => 1,
        }
    }
}

/// Runs an agent until it is stopped.
///
/// A deployment that runs then goes on in its supervisor, and is taken up at
/// the next start.
pub async fn run(args: Args, shutdown: CancellationToken) -> Result<(), AgentError> {
    let endpoint = Endpoint::new(&args.url, token(&args)?).map_err(AgentError::Url)?;
    let state = match &args.state {
        Some(path) => path.clone(),
        None => folder::default_path(&args.name).map_err(AgentError::Folder)?,
    };
    let folder = Folder::open(&state).map_err(AgentError::Folder)?;
    let profile = profile::locate(&args.profile);
    // Held until the agent ends.
    let _lock = ProfileLock::take(&profile, &args.name).map_err(AgentError::Profile)?;
    let key = folder.key().map_err(AgentError::Folder)?;
    let journal = Journal::open(folder.path(), &args.name).map_err(AgentError::Journal)?;
    let version = ProgramVersion::new(env!("CARGO_PKG_VERSION")).map_err(AgentError::System)?;
    let system = nix_system().map_err(AgentError::System)?;
    let host = NixHost {
        folder: folder.clone(),
        profile,
        substituters: args.substituters,
        trusted_public_keys: args.trusted_public_keys,
        supervisor: supervisor::own_program(),
    };
    let identity = Identity { name: args.name, key, version, system };
    tracing::info!(
        "agent {} begins, with profile {} and state {}",
        identity.name,
        host.profile.display(),
        folder.path().display()
    );
    let history = History::open(folder.path()).map_err(AgentError::History)?;
    serve(endpoint, identity, history, Driver::new(journal, folder, host), shutdown).await
}

/// Runs a driver and its link to the server.
pub async fn serve<H: crate::host::Host>(
    endpoint: Endpoint,
    identity: Identity,
    history: History,
    driver: Driver<H>,
    shutdown: CancellationToken,
) -> Result<(), AgentError> {
    let (opened, sessions) = mpsc::channel(1);
    let (cursor, cursor_seen) = watch::channel(driver.cursor());
    let (part, parting) = oneshot::channel();
    // The link ends with the driver too, also where nobody asked for it.
    let leaving = shutdown.child_token();
    let link = tokio::spawn({
        let leaving = leaving.clone();
        async move {
            let kept = link::keep(endpoint, identity, history, cursor_seen, opened, leaving).await;
            if let Some(parted) = kept {
                // Nobody listens when the driver ended first.
                let _ = part.send(parted);
            }
        }
    });
    let ended = driver.run(Channels { sessions, cursor, parting }, &shutdown).await;
    leaving.cancel();
    // A link that does not part in time is left; the process ends anyway.
    let _ = timeout(GOODBYE_DEADLINE, link).await;
    ended.map_err(AgentError::Driver)
}

fn token(args: &Args) -> Result<Secret, AgentError> {
    let (whence, text) = match (&args.token_file, std::env::var("LEDGER_TOKEN")) {
        (Some(path), _) => {
            let path = path.clone();
            let whence = path.display().to_string();
            let text = output::read_small(&path);
            (whence, text.map_err(|source| AgentError::TokenFile { path, source })?)
        }
        (None, Ok(text)) => ("LEDGER_TOKEN".to_owned(), text),
        (None, Err(_)) => return Err(AgentError::NoToken),
    };
    let secret = Secret::parse(&text)
        .map_err(|source| AgentError::BadToken { whence: whence.clone(), source })?;
    let kind = TokenKind::ALL.iter().find(|kind| secret.reveal().starts_with(kind.prefix()));
    match kind {
        Some(TokenKind::Agent) | None => Ok(secret),
        Some(kind) => Err(AgentError::WrongToken { whence, kind: *kind }),
    }
}

/// Returns this machine's system as Nix names it.
fn nix_system() -> Result<System, InvalidName> {
    let arch = match std::env::consts::ARCH {
        "x86" => "i686",
        "arm" => "armv7l",
        "powerpc64" if cfg!(target_endian = "little") => "powerpc64le",
        arch => arch,
    };
    let os = match std::env::consts::OS {
        "macos" => "darwin",
        os => os,
    };
    System::new(format!("{arch}-{os}"))
}
