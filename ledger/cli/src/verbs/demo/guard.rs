//! The guard: a small process of its own that sees to it that nothing is left,
//! however the demo ends.
//!
//! It holds the reading end of a pipe whose writing end is the demo's alone. So
//! the end of the pipe is the end of the demo, by itself, by a panic or by a
//! kill. Until then the demo tells, a line each:
//!
//! - `+GROUP`: this group of processes runs,
//! - `-GROUP`: it does not any more,
//! - `rmdir PATH`: remove this folder as well, if it is empty then,
//! - `keep`: leave the demo's folder where it is.

use super::folder;
use crate::daemon::StopSignals;
use crate::failure::{Exit, Outcome};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufRead, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

/// The option that makes `ledger demo` a guard.
pub(crate) const ASKED: &str = "--guard";

/// Between asking what is left to end and killing it: an agent says goodbye
/// and a server closes its log in well under a second.
const GRACE: Duration = Duration::from_secs(5);
/// How long the folder is tried to be removed: the last programs of an agent
/// that was killed may still write to it.
const REMOVAL_PATIENCE: Duration = Duration::from_secs(5);
/// How often is looked meanwhile.
const POLL: Duration = Duration::from_millis(20);

/// The demo's end of the pipe.
#[derive(Debug)]
pub(crate) struct Guard {
    process: Child,
    ear: ChildStdin,
}

impl Guard {
    /// Posts a guard over a folder that is about to be made.
    pub(crate) fn post(program: &Path, folder: &Path) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.arg0("ledger").args(["demo", ASKED]).arg(folder);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // Away from the terminal's keys, and from the folder that it removes.
        let mut process = command.process_group(0).current_dir("/").spawn()?;
        let ear = process.stdin.take().ok_or_else(|| io::Error::other("it has no stdin"))?;
        Ok(Self { process, ear })
    }

    /// A group of processes began to run.
    pub(crate) fn watch(&mut self, group: Pid) -> io::Result<()> {
        self.tell(&format!("+{}", group.as_raw_pid()))
    }

    /// It ended.
    pub(crate) fn forget(&mut self, group: Pid) -> io::Result<()> {
        self.tell(&format!("-{}", group.as_raw_pid()))
    }

    /// A folder outside is to go too, if it is empty then.
    pub(crate) fn remove_empty(&mut self, folder: &Path) -> io::Result<()> {
        self.tell(&format!("rmdir {}", folder.display()))
    }

    /// The folder is to stay.
    pub(crate) fn keep(&mut self) -> io::Result<()> {
        self.tell("keep")
    }

    fn tell(&mut self, word: &str) -> io::Result<()> {
        writeln!(self.ear, "{word}")
    }

    /// Lets the guard do what is left to do, and waits for it.
    pub(crate) fn relieve(self) -> io::Result<()> {
        let Self { mut process, ear } = self;
        drop(ear);
        process.wait().map(drop)
    }
}

/// What the demo told.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    groups: BTreeSet<i32>,
    empty: Vec<PathBuf>,
    keep: bool,
}

impl Told {
    fn hear(&mut self, word: &str) {
        let group = |text: &str| text.parse().ok().filter(|group| *group > 1);
        if let Some(group) = word.strip_prefix('+').and_then(group) {
            self.groups.insert(group);
        } else if let Some(group) = word.strip_prefix('-').and_then(group) {
            self.groups.remove(&group);
        } else if let Some(path) = word.strip_prefix("rmdir ") {
            self.empty.push(path.into());
        } else if word == "keep" {
            self.keep = true;
        }
    }
}

/// Guards until the demo is gone, then clears up.
pub(crate) fn stand(folder: &Path) -> Outcome {
    // Whoever ends this process by a signal means the demo.
    let _signals = StopSignals::new()?;
    let mut told = Told::default();
    for word in io::stdin().lock().lines() {
        // A pipe that cannot be read any more has ended, too.
        let Ok(word) = word else { break };
        told.hear(&word);
    }
    end_all(&told.groups);
    if !told.keep {
        remove_patiently(folder)?;
    }
    for path in &told.empty {
        // Others may use it by now.
        let _ = fs::remove_dir(path);
    }
    Ok(Exit::Done)
}

/// Asks groups of processes to end, and kills what does not.
fn end_all(groups: &BTreeSet<i32>) {
    let pids = || groups.iter().filter_map(|group| Pid::from_raw(*group));
    let signal = |signal| {
        for group in pids() {
            // One that is gone already is as it should be.
            let _ = kill_process_group(group, signal);
        }
    };
    signal(Signal::TERM);
    let asked = Instant::now();
    while asked.elapsed() < GRACE && pids().any(|group| test_kill_process_group(group).is_ok()) {
        std::thread::sleep(POLL);
    }
    signal(Signal::KILL);
}

fn remove_patiently(path: &Path) -> io::Result<()> {
    let began = Instant::now();
    loop {
        match folder::remove(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !path.exists() => {
                return Ok(());
            }
            Err(_) if began.elapsed() < REMOVAL_PATIENCE => std::thread::sleep(POLL),
            ended => return ended,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_knows_what_runs_and_what_stays() {
        let mut told = Told::default();
        // Groups 0 and 1 would be its own and everybody's.
        for word in ["+12", "+34", "-12", "+0", "+1", "+x", "+-5", "rmdir /run/a b", "", "what"] {
            told.hear(word);
        }
        let empty = vec![PathBuf::from("/run/a b")];
        assert_eq!(told, Told { groups: [34].into(), empty, keep: false });
        told.hear("keep");
        assert!(told.keep);
    }

    #[test]
    fn what_runs_is_ended() {
        let mut child =
            Command::new("sleep").arg("600").process_group(0).spawn().expect("it starts");
        let group = i32::try_from(child.id()).expect("it fits");
        let reaper = std::thread::spawn(move || child.wait().expect("it ends"));
        end_all(&[group].into());
        assert!(!reaper.join().expect("no panic").success());
    }

    #[test]
    fn a_folder_that_was_never_made_is_removed_already() {
        let temporary = tempfile::tempdir().expect("a folder");
        remove_patiently(&temporary.path().join("none")).expect("nothing to do");
    }
}
