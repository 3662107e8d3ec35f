//! The steps on a machine with Nix, by the commands that every Nix has had
//! since long before 2.8 and that ask for no experimental feature.

use super::process::{self, Exit, Invocation};
use super::{Host, Task, closure, profile};
use crate::folder::Folder;
use crate::limits::FETCH_TIMEOUT;
use crate::output::{OutputFile, last_lines};
use crate::plan::Outcome;
use crate::supervisor::{self, Failed, Found, Job};
use ledger_core::event::{ClosureKind, FailureOutcome};
use ledger_core::ids::DeploymentId;
use ledger_core::names::StorePath;
use std::io;
use std::path::{Path, PathBuf};

/// The system that runs, on NixOS.
const CURRENT_SYSTEM: &str = "/run/current-system";

/// What runs on a machine.
struct Runs {
    /// What the closure to come is, which decides where to look.
    closure: ClosureKind,
    /// Where the profile points.
    profile: Option<StorePath>,
    /// What runs, on NixOS.
    system: Option<StorePath>,
}

/// A machine with Nix, and how it is to be used.
#[derive(Clone, Debug)]
pub struct NixHost {
    /// The agent's own folder.
    pub folder: Folder,
    /// The profile's link.
    pub profile: PathBuf,
    /// Where closures come from; none means the machine's own configuration.
    pub substituters: Vec<String>,
    /// Whose signatures are trusted; none means the machine's own configuration.
    pub trusted_public_keys: Vec<String>,
    /// What to start as an activation's supervisor.
    pub supervisor: PathBuf,
}

impl Host for NixHost {
    fn fetch(&self, task: &Task<'_>) -> Option<Outcome> {
        self.try_fetch(task).unwrap_or_else(|error| Some(hindered("the fetch", &error)))
    }

    fn remember(&self, task: &Task<'_>) -> Option<Outcome> {
        self.try_remember(task).unwrap_or_else(|error| Some(hindered("the preparation", &error)))
    }

    fn activate(
        &self,
        task: &Task<'_>,
        closure: ClosureKind,
        previous: Option<&StorePath>,
    ) -> Option<Outcome> {
        let outcome = self.try_activate(task, closure, previous).unwrap_or_else(|error| {
            let error = format!("the activation could not be supervised: {error}");
            let begun = supervisor::was_begun(&self.folder.activation(task.assignment.deployment));
            let outcome = if begun { FailureOutcome::Unknown } else { FailureOutcome::Unchanged };
            Outcome::Hindered { outcome, error }
        });
        Some(outcome)
    }

    fn tidy(&self, keep: Option<DeploymentId>) {
        self.folder.tidy(keep);
    }
}

fn hindered(what: &str, error: &io::Error) -> Outcome {
    let error = match error.kind() {
        io::ErrorKind::NotFound => format!(
            "{what} found no Nix: {error}; install Nix, or put nix-store and nix-env into the agent's PATH"
        ),
        _ => format!("{what} failed on this machine: {error}"),
    };
    Outcome::Hindered { outcome: FailureOutcome::Unchanged, error }
}

impl NixHost {
    fn try_fetch(&self, task: &Task<'_>) -> io::Result<Option<Outcome>> {
        let path = task.assignment.store_path.as_str();
        let root = self.folder.gcroot(task.assignment.deployment, "");
        let mut output = OutputFile::open(task.output)?;
        output.line(&format!("fetching {path}"))?;
        let from = output.len();
        let args = self.realise_args(path, &root, profile::is_root());
        let realise = Invocation::new("nix-store", args);
        match process::run(&realise, &mut output, FETCH_TIMEOUT, task.cancel)? {
            Exit::Cancelled => return Ok(None),
            exit if exit.is_success() => {}
            exit => {
                let error = fetch_error(&realise, &exit, task.output, from);
                return Ok(Some(Outcome::FetchFailed { error }));
            }
        }
        // Two questions that Nix needs its time to start for, at once.
        let (measured, kept) = std::thread::scope(|scope| {
            let measured = scope.spawn(|| measure(path, task));
            let kept = self.keep_what_runs(task);
            (measured.join(), kept)
        });
        let measured =
            measured.unwrap_or_else(|_| Err(io::Error::other("measuring the closure failed")))?;
        let (Some((closure_paths, closure_bytes)), Some(_)) = (measured, kept?) else {
            return Ok(None);
        };
        output.refresh()?;
        output.line(&format!("closure: {closure_bytes} bytes in {closure_paths} store paths"))?;
        Ok(Some(Outcome::Fetched { closure_bytes, closure_paths }))
    }

