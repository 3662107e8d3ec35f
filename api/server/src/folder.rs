//! The server's own files in the data folder: who it is, and its secrets.
//!
//! A file is written beside its place, synced, moved there, and the folder is
//! synced: after a power cut it is whole or not there.

use api_wire::token::Secret;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use ledger_core::NodeId;
use ledger_core::checkpoint::{Note, NoteKey};
use ledger_core::rights::TokenKind;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::auth::key::TokenKey;
use crate::signer::Keys;

/// The file with the first admin token.
pub(crate) const ADMIN_TOKEN: &str = "admin-token";
/// The file with the node's id.
const NODE: &str = "node";
/// The file with the key that signs checkpoints.
const SIGNING_KEY: &str = "signing-key";
/// The file with the key that verifies them.
const SIGNING_KEY_PUBLIC: &str = "signing-key.pub";
/// The file with the last checkpoint that was signed.
const CHECKPOINT: &str = "checkpoint";
/// The file with the key under which tokens are hashed.
const TOKEN_KEY: &str = "token-key";
/// The same while the log does not know yet that it is the one: a crash of the
/// first start leaves it, and nobody takes it for one that an operator gave.
const FIRST_TOKEN_KEY: &str = "token-key.first";

/// Why a file of the data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The machine refuses.
    #[error("{} cannot be used", path.display())]
    File {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others may look into the folder.
    #[error(
        "others may look into {0}, which holds the secrets of the server: `chmod 700 {0}` keeps them out; if others need it, use --data DIR with a folder of its own",
        path.display()
    )]
    OpenToOthers {
        /// The folder.
        path: PathBuf,
    },
    /// A file that the log cannot do without is gone.
    #[error(
        "{} is missing, and the tokens of this log are good with it only; restore the file from the backup that the log came from, or copy it from another server that shares the log",
        path.display()
    )]
    Missing {
        /// Which file.
        path: PathBuf,
    },
    /// It holds something else than it should.
    #[error("{} is damaged: {what}; restore it from a backup", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
}

/// Whether the log knows the key under which tokens are hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It does, or an operator gave the key.
    Kept,
    /// A first start made it, this one or one that crashed, and the log may or may
    /// not have a token under it.
    First,
}

