//! The demo's folder: everything is in it, and nothing is anywhere else.

use crate::failure::Failure;
use data_encoding::HEXLOWER;
use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the folder of every demo is named like.
const PREFIX: &str = "ledger-demo-";
/// Random bytes in its name.
const NAME_BYTES: usize = 3;
/// What children may know of the user's environment: where programs and
/// certificates are, and which language is spoken.
const INHERITED: &[&str] =
    &["PATH", "USER", "LANG", "LC_ALL", "SSL_CERT_FILE", "SSL_CERT_DIR", "NIX_SSL_CERT_FILE"];
/// Folders that are there from the beginning.
const PARTS: &[&str] = &["home", "logs", "nix", "tmp"];

/// Nix as every machine of the demo is told to be, whatever the user's is.
const NIX_CONF: &str = "\
# No cache but the one that is named, and no users for builds: the store is this folder's own.
substituters =
build-users-group =
experimental-features = nix-command
";

/// The folder, by the one path that all ways to it have in common.
#[derive(Clone, Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Returns a folder that does not exist yet.
    pub(crate) fn planned() -> Result<Self, Failure> {
        let mut random = [0; NAME_BYTES];
        getrandom::fill(&mut random)
            .map_err(|e| Failure::failed(format!("this machine gives no random bytes: {e}")))?;
        let parent = std::env::temp_dir();
        let parent = fs::canonicalize(&parent).map_err(|e| {
            Failure::from(e)
                .context(format!(
                    "the folder for temporary files, {}, cannot be found",
                    parent.display()
                ))
                .hint("set TMPDIR to a folder that you may write to")
        })?;
        if parent.to_str().is_none() {
            return Err(Failure::failed(
                "the folder for temporary files has a name that is no text",
            )
            .hint("set TMPDIR to another one"));
        }
        Ok(Self(parent.join(format!("{PREFIX}{}", HEXLOWER.encode(&random)))))
    }

    /// Returns the folder at a path.
    pub(crate) fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Makes it, closed to others. One that is there already is not taken.
    pub(crate) fn make(&self) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(&self.0)?;
        PARTS.iter().try_for_each(|part| fs::create_dir(self.0.join(part)))?;
        self.write("nix/nix.conf", NIX_CONF)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Returns its path as text.
    pub(crate) fn shown(&self) -> String {
        self.0.display().to_string()
    }

    /// Writes a file, with the folders on the way to it.
    pub(crate) fn write(&self, name: &str, text: &str) -> io::Result<()> {
        let path = self.0.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, text)
    }

    /// The same for a program.
    pub(crate) fn write_program(&self, name: &str, text: &str) -> io::Result<()> {
        self.write(name, text)?;
        fs::set_permissions(self.0.join(name), fs::Permissions::from_mode(0o755))
    }

    /// Lets a program see the folder and little else: no home, no settings of
    /// the user's, and none of the machine's Nix.
    pub(crate) fn prepare(&self, command: &mut Command) {
        let inherited = INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
        command.env_clear().envs(inherited).envs(self.env()).current_dir(&self.0);
    }

    /// Returns the variables that keep a program inside the folder.
    pub(crate) fn env(&self) -> Vec<(&'static str, OsString)> {
        let of = |part: &str| self.0.join(part).into_os_string();
        vec![
            ("HOME", of("home")),
            ("TMPDIR", of("tmp")),
            ("XDG_CACHE_HOME", of("home/.cache")),
            ("XDG_CONFIG_HOME", of("home/.config")),
            ("XDG_DATA_HOME", of("home/.local/share")),
            ("XDG_STATE_HOME", of("home/.local/state")),
            ("NIX_CONF_DIR", of("nix")),
            ("NIX_USER_CONF_FILES", OsString::new()),
        ]
    }
}

/// Removes a folder with all that is in it, also what Nix made read-only.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    open_up(path)?;
    fs::remove_dir_all(path)
}

/// Makes every folder below writable. Links are not followed.
fn open_up(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_folder_is_removed_with_what_is_read_only_in_it_and_nothing_beyond() {
        let temporary = tempfile::tempdir().expect("a folder");
        let (beyond, path) = (temporary.path().join("beyond"), temporary.path().join("demo"));
        fs::create_dir(&beyond).expect("made");
        let folder = Folder::at(&path);
        folder.make().expect("made");
        folder.write_program("root/nix/store/a/bin/a", "#!/bin/sh\n").expect("written");
        symlink(&beyond, path.join("root/nix/store/a/way")).expect("a link");
        let closed = fs::Permissions::from_mode(0o555);
        for part in ["root/nix/store/a/bin", "root/nix/store/a", "root/nix/store"] {
            fs::set_permissions(path.join(part), closed.clone()).expect("changed");
        }
        remove(&path).expect("removed");
        assert!(!path.exists() && beyond.is_dir());
    }

    #[test]
    fn every_folder_has_a_name_of_its_own_and_is_closed_to_others() {
        let temporary = tempfile::tempdir().expect("a folder");
        let folder = Folder::at(&temporary.path().join("demo"));
        folder.make().expect("made");
        let mode = fs::metadata(folder.path()).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert!(folder.make().is_err(), "a folder of somebody else is not taken");
        let (one, other) = (Folder::planned().expect("made"), Folder::planned().expect("made"));
        assert_ne!(one.path(), other.path());
    }
}
