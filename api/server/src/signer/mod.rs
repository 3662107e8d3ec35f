//! The signer: it says what the log is, in signed checkpoints, and never two
//! things that contradict each other.
//!
//! What it signed last lies in a file of the data folder, outside of the database; the
//! file is written first. Whichever of the two a crash or a restored backup left behind,
//! the newer one counts.
//! Before it signs, it makes sure that the log continues that: after a restored
//! backup, or in a log that somebody rewrote, it does not, and nothing is signed.

mod keys;

pub(crate) use keys::Keys;

use crate::folder::{Folder, FolderError};
use crate::limits;
use crate::problem::chain;
use crate::server::Server;
use ledger_core::checkpoint::{Checkpoint, Note, NoteKey, Origin, sign};
use ledger_core::merkle::{Tree, root_at, tiles_for_root};
use ledger_store::{Log, OutputError, ReadError};
use std::sync::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Why nothing is signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The log does not continue what this server signed.
    #[error(
        "the log does not continue what this server signed: it signed {signed_size} events with the root {signed_root}, and the log has {found}. A backup was restored, or history was rewritten. Restore the newer database; or, if this log is to be the one from now on, start once with `ledger serve --accept-fork`, which records that in the log. Agents and auditors who saw the older history will notice either way"
    )]
    Fork {
        /// The size that was signed.
        signed_size: u64,
        /// The root that was signed.
        signed_root: String,
        /// What the log has at that size.
        found: String,
    },
    /// The log has another name than it was signed under.
    #[error(
        "the log was signed as {signed}, and is to be signed as {origin}; a log keeps its name for ever"
    )]
    Origin {
        /// The name of the last checkpoint.
        signed: Origin,
        /// The name that is wanted.
        origin: Origin,
    },
    /// The log cannot be read.
    #[error("the log cannot be read")]
    Read(#[source] ReadError),
    /// What was signed cannot be remembered.
    #[error("what was signed cannot be remembered")]
    Memory(#[source] FolderError),
    /// The checkpoint cannot be stored.
    #[error("the checkpoint cannot be stored")]
    Store(#[source] OutputError),
}

/// Signs the log of one server.
pub(crate) struct Signer {
    folder: Folder,
    keys: Keys,
    origin: Origin,
    /// What it signed last, as the file has it, or the log if that has more.
    memory: Mutex<Option<Note>>,
    /// Why it does not sign, while it does not.
    fault: watch::Sender<Option<String>>,
}

impl Signer {
    /// Makes a signer that goes on from what was signed, if the log continues that
    /// or a fork is accepted. Returns with it what the accepted fork leaves behind.
    pub(crate) async fn begin(
        folder: Folder,
        keys: Keys,
        origin: Origin,
        accept_fork: bool,
        log: &Log,
    ) -> Result<(Self, Option<Checkpoint>), SignError> {
        let kept = folder.last_signed().map_err(SignError::Memory)?;
        let stored = newest_of(log, &NoteKey { name: origin.clone(), key: keys.public() }).await?;
        // A folder that was restored from a backup remembers less than the log may have.
        let size = |note: &Option<Note>| note.as_ref().map(|note| note.checkpoint().size);
        let memory = if size(&stored) > size(&kept) { stored } else { kept };
        let signer = Self {
            folder,
            keys,
            origin,
            memory: Mutex::new(memory.clone()),
            fault: watch::Sender::new(None),
        };
        let tree = log.tree().await.map_err(SignError::Read)?;
        match signer.continues(log, &tree).await {
            Err(SignError::Fork { .. }) if accept_fork => {
                *signer.memory() = None;
                Ok((signer, memory.map(|note| note.checkpoint().clone())))
            }
            Err(error) => Err(error),
            Ok(()) => Ok((signer, None)),
        }
    }

    /// Returns the name under which it signs, with its key.
    pub(crate) fn name(&self) -> NoteKey {
        NoteKey { name: self.origin.clone(), key: self.keys.public() }
    }

    /// Returns why nothing is signed, if nothing can be.
    pub(crate) fn fault(&self) -> Option<String> {
        self.fault.borrow().clone()
    }

    /// Signs with every growth of the log, at most a second after it, until dropped.
    pub(crate) async fn follow(server: Server) {
        let mut head = server.log.head();
        loop {
            let begun = Instant::now();
            match server.signer.sign(&server.log).await {
                Ok(()) => server.signer.tell(None),
                Err(error) => server.signer.tell(Some(chain(&error))),
            }
            // One a second is enough, and all of a burst shares one.
            sleep_until(begun + limits::CHECKPOINT_INTERVAL).await;
            let failing = server.signer.fault.borrow().is_some();
            if !failing && head.changed().await.is_err() {
                return;
            }
        }
    }

    fn tell(&self, fault: Option<String>) {
        self.fault.send_if_modified(|known| {
            let changed = *known != fault;
            if changed {
                match &fault {
                    Some(why) => tracing::error!("No checkpoint is signed: {why}."),
                    None => tracing::info!("Checkpoints are signed again."),
                }
                *known = fault;
            }
            changed
        });
    }

    /// Signs the log as it is, if it has grown since the newest checkpoint.
    pub(crate) async fn sign(&self, log: &Log) -> Result<(), SignError> {
        let tree = log.tree().await.map_err(SignError::Read)?;
        self.continues(log, &tree).await?;
        let newest = log.newest_checkpoint().await.map_err(SignError::Read)?;
        let newest = newest.and_then(|note| note.parse::<Note>().ok());
        let stored = newest.map_or(0, |note| note.checkpoint().size);
        if stored >= tree.size() {
            // Nothing grew, or another server was faster.
            return Ok(());
        }
        let remembered = self.memory().clone();
        let note = match remembered.filter(|note| note.checkpoint().size == tree.size()) {
            // Signed before, and then it could not be stored.
            Some(note) => note,
            None => self.sign_anew(&tree)?,
        };
        log.write_checkpoint(&note).await.map_err(SignError::Store)
    }

    fn sign_anew(&self, tree: &Tree) -> Result<Note, SignError> {
        let (origin, size, root) = (self.origin.clone(), tree.size(), tree.root());
        let note = sign(&Checkpoint { origin, size, root }, self.keys.secret());
        // First, for what was signed must never be forgotten.
        self.folder.remember_signed(&note).map_err(SignError::Memory)?;
        *self.memory() = Some(note.clone());
        Ok(note)
    }

    /// Makes sure that the log begins with what was signed last.
    async fn continues(&self, log: &Log, tree: &Tree) -> Result<(), SignError> {
        let Some(signed) = self.memory().as_ref().map(|note| note.checkpoint().clone()) else {
            return Ok(());
        };
        if signed.origin != self.origin {
            let origin = self.origin.clone();
            return Err(SignError::Origin { signed: signed.origin, origin });
        }
        let fork = |found: String| SignError::Fork {
            signed_size: signed.size,
            signed_root: signed.root.to_string(),
            found,
        };
        if signed.size > tree.size() {
            return Err(fork(format!("only {} events", tree.size())));
        }
        let tiles = log.tiles(tree, &tiles_for_root(signed.size)).await;
        let tiles = tiles.map_err(SignError::Read)?;
        let damaged = |missing: ledger_core::merkle::Missing| {
            let what = "it is missing or too short".to_owned();
            SignError::Read(ReadError::Tile { id: missing.0, what })
        };
        let root = root_at(&tiles, signed.size).map_err(damaged)?;
        if root == signed.root { Ok(()) } else { Err(fork(format!("the root {root} there"))) }
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Option<Note>> {
        self.memory.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Returns the log's newest checkpoint, if it was signed with the key.
async fn newest_of(log: &Log, key: &NoteKey) -> Result<Option<Note>, SignError> {
    let newest = log.newest_checkpoint().await.map_err(SignError::Read)?;
    Ok(newest.and_then(|note| note.parse::<Note>().ok()).filter(|note| note.is_signed_by(key)))
}