/// The data folder, which only its owner may enter.
#[derive(Clone)]
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes the folder if it is not there, closed to others. One that is there is
    /// left as it is, and refused if others may look into it: it may be the
    /// machine's, and theirs.
    pub(crate) fn open(path: &Path) -> Result<Self, FolderError> {
        let open = || {
            make_closed(path)?;
            is_open_to_others(path)
        };
        let path = path.to_owned();
        match open() {
            Ok(false) => Ok(Self { path }),
            Ok(true) => Err(FolderError::OpenToOthers { path }),
            Err(source) => Err(FolderError::File { path, source }),
        }
    }

    /// Returns the node's id, which is made at the first start.
    ///
    /// If its file is lost, the node is the one that the log last knew, so that
    /// the sessions that it left open are closed. Without one, it is a new node.
    pub(crate) fn node(&self, known: Option<NodeId>) -> Result<NodeId, FolderError> {
        let path = self.path.join(NODE);
        if let Some(text) = read(&path)? {
            let text = String::from_utf8_lossy(&text);
            let what = "it must hold the node's id, a UUID";
            return text.trim().parse().map_err(|_| FolderError::Damaged { path, what });
        }
        let node = known.unwrap_or_else(|| NodeId::new(uuid::Uuid::now_v7()));
        self.write(NODE, format!("{node}\n").as_bytes())?;
        Ok(node)
    }

    /// Returns the key under which tokens are hashed. A first start makes it, and
    /// keeps it by [`Folder::keep_token_key`] once the log has a token under it.
    ///
    /// A log that has tokens needs the key that they were hashed with: with
    /// another one nobody would ever get in again.
    pub(crate) fn token_key(&self, has_tokens: bool) -> Result<(TokenKey, Standing), FolderError> {
        let what = "it must hold 64 hexadecimal digits";
        for (name, standing) in [(TOKEN_KEY, Standing::Kept), (FIRST_TOKEN_KEY, Standing::First)] {
            if let Some(key) = self.read_key(name, what)? {
                return Ok((TokenKey::new(key), standing));
            }
        }
        if has_tokens {
            return Err(self.token_key_missing());
        }
        let key = self.make_key(FIRST_TOKEN_KEY)?;
        Ok((TokenKey::new(key), Standing::First))
    }

    /// Keeps the key that a first start made: the log has a token under it.
    pub(crate) fn keep_token_key(&self) -> Result<(), FolderError> {
        self.rename(FIRST_TOKEN_KEY, TOKEN_KEY)
    }

    pub(crate) fn token_key_missing(&self) -> FolderError {
        FolderError::Missing { path: self.path.join(TOKEN_KEY) }
    }

    /// Removes the first admin token and the key that a first start made, if any:
    /// another server began the log, and neither was ever good for it.
    pub(crate) fn forget_first_start(&self) -> Result<(), FolderError> {
        for name in [ADMIN_TOKEN, FIRST_TOKEN_KEY] {
            let path = self.path.join(name);
            match fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(FolderError::File { path, source });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Returns the first admin token, from the file if a start before made it,
    /// and where it lies.
    pub(crate) fn admin_token(&self) -> Result<(Secret, PathBuf), FolderError> {
        let path = self.path.join(ADMIN_TOKEN);
        if let Some(text) = read(&path)? {
            let what = "it must hold a token; remove it to have another one made";
            let secret = Secret::parse(&String::from_utf8_lossy(&text))
                .map_err(|_| FolderError::Damaged { path: path.clone(), what })?;
            return Ok((secret, path));
        }
        let random = BASE64URL_NOPAD.encode(&self.random(&path)?);
        let secret = Secret::new(TokenKind::Admin, &random);
        self.write(ADMIN_TOKEN, format!("{}\n", secret.reveal()).as_bytes())?;
        Ok((secret, path))
    }

    /// Returns the key that signs checkpoints, which is made at the first start, or
    /// anew where it is to be another one.
    pub(crate) fn signing_key(&self, anew: bool) -> Result<Keys, FolderError> {
        let what = "it must hold 64 hexadecimal digits; without a backup, `ledger serve --new-signing-key` makes another key";
        let known = if anew { None } else { self.read_key(SIGNING_KEY, what)? };
        known.map_or_else(|| self.make_key(SIGNING_KEY), Ok).map(Keys::new)
    }

    /// Writes down the key that verifies checkpoints, for whoever hands it on.
    pub(crate) fn show_signing_key(&self, key: &NoteKey) -> Result<(), FolderError> {
        let text = format!("{key}\n");
        if read(&self.path.join(SIGNING_KEY_PUBLIC))?.as_deref() == Some(text.as_bytes()) {
            return Ok(());
        }
        self.write(SIGNING_KEY_PUBLIC, text.as_bytes())
    }

    /// Returns the last checkpoint that this server signed.
    pub(crate) fn last_signed(&self) -> Result<Option<Note>, FolderError> {
        let path = self.path.join(CHECKPOINT);
        let Some(text) = read(&path)? else { return Ok(None) };
        let what = "it must hold the last checkpoint that this server signed";
        let note = String::from_utf8_lossy(&text).parse();
        note.map(Some).map_err(|_| FolderError::Damaged { path, what })
    }

    /// Keeps a checkpoint before anybody sees it.
    pub(crate) fn remember_signed(&self, note: &Note) -> Result<(), FolderError> {
        self.write(CHECKPOINT, note.to_string().as_bytes())
    }

    fn read_key(&self, name: &str, what: &'static str) -> Result<Option<[u8; 32]>, FolderError> {
        let path = self.path.join(name);
        let Some(text) = read(&path)? else { return Ok(None) };
        let bytes = HEXLOWER.decode(text.trim_ascii()).ok();
        let key = bytes.and_then(|bytes| bytes.try_into().ok());
        key.map(Some).ok_or(FolderError::Damaged { path, what })
    }

    fn make_key(&self, name: &str) -> Result<[u8; 32], FolderError> {
        let key = self.random(&self.path.join(name))?;
        self.write(name, format!("{}\n", HEXLOWER.encode(&key)).as_bytes())?;
        Ok(key)
    }

    fn random(&self, path: &Path) -> Result<[u8; 32], FolderError> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|error| FolderError::File {
            path: path.to_owned(),
            source: io::Error::other(error.to_string()),
        })?;
        Ok(bytes)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), FolderError> {
        let new = format!("{name}.new");
        let beside = self.path.join(&new);
        let write = || -> io::Result<()> {
            // A file that a crash left beside its place is worth nothing.
            match fs::remove_file(&beside) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = owned_only().open(&beside)?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        write().map_err(|source| FolderError::File { path: self.path.join(name), source })?;
        self.rename(&new, name)
    }

    /// Moves a whole file to its place, for good.
    fn rename(&self, from: &str, to: &str) -> Result<(), FolderError> {
        let path = self.path.join(to);
        let renamed = fs::rename(self.path.join(from), &path)
            .and_then(|()| File::open(&self.path)?.sync_all());
        renamed.map_err(|source| FolderError::File { path, source })
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, FolderError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FolderError::File { path: path.to_owned(), source }),
    }
}

#[cfg(unix)]
fn owned_only() -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options
}

#[cfg(not(unix))]
fn owned_only() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    options
}

#[cfg(unix)]
fn make_closed(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(not(unix))]
fn make_closed(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

#[cfg(unix)]
fn is_open_to_others(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    Ok(fs::metadata(path)?.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn is_open_to_others(_path: &Path) -> io::Result<bool> {
    Ok(false)
}