    /// Signatures are demanded by root, whatever the machine's configuration says.
    /// Nix takes no such word from another user but with a warning, and there its
    /// daemon demands them; with a cache of its own the agent asks all the same.
    fn realise_args(&self, path: &str, root: &Path, is_root: bool) -> Vec<String> {
        let root = root.to_string_lossy();
        let mut args: Vec<String> =
            ["--realise", path, "--add-root", &root].map(str::to_owned).into();
        let mut option = |name: &str, value: String| {
            args.extend(["--option".to_owned(), name.to_owned(), value]);
        };
        if !self.substituters.is_empty() {
            option("substituters", self.substituters.join(" "));
        }
        if !self.trusted_public_keys.is_empty() {
            option("trusted-public-keys", self.trusted_public_keys.join(" "));
        }
        let has_own = !self.substituters.is_empty() || !self.trusted_public_keys.is_empty();
        if is_root || has_own {
            option("require-sigs", "true".to_owned());
        }
        args
    }

    fn try_remember(&self, task: &Task<'_>) -> io::Result<Option<Outcome>> {
        let Some(runs) = self.keep_what_runs(task)? else { return Ok(None) };
        let Runs { closure, profile: previous, system: previous_system } = runs;
        Ok(Some(Outcome::Remembered { closure, previous, previous_system }))
    }

    /// Says what runs and roots it, if it is not rooted already.
    fn keep_what_runs(&self, task: &Task<'_>) -> io::Result<Option<Runs>> {
        let path = &task.assignment.store_path;
        let closure = closure::detect(Path::new(path.as_str()));
        let runs = Runs {
            closure,
            profile: profile::target(&profile::of_kind(closure, &self.profile)),
            system: (closure == ClosureKind::Nixos)
                .then(|| profile::target(Path::new(CURRENT_SYSTEM)))
                .flatten(),
        };
        let deployment = task.assignment.deployment;
        for (kept, suffix) in [(&runs.profile, "-profile"), (&runs.system, "-system")] {
            let root = self.folder.gcroot(deployment, suffix);
            let Some(kept) = kept.as_ref().filter(|kept| *kept != path) else { continue };
            if profile::target(&root).as_ref() == Some(kept) {
                continue;
            }
            // It is here: nothing may be fetched for it.
            let root = root.to_string_lossy();
            let args = [
                "--option",
                "substitute",
                "false",
                "--realise",
                kept.as_str(),
                "--add-root",
                &root,
            ];
            let invocation = Invocation::new("nix-store", args);
            let mut output = OutputFile::open(task.output)?;
            match process::ask(&invocation, &mut output, task.cancel, |_| Ok(()))? {
                Exit::Cancelled => return Ok(None),
                exit if exit.is_success() => {}
                exit => {
                    output.line(&format!("could not keep {kept}, which runs: nix-store {exit}"))?
                }
            }
        }
        Ok(Some(runs))
    }

    fn try_activate(
        &self,
        task: &Task<'_>,
        closure: ClosureKind,
        previous: Option<&StorePath>,
    ) -> io::Result<Outcome> {
        let deployment = task.assignment.deployment;
        let folder = self.folder.activation(deployment);
        let commands = closure::commands(closure, &task.assignment.store_path, &self.profile);
        let job = Job { commands, output: task.output.to_owned() };
        if !supervisor::was_begun(&folder) {
            OutputFile::open(task.output)?.line(&format!("activating ({closure})"))?;
            let touches_profile = job.commands.iter().any(closure::is_profile_switch);
            if let Some(parent) = self.profile.parent().filter(|_| touches_profile) {
                std::fs::create_dir_all(parent)?;
            }
        }
        let found = supervisor::see_to(&folder, &job, &self.supervisor)?;
        match found {
            Found::Interrupted => {
                let error = "the activation was begun, and machine or supervisor stopped before it ended; it is not repeated".to_owned();
                OutputFile::open(task.output)?.line(&error)?;
                Ok(Outcome::Interrupted { error })
            }
            Found::Ended(status) => match status.failed {
                Some(failed) => Ok(self.failed(&job, failed, previous)),
                None => {
                    let link = profile::of_kind(closure, &self.profile);
                    let generation = profile::generation(&link);
                    if let Some(generation) = generation {
                        OutputFile::open(task.output)?.line(&format!("generation {generation}"))?;
                    }
                    Ok(Outcome::Activated { generation })
                }
            },
        }
    }

