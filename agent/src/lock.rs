//! Locks that a process holds while it lives: of a state folder, so that no two
//! agents share a journal, and of a profile, so that no two move its link.

use crate::host::profile;
use crate::limits::{LOCK_PATIENCE, LOCK_POLL};
use crate::output::read_small;
use ledger_core::names::AgentName;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Where root's agents keep what lasts until the next boot.
const RUN: &str = if cfg!(target_os = "linux") { "/run" } else { "/var/run" };

/// Digits of a profile's digest that name its lock.
const NAME_DIGITS: usize = 32;

/// Why a profile cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum ProfileLockError {
    /// Another agent deploys to it.
    #[error(
        "the profile {} belongs to {owner}, which runs on this machine; stop that one first, or give this one a --profile of its own",
        profile.display()
    )]
    InUse {
        /// The profile's link.
        profile: PathBuf,
        /// Who has it.
        owner: String,
    },
    /// The disk says no.
    #[error("could not lock the profile with {}", path.display())]
    Io {
        /// The lock's file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// There is no place for the lock.
    #[error(
        "neither XDG_STATE_HOME nor HOME is set, and one of them must be, for locks of profiles"
    )]
    Nowhere,
}

/// A profile that only this process deploys to.
#[derive(Debug)]
pub struct ProfileLock {
    path: PathBuf,
    _file: File,
}

impl ProfileLock {
    /// Takes a profile for an agent.
    ///
    /// The lock lies with those of all agents of the same user, for a profile's
    /// own folder is Nix's.
    pub fn take(profile: &Path, agent: &AgentName) -> Result<Self, ProfileLockError> {
        let folder = folder().ok_or(ProfileLockError::Nowhere)?;
        let digest = blake3::hash(real(profile).as_os_str().as_encoded_bytes()).to_hex();
        let path = folder.join(digest.chars().take(NAME_DIGITS).collect::<String>());
        let io = |source| ProfileLockError::Io { path: path.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(io)?;
        let Some(mut file) = lock(&path).map_err(io)? else {
            let owner = read_small(&path).unwrap_or_default();
            let owner = match owner.trim() {
                "" => "another agent".to_owned(),
                owner => owner.to_owned(),
            };
            return Err(ProfileLockError::InUse { profile: profile.to_owned(), owner });
        };
        let owner = format!("the agent {agent} (process {})\n", std::process::id());
        file.set_len(0).and_then(|()| file.write_all(owner.as_bytes())).map_err(io)?;
        Ok(Self { path, _file: file })
    }
}

impl Drop for ProfileLock {
    fn drop(&mut self) {
        // Still held: whoever opened the file before sees that it is gone. What
        // a killed agent leaves is a lock that nobody holds.
        let _ = fs::remove_file(&self.path);
    }
}

/// Returns where the locks lie of all agents of this user.
pub fn folder() -> Option<PathBuf> {
    let parent = if profile::is_root() { PathBuf::from(RUN) } else { profile::state_home()? };
    Some(parent.join("ledger-agent").join(".profiles"))
}

/// Returns a profile by the one path that all ways to it have in common. The
/// link itself is not followed: it moves.
fn real(profile: &Path) -> PathBuf {
    let mut rest = Vec::new();
    let mut at = profile;
    while let (Some(parent), Some(name)) = (at.parent(), at.file_name()) {
        rest.push(name);
        if let Ok(parent) = fs::canonicalize(parent) {
            return rest.iter().rev().fold(parent, |path, name| path.join(name));
        }
        at = parent;
    }
    profile.to_owned()
}

/// Takes the lock of a file, which is made if need be. None if another process has it.
pub fn lock(path: &Path) -> io::Result<Option<File>> {
    let began = Instant::now();
    loop {
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match file.try_lock() {
            Ok(()) if is_at(&file, path)? => return Ok(Some(file)),
            // Its holder removed it meanwhile.
            Ok(()) => {}
            Err(TryLockError::WouldBlock) if began.elapsed() < LOCK_PATIENCE => {
                std::thread::sleep(LOCK_POLL);
            }
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(source)) => return Err(source),
        }
    }
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let (held, there) = (file.metadata()?, fs::symlink_metadata(path));
    Ok(there.is_ok_and(|there| (there.dev(), there.ino()) == (held.dev(), held.ino())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn all_ways_to_a_profile_lead_to_one_path() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = fs::canonicalize(folder.path()).expect("a path");
        fs::create_dir(folder.join("profiles")).expect("made");
        symlink("profiles", folder.join("way")).expect("a link");
        symlink("system-1-link", folder.join("profiles/system")).expect("a link");
        for (way, path) in [
            ("profiles/system", "profiles/system"),
            ("way/system", "profiles/system"),
            ("way/../way/system", "profiles/system"),
            ("way/new/system", "profiles/new/system"),
            ("way/other", "profiles/other"),
        ] {
            assert_eq!(real(&folder.join(way)), folder.join(path), "{way}");
        }
    }

    #[test]
    fn a_lock_is_held_by_one_and_left_to_the_next() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lock");
        let first = lock(&path).expect("no error").expect("it is free");
        assert!(lock(&path).expect("no error").is_none());
        // A lock whose file is removed holds nobody up.
        fs::remove_file(&path).expect("removed");
        let second = lock(&path).expect("no error").expect("it is free");
        drop((first, second));
        assert!(lock(&path).expect("no error").is_some());
    }
}
