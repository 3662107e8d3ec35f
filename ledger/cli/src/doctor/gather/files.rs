//! Looks at folders and files of this machine.

use super::Subject;
use crate::doctor::facts::{Disk, FirstToken, State};
use crate::verbs::serve::default_data_folder;
use agent::folder::default_path;
use agent::host::profile::is_root;
use api_wire::token::Secret;
use ledger_core::NodeId;
use rustix::fs::{Access, access, statvfs};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const STORE: &str = "/nix/store";
/// Bytes of a small file.
const FILE_BYTES_MAX: u64 = 4096;

/// The first admin token, as it lies in a data folder.
pub(super) struct First {
    path: PathBuf,
    age: Duration,
    /// Of which server, if that could be read.
    pub(super) node: Option<NodeId>,
    pub(super) secret: Option<Secret>,
}

impl First {
    pub(super) fn facts(&self, another: Option<bool>) -> FirstToken {
        FirstToken { path: self.path.clone(), days: self.age.as_secs() / (24 * 3600), another }
    }
}

/// Finds it in the folder, else in the one where data lies if nobody says otherwise.
pub(super) fn first_token(data: Option<&Path>) -> Option<First> {
    let folder = data.map(Path::to_owned).or_else(default_data_folder)?;
    let path = folder.join("admin-token");
    let found = fs::metadata(&path).ok()?;
    let age = found.modified().ok().and_then(|made| made.elapsed().ok()).unwrap_or_default();
    let node = read_small(&folder.join("node")).ok().and_then(|text| text.trim().parse().ok());
    let secret = read_small(&path).ok().and_then(|text| Secret::parse(&text).ok());
    Some(First { path, age, node, secret })
}

fn read_small(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// Returns where the agent's state lies, if an agent is named.
pub(super) fn state_path(subject: &Subject) -> Option<PathBuf> {
    let own = subject.state.clone();
    own.or_else(|| default_path(subject.agent.as_ref()?).ok())
}

pub(super) fn state(path: PathBuf) -> State {
    let mode = match fs::metadata(&path) {
        Ok(found) => Ok(Some(found.permissions().mode() & 0o7777)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    };
    State { path, mode }
}

/// Finds out whether a profile's link can be set: Nix puts a new one into its place.
pub(super) fn profile(link: &Path) -> (PathBuf, Result<(), String>) {
    let folder = nearest(link.parent().unwrap_or(link));
    let may = access(&folder, Access::WRITE_OK | Access::EXEC_OK);
    let outcome = may.map_err(|error| format!("{}: {error}", folder.display()));
    (link.to_owned(), outcome)
}

/// Returns the folder itself or the nearest one above it that is there.
fn nearest(path: &Path) -> PathBuf {
    let there = path.ancestors().find(|folder| folder.is_dir());
    there.unwrap_or(Path::new("/")).to_owned()
}

/// Returns the hashes of store paths that a cache of this machine likely has.
pub(super) fn own_paths(profile: &Path) -> Vec<String> {
    let nix = std::env::var_os("PATH").and_then(|path| {
        std::env::split_paths(&path).map(|folder| folder.join("nix-store")).find(|p| p.exists())
    });
    let links = [Some(profile.to_owned()), Some("/run/current-system".into()), nix];
    let mut hashes: Vec<String> = links.iter().flatten().filter_map(|link| hash_of(link)).collect();
    hashes.sort();
    hashes.dedup();
    hashes
}

fn hash_of(link: &Path) -> Option<String> {
    let path = fs::canonicalize(link).ok()?;
    let name = path.strip_prefix(STORE).ok()?.components().next()?;
    let (hash, _) = name.as_os_str().to_str()?.split_once('-')?;
    Some(hash.to_owned())
}

/// Measures the disks on which something grows.
pub(super) fn disks(state: Option<&Path>, data: Option<&Path>) -> Vec<Disk> {
    let default_data = default_data_folder().filter(|folder| folder.is_dir());
    let data = data.map(Path::to_owned).or(default_data);
    let agents = is_root().then(|| PathBuf::from("/var/lib/ledger-agent"));
    let state = state.map(Path::to_owned).or(agents.filter(|folder| folder.is_dir()));
    let store = Some(PathBuf::from(STORE)).filter(|folder| folder.is_dir());
    let of = [("the Nix store", store), ("the agent's state", state), ("the server's data", data)];
    of.into_iter().filter_map(|(of, path)| disk(of, path?)).collect()
}

fn disk(of: &'static str, path: PathBuf) -> Option<Disk> {
    let found = statvfs(nearest(&path)).ok()?;
    let block = found.f_frsize.max(1);
    let free = found.f_bavail.saturating_mul(block);
    let size = found.f_blocks.saturating_mul(block);
    // Some file systems have no size, and nothing to run out of.
    (size > 0).then_some(Disk { of, path, free, size })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_can_be_set_where_its_folder_can_be_made() {
        let folder = tempfile::tempdir().expect("a folder");
        let (_, outcome) = profile(&folder.path().join("a/b/system"));
        assert_eq!(outcome, Ok(()));
        let (_, outcome) = profile(Path::new("/proc/nowhere/system"));
        assert!(outcome.is_err() || is_root(), "{outcome:?}");
        assert_eq!(nearest(&folder.path().join("x/y")), folder.path());
    }

    #[test]
    fn the_first_token_is_found_with_its_server() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(first_token(Some(folder.path())).is_none());
        let token = format!("ldg_admin_{}\n", "a".repeat(43));
        fs::write(folder.path().join("admin-token"), token).expect("written");
        fs::write(folder.path().join("node"), "0190b1f2-7c1e-7d3a-9f00-5c2d6e1a4b90\n")
            .expect("written");
        let first = first_token(Some(folder.path())).expect("found");
        assert!(first.node.is_some() && first.secret.is_some());
        assert_eq!(first.facts(Some(true)).days, 0);
    }
}