    /// Says what a failed activation left: what was there before only where the
    /// first command never began, or was to move the profile and did not.
    fn failed(&self, job: &Job, failed: Failed, previous: Option<&StorePath>) -> Outcome {
        let only_profile = job.commands.first().is_some_and(closure::is_profile_switch);
        let still_there = profile::target(&self.profile).as_ref() == previous;
        let unchanged = failed.command == 0 && (!failed.began || (only_profile && still_there));
        let outcome = if unchanged { FailureOutcome::Unchanged } else { FailureOutcome::Unknown };
        Outcome::ActivationFailed { exit_status: failed.exit_status, outcome, error: failed.error }
    }
}

/// Returns Nix's own last words, without the announcing line.
fn fetch_error(realise: &Invocation, exit: &Exit, output: &Path, from: u64) -> String {
    let announced = format!("$ {realise}\n").len() as u64;
    let said = last_lines(output, from.saturating_add(announced)).unwrap_or_default();
    match exit {
        Exit::Status(_) if !said.is_empty() => said,
        exit => format!("{said}\nnix-store {exit}").trim_start().to_owned(),
    }
}

/// Counts the paths of a closure and sums up their sizes. None if cancelled.
///
/// One question answers both, by the only form of the graph that names sizes.
fn measure(path: &str, task: &Task<'_>) -> io::Result<Option<(u64, u64)>> {
    let mut output = OutputFile::open(task.output)?;
    let graph = Invocation::new("nix-store", ["--query", "--graphml", path]);
    let (mut paths, mut bytes) = (0_u64, 0_u64);
    let exit = process::ask(&graph, &mut output, task.cancel, |line| {
        let line = line.trim();
        let size = line.strip_prefix(r#"<data key="narSize">"#);
        if let Some(size) = size.and_then(|rest| rest.strip_suffix("</data>")) {
            let size: u64 = size.parse().map_err(io::Error::other)?;
            (paths, bytes) = (paths.saturating_add(1), bytes.saturating_add(size));
        }
        Ok(())
    })?;
    match exit {
        Exit::Cancelled => Ok(None),
        exit if exit.is_success() && paths > 0 => Ok(Some((paths, bytes))),
        exit => Err(io::Error::other(format!(
            "nix-store --query --graphml {path} {exit} and named {paths} paths"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_demanded_by_root_and_of_a_cache_of_its_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let host = |substituters: &[&str], keys: &[&str]| NixHost {
            folder: Folder::open(&folder.path().join("state")).expect("it opens"),
            profile: PathBuf::from("/profile"),
            substituters: substituters.iter().map(|s| (*s).to_owned()).collect(),
            trusted_public_keys: keys.iter().map(|s| (*s).to_owned()).collect(),
            supervisor: PathBuf::from("/supervisor"),
        };
        for (substituters, keys, is_root, demanded) in [
            (&[][..], &[][..], true, true),
            (&[], &[], false, false),
            (&["https://cache"], &[], false, true),
            (&[], &["cache-1:a"], false, true),
            (&["https://cache"], &["cache-1:a"], true, true),
        ] {
            let args = host(substituters, keys).realise_args("/path", Path::new("/root"), is_root);
            let option = ["--option", "require-sigs", "true"];
            let found = args.windows(3).any(|words| words == option);
            assert_eq!(found, demanded, "{substituters:?} {keys:?} {is_root}");
        }
    }
}
