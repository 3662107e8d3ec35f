//! What a closure is, and so which commands activate it.

use super::process::Invocation;
use ledger_core::event::ClosureKind;
use ledger_core::names::StorePath;
use std::path::Path;

/// Says what a closure is, by the files that it has.
pub fn detect(store_path: &Path) -> ClosureKind {
    let has = |name: &str| store_path.join(name).symlink_metadata().is_ok();
    if has("nixos-version") {
        ClosureKind::Nixos
    } else if has("darwin-version") || has("darwin-version.json") {
        ClosureKind::Darwin
    } else if has("hm-version") {
        ClosureKind::HomeManager
    } else {
        ClosureKind::Plain
    }
}

/// Returns the commands that activate a closure, in order.
///
/// On NixOS the profile and the boot entry come after the test, so that a
/// machine which does not survive it boots into what it ran before.
pub fn commands(kind: ClosureKind, store_path: &StorePath, profile: &Path) -> Vec<Invocation> {
    let path = store_path.as_str();
    let program =
        |name: &str, args: &[&str]| Invocation::new(format!("{path}/{name}"), args.iter().copied());
    let profile = profile.to_string_lossy();
    let set = Invocation::new("nix-env", ["--profile", &profile, "--set", path]);
    match kind {
        ClosureKind::Nixos => vec![
            program("bin/switch-to-configuration", &["test"]),
            set,
            program("bin/switch-to-configuration", &["boot"]),
        ],
        ClosureKind::Darwin => {
            let mut commands = vec![set];
            // Gone since nix-darwin activates everything as root.
            if Path::new(path).join("activate-user").exists() {
                commands.push(program("activate-user", &[]));
            }
            commands.push(program("activate", &[]));
            commands
        }
        ClosureKind::HomeManager => vec![program("activate", &[])],
        ClosureKind::Plain => vec![set],
    }
}

/// Returns whether a command only moves the profile link, which is whole or not at all.
pub fn is_profile_switch(command: &Invocation) -> bool {
    command.program == "nix-env"
}
