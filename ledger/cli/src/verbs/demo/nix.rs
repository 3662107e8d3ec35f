//! Whether Nix is here, and what to do where it is not.

use crate::failure::Failure;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

/// The programs of Nix that the demo and its agents call.
const PROGRAMS: &[&str] = &["nix", "nix-build", "nix-env", "nix-store"];

/// Returns the failure to tell where a program of Nix is missing.
pub(crate) fn find() -> Result<(), Failure> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let missing: Vec<&str> =
        PROGRAMS.iter().copied().filter(|program| which(program, &path).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let what = if missing.len() == PROGRAMS.len() {
        "Nix is not here".to_owned()
    } else {
        format!("a part of Nix is not here: {}", missing.join(", "))
    };
    Err(Failure::failed(format!("{what}, and the demo builds and deploys with it"))
        .hint(advice(std::env::consts::OS, &release)))
}

/// Returns where PATH leads for a program.
pub(crate) fn which(program: &str, path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path).map(|folder| folder.join(program)).find(|file| is_program(file))
}

fn is_program(file: &Path) -> bool {
    rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok() && file.is_file()
}

/// Returns what to do on a system, by what it says of itself in /etc/os-release.
fn advice(os: &str, release: &str) -> String {
    let installer = "install it as https://nixos.org/download says, then open a new terminal";
    let is = |id: &str| {
        release
            .lines()
            .filter_map(|line| line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE=")))
            .any(|ids| ids.trim_matches('"').split(' ').any(|one| one == id))
    };
    let installed = "if it is installed, put its programs into PATH";
    if os == "linux" && is("nixos") {
        "on NixOS its programs are in /run/current-system/sw/bin; put that into PATH".to_owned()
    } else if os == "linux" && is("debian") {
        format!("`sudo apt-get install --no-install-recommends nix-bin` installs it; {installed}")
    } else if os == "linux" && is("arch") {
        format!("`sudo pacman -S nix` installs it; {installed}")
    } else if os == "linux" && is("fedora") {
        format!("`sudo dnf install nix` installs it; {installed}")
    } else {
        format!("{installer}; {installed}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_system_is_told_its_own_way_to_nix() {
        for (os, release, word) in [
            ("linux", "NAME=x\nID=debian\n", "apt-get install"),
            ("linux", "ID=ubuntu\nID_LIKE=debian\n", "apt-get install"),
            ("linux", "ID=x\nID_LIKE=\"ubuntu debian\"\n", "apt-get install"),
            ("linux", "ID=arch\n", "pacman"),
            ("linux", "ID=\"fedora\"\n", "dnf"),
            ("linux", "ID=nixos\n", "/run/current-system/sw/bin"),
            ("linux", "", "https://nixos.org/download"),
            ("macos", "", "https://nixos.org/download"),
        ] {
            assert!(advice(os, release).contains(word), "{os} {release}: {}", advice(os, release));
        }
    }

    #[test]
    fn a_program_is_a_file_that_can_be_run() {
        let temporary = tempfile::tempdir().expect("a folder");
        fs::create_dir(temporary.path().join("nix")).expect("made");
        fs::write(temporary.path().join("nix-env"), "").expect("written");
        let path = temporary.path().as_os_str();
        assert_eq!((which("nix", path), which("nix-env", path)), (None, None));
        let found = which("sh", OsStr::new("/none:/bin")).expect("a shell");
        assert_eq!(found, Path::new("/bin/sh"));
    }
}
