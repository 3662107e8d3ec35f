//! The guard: a small process of its own that sees to it that nothing is left,
//! however the demo ends.
//!
//! It holds the reading end of a pipe whose writing end is the demo's alone. So
//! the end of the pipe is the end of the demo, by itself, by a panic or by a
//! kill. Every program of the demo is started into one group of processes, which
//! the guard made before: so it knows them all, and none can begin after the
//! group is gone. The group is held by an anchor, a process that only waits.
//!
//! Meanwhile the demo may say, a line each:
//!
//! - `rmdir PATH`: remove this folder as well, if it is empty then,
//! - `keep`: leave the demo's folder where it is,
//! - `done`: all has come to its end, so that nobody straggles.

use super::folder::{self, Folder};
use crate::daemon::StopSignals;
use crate::failure::{Exit, Failure, Outcome};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use std::fs::{self, File, TryLockError};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

/// The option that makes `ledger demo` a guard, and the one that makes it an anchor.
const GUARD: &str = "--guard";
const ANCHOR: &str = "--anchor";

/// Between asking what is left to end and killing it: an agent says goodbye
/// and a server closes its log in well under a second.
const GRACE: Duration = Duration::from_secs(5);
/// How long stragglers are waited for, and the folder is tried to be removed.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the folder must stay removed where somebody may straggle: a
/// program of Nix that just began makes its folders anew.
const SETTLED: Duration = Duration::from_millis(300);
/// How often is looked meanwhile.
const POLL: Duration = Duration::from_millis(20);

/// The demo's end of the pipe.
#[derive(Debug)]
pub(crate) struct Guard {
    process: Child,
    ear: ChildStdin,
    group: i32,
}

impl Guard {
    /// Posts a guard, which makes the folder.
    pub(crate) fn post(program: &Path, folder: &Path) -> Result<Self, Failure> {
        let cannot = |e: io::Error| Failure::from(e).context("the demo cannot start its guard");
        let mut command = own(program, &[GUARD]);
        command.arg(folder).stdout(Stdio::piped());
        let mut process = command.spawn().map_err(cannot)?;
        let none = || cannot(io::Error::other("it has no pipes"));
        let (ear, mouth) = (process.stdin.take(), process.stdout.take());
        let (ear, mouth) = (ear.ok_or_else(none)?, mouth.ok_or_else(none)?);
        let mut said = String::new();
        BufReader::new(mouth).read_line(&mut said).map_err(cannot)?;
        match said.trim().parse() {
            Ok(group) => Ok(Self { process, ear, group }),
            Err(_) => {
                // It has nothing to guard, and ends.
                drop(ear);
                process.wait().map_err(cannot)?;
                let shown = folder.display();
                Err(Failure::failed(said.trim())
                    .context(format!("the demo's folder {shown} cannot be made"))
                    .hint("set TMPDIR to a folder that you may write to"))
            }
        }
    }

    /// Returns the group that programs are to be started into.
    pub(crate) fn group(&self) -> i32 {
        self.group
    }

    /// A folder outside is to go too, if it is empty then.
    pub(crate) fn remove_empty(&mut self, folder: &Path) -> io::Result<()> {
        writeln!(self.ear, "rmdir {}", folder.display())
    }

    /// The folder is to stay.
    pub(crate) fn keep(&mut self) -> io::Result<()> {
        writeln!(self.ear, "keep")
    }

    /// All has come to its end.
    pub(crate) fn done(&mut self) -> io::Result<()> {
        writeln!(self.ear, "done")
    }

    /// Lets the guard do what is left to do, and waits for it.
    pub(crate) fn relieve(self) -> io::Result<()> {
        let Self { mut process, ear, .. } = self;
        drop(ear);
        process.wait().map(drop)
    }
}

/// Returns a command of this program, away from the terminal's keys and from
/// the folder that is to be removed.
fn own(program: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.arg0("ledger").arg("demo").args(args).current_dir("/").process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// What the demo said.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    empty: Vec<PathBuf>,
    keep: bool,
    done: bool,
}

impl Told {
    fn hear(&mut self, word: &str) {
        match (word, word.strip_prefix("rmdir ")) {
            (_, Some(path)) => self.empty.push(path.into()),
            ("keep", _) => self.keep = true,
            ("done", _) => self.done = true,
            _ => {}
        }
    }
}

