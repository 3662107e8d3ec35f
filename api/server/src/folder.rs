//! The server's own files in the data folder: who it is, and its secrets.
//!
//! A file is written beside its place, synced, moved there, and the folder is
//! synced: after a power cut it is whole or not there.

use api_wire::token::Secret;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use ledger_core::NodeId;
use ledger_core::rights::TokenKind;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::auth::key::TokenKey;

/// The file with the first admin token.
pub(crate) const ADMIN_TOKEN: &str = "admin-token";
/// The file with the node's id.
const NODE: &str = "node";
/// The file with the key under which tokens are hashed.
const TOKEN_KEY: &str = "token-key";

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
    /// It holds something else than it should.
    #[error("{} is damaged: {what}; restore it from a backup", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
}

/// The data folder, which only its owner may enter.
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes the folder if it is not there, and closes it to others.
    pub(crate) fn open(path: &Path) -> Result<Self, FolderError> {
        let folder = Self { path: path.to_owned() };
        fs::create_dir_all(path)
            .and_then(|()| close_to_others(path))
            .map_err(|source| FolderError::File { path: path.to_owned(), source })?;
        Ok(folder)
    }

    /// Returns the node's id, which is made at the first start.
    pub(crate) fn node(&self) -> Result<NodeId, FolderError> {
        let path = self.path.join(NODE);
        if let Some(text) = read(&path)? {
            let text = String::from_utf8_lossy(&text);
            let what = "it must hold the node's id, a UUID";
            return text.trim().parse().map_err(|_| FolderError::Damaged { path, what });
        }
        let node = NodeId::new(uuid::Uuid::now_v7());
        self.write(NODE, format!("{node}\n").as_bytes())?;
        Ok(node)
    }

    /// Returns the key under which tokens are hashed, which is made at the first start.
    pub(crate) fn token_key(&self) -> Result<TokenKey, FolderError> {
        let path = self.path.join(TOKEN_KEY);
        if let Some(text) = read(&path)? {
            let bytes = HEXLOWER.decode(text.trim_ascii()).ok();
            let what = "it must hold 64 hexadecimal digits";
            return bytes
                .and_then(|bytes| bytes.try_into().ok())
                .map(TokenKey::new)
                .ok_or(FolderError::Damaged { path, what });
        }
        let bytes = self.random(&path)?;
        self.write(TOKEN_KEY, format!("{}\n", HEXLOWER.encode(&bytes)).as_bytes())?;
        Ok(TokenKey::new(bytes))
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

    fn random(&self, path: &Path) -> Result<[u8; TokenKey::BYTES], FolderError> {
        let mut bytes = [0; TokenKey::BYTES];
        getrandom::fill(&mut bytes).map_err(|error| FolderError::File {
            path: path.to_owned(),
            source: io::Error::other(error.to_string()),
        })?;
        Ok(bytes)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), FolderError> {
        let path = self.path.join(name);
        let beside = self.path.join(format!("{name}.new"));
        let write = || -> io::Result<()> {
            // A file that a crash left beside its place is worth nothing.
            match fs::remove_file(&beside) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = owned_only().open(&beside)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&beside, &path)?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(|source| FolderError::File { path: path.clone(), source })
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
fn close_to_others(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
}

#[cfg(not(unix))]
fn close_to_others(_path: &Path) -> io::Result<()> {
    Ok(())
}
