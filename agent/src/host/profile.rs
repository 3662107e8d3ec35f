//! The profile: a link to a generation, which is a link into the store.

use ledger_core::event::ClosureKind;
use ledger_core::names::StorePath;
use std::fs;
use std::path::{Path, PathBuf};

/// Where Nix keeps the profiles of the whole machine.
const PROFILES: &str = "/nix/var/nix/profiles";

/// Returns the profile's link: a path as it is, a name where Nix keeps
/// profiles of root or of this user.
pub fn locate(name_or_path: &str) -> PathBuf {
    if name_or_path.contains('/') {
        return std::path::absolute(name_or_path).unwrap_or_else(|_| name_or_path.into());
    }
    if is_root() { Path::new(PROFILES).join(name_or_path) } else { of_user(name_or_path) }
}

/// Returns the link whose target a closure of this kind replaces.
///
/// home-manager keeps a profile of its own, which its activation sets.
pub fn of_kind(kind: ClosureKind, profile: &Path) -> PathBuf {
    match kind {
        ClosureKind::HomeManager => of_user("home-manager"),
        ClosureKind::Nixos | ClosureKind::Darwin | ClosureKind::Plain => profile.to_owned(),
    }
}

/// Newer Nix keeps a user's profiles in the home, older in a folder per user.
fn of_user(name: &str) -> PathBuf {
    let user = std::env::var("USER").unwrap_or_else(|_| "root".to_owned());
    let older = Path::new(PROFILES).join("per-user").join(user);
    let newer = state_home().map(|home| home.join("nix/profiles"));
    match newer {
        Some(newer) if newer.join(name).symlink_metadata().is_ok() || !older.is_dir() => {
            newer.join(name)
        }
        _ => older.join(name),
    }
}

/// Returns where a user's programs keep what they must remember.
pub fn state_home() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    set("XDG_STATE_HOME").or_else(|| set("HOME").map(|home| home.join(".local/state")))
}

/// Returns whether this process may do everything.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Returns where a link ends, if that is a whole store path that exists.
pub fn target(link: &Path) -> Option<StorePath> {
    let path = fs::canonicalize(link).ok()?;
    StorePath::new(path.to_str()?).ok()
}

/// Returns the number of a profile's generation: 7 where it points to `NAME-7-link`.
pub fn generation(link: &Path) -> Option<u64> {
    let target = fs::read_link(link).ok()?;
    let name = link.file_name()?.to_str()?;
    let rest = target.file_name()?.to_str()?.strip_prefix(name)?;
    rest.strip_prefix('-')?.strip_suffix("-link")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_generation_is_read_from_the_link() {
        let folder = tempfile::tempdir().expect("a folder");
        for (target, number) in [
            ("system-7-link", Some(7)),
            ("system-70-link", Some(70)),
            ("other-7-link", None),
            ("system-x-link", None),
            ("/nix/store/0c5b8vw40dy178xlpddw65q9gf1h2186-a", None),
        ] {
            let link = folder.path().join("system");
            symlink(target, &link).expect("a link");
            assert_eq!(generation(&link), number, "{target}");
            fs::remove_file(&link).expect("removed");
        }
    }

    #[test]
    fn only_whole_store_paths_are_what_a_profile_points_to() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(target(&folder.path().join("none")), None);
        assert_eq!(target(folder.path()), None);
    }
}