/// Makes the folder, guards until the demo is gone, then clears up.
pub(crate) fn stand(program: &Path, folder: &Path) -> Outcome {
    // Whoever ends this process by a signal means the demo.
    let _signals = StopSignals::new()?;
    if let Err(error) = Folder::at(folder).make() {
        // What is half made would be this guard's alone, but for one that was there.
        if error.kind() != io::ErrorKind::AlreadyExists {
            remove(folder, Duration::ZERO)?;
        }
        writeln!(io::stdout(), "{error}")?;
        return Ok(Exit::Failed);
    }
    // It ends with us, for we hold its pipe.
    let mut anchor = own(program, &[ANCHOR]).spawn()?;
    let group = Pid::from_child(&anchor);
    writeln!(io::stdout(), "{}", group.as_raw_pid())?;
    let mut told = Told::default();
    for word in io::stdin().lock().lines() {
        // A pipe that cannot be read any more has ended, too.
        let Ok(word) = word else { break };
        told.hear(&word);
    }
    end(group, &mut anchor)?;
    if !told.done {
        wait_for_supervisors(folder);
    }
    if !told.keep {
        let settled = if told.done { Duration::ZERO } else { SETTLED };
        remove(folder, settled)?;
    }
    for path in &told.empty {
        // Others may use it by now.
        let _ = fs::remove_dir(path);
    }
    Ok(Exit::Done)
}

/// Holds the group until its guard is gone.
pub(crate) fn anchor() -> Outcome {
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    Ok(Exit::Done)
}

/// Asks a group of processes to end, and kills what does not.
fn end(group: Pid, anchor: &mut Child) -> io::Result<()> {
    // A group that is gone already is as it should be.
    let _ = kill_process_group(group, Signal::TERM);
    let asked = Instant::now();
    anchor.wait()?;
    while asked.elapsed() < GRACE && test_kill_process_group(group).is_ok() {
        std::thread::sleep(POLL);
    }
    let _ = kill_process_group(group, Signal::KILL);
    Ok(())
}

/// Waits for the supervisors of activations, which outlive their agents. Each
/// holds its lock until it is gone.
fn wait_for_supervisors(folder: &Path) {
    let entries = |path: PathBuf| fs::read_dir(path).into_iter().flatten().flatten();
    let began = Instant::now();
    for machine in entries(folder.to_owned()) {
        for activation in entries(machine.path().join("state/activations")) {
            // What cannot be opened is gone, and nobody holds it.
            let Ok(lock) = File::open(activation.path().join("lock")) else { continue };
            while matches!(lock.try_lock(), Err(TryLockError::WouldBlock))
                && began.elapsed() < PATIENCE
            {
                std::thread::sleep(POLL);
            }
        }
    }
}

/// Removes a folder until it stays removed for a while.
fn remove(path: &Path, settled: Duration) -> io::Result<()> {
    let began = Instant::now();
    let mut gone: Option<Instant> = None;
    loop {
        match folder::remove(path) {
            Ok(()) => {
                gone = None;
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && !path.exists() => {
                if gone.get_or_insert_with(Instant::now).elapsed() >= settled {
                    return Ok(());
                }
            }
            Err(error) if began.elapsed() >= PATIENCE => return Err(error),
            // Somebody writes to it this very moment.
            Err(_) => {}
        }
        std::thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_heeds_what_it_is_told() {
        let mut told = Told::default();
        for word in ["rmdir /run/a b", "", "what", "keeps"] {
            told.hear(word);
        }
        let empty = vec![PathBuf::from("/run/a b")];
        assert_eq!(told, Told { empty, keep: false, done: false });
        told.hear("keep");
        told.hear("done");
        assert!(told.keep && told.done);
    }

    #[test]
    fn a_folder_that_comes_back_is_removed_again() {
        let temporary = tempfile::tempdir().expect("a folder");
        let path = temporary.path().join("demo");
        remove(&path, Duration::ZERO).expect("it was never made");
        fs::create_dir(&path).expect("made");
        let straggler = path.clone();
        let straggler = std::thread::spawn(move || {
            while straggler.exists() {
                std::thread::sleep(Duration::from_millis(1));
            }
            fs::create_dir_all(straggler.join("root/nix")).expect("made");
        });
        remove(&path, Duration::from_millis(200)).expect("removed");
        straggler.join().expect("it came back");
        assert!(!path.exists());
    }

    #[test]
    fn a_group_that_ends_late_is_waited_for() {
        let mut anchor = Command::new("cat");
        anchor.stdin(Stdio::piped()).process_group(0);
        let mut anchor = anchor.spawn().expect("it starts");
        let group = Pid::from_child(&anchor);
        let mut late = Command::new("sh");
        late.args(["-c", "trap 'sleep 0.2; exit 7' TERM; echo; while :; do sleep 0.01; done"]);
        late.process_group(group.as_raw_pid()).stdout(Stdio::piped());
        let mut late = late.spawn().expect("it starts");
        let mut ready = String::new();
        let said = late.stdout.take().expect("it has one");
        BufReader::new(said).read_line(&mut ready).expect("it is ready");
        let reaper = std::thread::spawn(move || late.wait().expect("it ends"));
        end(group, &mut anchor).expect("ended");
        assert_eq!(reaper.join().expect("no panic").code(), Some(7));
        let mut another = Command::new("true");
        another.process_group(group.as_raw_pid());
        assert!(another.spawn().is_err(), "a program began in a group that is gone");
    }
}
