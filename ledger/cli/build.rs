//! Tells the program which commit it is built from: by git, else by the variable
//! `LEDGER_COMMIT` (`HASH` or `HASH YYYY-MM-DD`), else not at all.

use std::path::Path;
use std::process::Command;

/// Digits of the commit's hash that are shown.
const HASH_DIGITS: usize = 12;

fn main() {
    println!("cargo:rerun-if-env-changed=LEDGER_COMMIT");
    println!("cargo:rerun-if-changed=build.rs");
    let package = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let commit = match std::env::var("LEDGER_COMMIT") {
        Ok(text) if !text.trim().is_empty() => given(&text),
        _ => asked(),
    };
    let version = commit.map_or_else(|| package.clone(), |commit| format!("{package} ({commit})"));
    println!("cargo:rustc-env=LEDGER_VERSION={version}");
}

/// Reads what the builder says.
fn given(text: &str) -> Option<String> {
    let mut words = text.split_whitespace();
    let hash = words.next().filter(|hash| hash.chars().all(|c| c.is_ascii_hexdigit()));
    let Some(hash) = hash else {
        println!(
            "cargo:warning=LEDGER_COMMIT is no hash of a commit, and is left out of --version"
        );
        return None;
    };
    let hash = hash.get(..HASH_DIGITS).unwrap_or(hash);
    Some(words.next().map_or_else(|| hash.to_owned(), |date| format!("{hash}, {date}")))
}

/// Asks git, and lets cargo build again when it would answer otherwise.
fn asked() -> Option<String> {
    // Unpacked inside of another repository, its commit is not ours.
    let top = git(&["rev-parse", "--show-toplevel"])?;
    let ours = Path::new(&top).join("ledger/cli").canonicalize().ok()?;
    if ours != Path::new(env!("CARGO_MANIFEST_DIR")).canonicalize().ok()? {
        return None;
    }
    // The log of HEAD grows with every commit, also where the ref is packed.
    let mut watched = vec!["HEAD".to_owned(), "logs/HEAD".to_owned(), "packed-refs".to_owned()];
    watched.extend(git(&["symbolic-ref", "--quiet", "HEAD"]));
    for name in watched {
        // In a worktree, each lies elsewhere.
        let path = git(&["rev-parse", "--path-format=absolute", "--git-path", &name]);
        // Of a file that is not there, cargo would think that it changes always.
        if let Some(path) = path.filter(|path| Path::new(path).exists()) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    let shown = git(&["log", "-1", "--no-show-signature", "--format=%H %cs"])?;
    let (hash, date) = shown.split_once(' ')?;
    Some(format!("{}, {date}", hash.get(..HASH_DIGITS)?))
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}
