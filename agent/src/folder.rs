//! The agent's folder: its key, its journal, and what a deployment needs until
//! it ended.

use crate::host::profile;
use crate::lock;
use crate::supervisor::{sync_folder, write_synced};
use data_encoding::BASE64;
use ed25519_dalek::SigningKey;
use ledger_core::ids::DeploymentId;
use ledger_core::key::PublicKey;
use ledger_core::names::AgentName;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

/// The permissions of everybody but a folder's owner.
const OTHERS: u32 = 0o077;

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The disk says no.
    #[error("could not {act} {}", path.display())]
    Io {
        /// What was tried.
        act: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Others than its owner may look into it or write to it.
    #[error(
        "the state folder {} is open to other users (mode {mode:03o}), and the agent's key is to lie there; run `chmod 700` on it if it is the agent's alone, or name with --state a folder that does not exist yet",
        path.display()
    )]
    Open {
        /// The folder.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Another process uses it.
    #[error(
        "another agent runs on the state folder {}; stop it first, or give this one a --state of its own",
        path.display()
    )]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The key is not what was written.
    #[error(
        "the key {} is damaged; if it is lost, remove the file and let an operator run `ledger agents rekey` for this agent",
        path.display()
    )]
    Key {
        /// The file.
        path: PathBuf,
    },
    /// No folder was given and none can be derived.
    #[error(
        "neither XDG_STATE_HOME nor HOME is set; say with --state where the agent keeps its state"
    )]
    Nowhere,
}

/// The folder, held against other processes until the last clone is gone.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    _lock: Arc<File>,
}

/// Returns the folder of an agent for which none was given.
pub fn default_path(agent: &AgentName) -> Result<PathBuf, FolderError> {
    let parent = if profile::is_root() {
        PathBuf::from("/var/lib")
    } else {
        profile::state_home().ok_or(FolderError::Nowhere)?
    };
    Ok(parent.join("ledger-agent").join(agent.as_str()))
}

/// Returns the public key of an agent whose state lies in the folder, without
/// taking the folder. None, where there is no key that could be read.
pub fn public_key(path: &Path) -> Option<PublicKey> {
    let text = crate::output::read_small(&path.join("key")).ok()?;
    let bytes = <[u8; 32]>::try_from(BASE64.decode(text.trim().as_bytes()).ok()?).ok()?;
    Some(PublicKey::from_bytes(SigningKey::from_bytes(&bytes).verifying_key().to_bytes()))
}

impl Folder {
    /// Makes the folder if need be and takes it. One that is there must be its
    /// owner's alone, and is left as it is.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let path = std::path::absolute(path).map_err(|source| FolderError::Io {
            act: "find",
            path: path.to_owned(),
            source,
        })?;
        // Before anything is made in it: it may be a folder of something else.
        match fs::metadata(&path) {
            Ok(found) => {
                let mode = found.permissions().mode() & 0o7777;
                if mode & OTHERS != 0 {
                    return Err(FolderError::Open { path, mode });
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(FolderError::Io { act: "look at", path, source }),
        }
        for name in ["", "outputs", "gcroots", "activations"] {
            let part = path.join(name);
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&part)
                .map_err(|source| FolderError::Io { act: "create", path: part, source })?;
        }
        let name = path.join("lock");
        match lock::lock(&name) {
            Ok(Some(file)) => Ok(Self { path, _lock: Arc::new(file) }),
            Ok(None) => Err(FolderError::InUse { path }),
            Err(source) => Err(FolderError::Io { act: "lock", path: name, source }),
        }
    }

    /// Returns where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns where a deployment's output goes.
    pub fn output(&self, deployment: DeploymentId) -> PathBuf {
        self.path.join("outputs").join(deployment.to_string())
    }

    /// Returns where one of a deployment's roots against garbage collection is.
    pub fn gcroot(&self, deployment: DeploymentId, suffix: &str) -> PathBuf {
        self.path.join("gcroots").join(format!("{deployment}{suffix}"))
    }

    /// Returns where a deployment's activation leaves its traces.
    pub fn activation(&self, deployment: DeploymentId) -> PathBuf {
        self.path.join("activations").join(deployment.to_string())
    }

    /// Returns the agent's key, made if there is none.
    pub fn key(&self) -> Result<SigningKey, FolderError> {
        let path = self.path.join("key");
        let io = |act| {
            let path = path.clone();
            move |source| FolderError::Io { act, path, source }
        };
        match crate::output::read_small(&path) {
            Ok(text) => {
                let bytes = BASE64.decode(text.trim().as_bytes()).ok();
                let bytes = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
                let bytes = bytes.ok_or_else(|| FolderError::Key { path: path.clone() })?;
                Ok(SigningKey::from_bytes(&bytes))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut bytes = [0; 32];
                getrandom::fill(&mut bytes)
                    .map_err(|error| io("draw randomness for")(io::Error::other(error)))?;
                let text = BASE64.encode(&bytes);
                write_synced(&self.path, "key", &format!("{text}\n")).map_err(io("write"))?;
                if let Some(parent) = self.path.parent() {
                    sync_folder(parent).map_err(io("sync the folder of"))?;
                }
                Ok(SigningKey::from_bytes(&bytes))
            }
            Err(error) => Err(io("read")(error)),
        }
    }

    /// Removes what is left of all deployments but one.
    ///
    /// What cannot be removed costs space and does no harm; the next time comes.
    pub fn tidy(&self, keep: Option<DeploymentId>) {
        for part in ["outputs", "gcroots", "activations"] {
            for entry in fs::read_dir(self.path.join(part)).into_iter().flatten().flatten() {
                let name = entry.file_name();
                // An id of 36 characters, with what Nix or we put after it.
                let id = name.to_str().and_then(|name| name.get(..36));
                let id = id.and_then(|id| DeploymentId::from_str(id).ok());
                if id.is_none() || id == keep {
                    continue;
                }
                let path = entry.path();
                let removed = if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    fs::remove_dir_all(&path)
                } else {
                    fs::remove_file(&path)
                };
                if let Err(error) = removed {
                    tracing::debug!(path = %path.display(), %error, "could not tidy up");
                }
            }
        }
    }
}
