//! The stage: starts programs in the demo's folder, hears what they say, and
//! ends them.
//!
//! What a program says goes to a file of the folder, and is read from there: so
//! nobody waits for a pipe that a program's own children hold.

use super::folder::Folder;
use super::guard::Guard;
use super::line::{Line, expand};
use crate::failure::Failure;
use rustix::process::{Pid, Signal, kill_process};
use std::convert::Infallible;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long any one thing may take. The whole takes a tenth of it.
const DEADLINE: Duration = Duration::from_secs(60);
/// How often a program is looked at: under what people notice.
const POLL: Duration = Duration::from_millis(10);
/// Between asking a program to end and killing it.
const GRACE: Duration = Duration::from_secs(5);
/// Lines of a failing program that an error repeats.
const LAST_LINES_MAX: usize = 8;
/// What nobody reads: whoever interrupts knows it.
const INTERRUPTED: &str = "interrupted";

/// A program that was started.
#[derive(Debug)]
pub(crate) struct Running {
    line: Line,
    child: Child,
    log: PathBuf,
    heard: usize,
}

impl Running {
    /// Returns the process's number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the lines that were not heard yet, and how it ended, if it has. A
    /// line without its end is awaited.
    fn unheard(&mut self) -> io::Result<(Vec<String>, Option<ExitStatus>)> {
        // In this order: what it says after the look is heard the next time.
        let status = self.child.try_wait()?;
        let text = String::from_utf8_lossy(&fs::read(&self.log)?).into_owned();
        let whole = |line: &&str| line.ends_with('\n') || status.is_some();
        let fresh: Vec<String> = text
            .split_inclusive('\n')
            .filter(whole)
            .skip(self.heard)
            .map(|line| line.trim_end_matches('\n').to_owned())
            .collect();
        Ok((fresh, status))
    }

    /// Returns the failure to tell of it.
    fn failed(&self, how: &str) -> Failure {
        let text = String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        let last = lines.get(lines.len().saturating_sub(LAST_LINES_MAX)..).unwrap_or_default();
        let said = if last.is_empty() {
            String::new()
        } else {
            format!("; it said last:\n  {}", last.join("\n  "))
        };
        Failure::failed(format!("`{}` {how}{said}", self.line.short()))
    }

    /// Asks it to end, kills it if it does not, and reaps it.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        // It may have ended by itself.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let asked = Instant::now();
        while self.child.try_wait()?.is_none() {
            if asked.elapsed() >= GRACE {
                self.child.kill()?;
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }
}

/// Where programs run.
#[derive(Debug)]
pub(crate) struct Stage {
    folder: Folder,
    program: PathBuf,
    /// None once it was relieved.
    guard: Mutex<Option<Guard>>,
    /// The guard's group.
    group: i32,
    /// What stays, by its name and in the order of its coming.
    cast: Mutex<Vec<(&'static str, Running)>>,
    exported: Mutex<Vec<(String, OsString)>>,
    started: AtomicUsize,
    ending: AtomicBool,
}

impl Stage {
    /// Sets it up in a folder, with the program that `ledger` stands for.
    pub(crate) fn new(folder: Folder, program: &Path, guard: Guard) -> Self {
        Self {
            folder,
            program: program.to_owned(),
            group: guard.group(),
            guard: Mutex::new(Some(guard)),
            cast: Mutex::new(Vec::new()),
            exported: Mutex::new(Vec::new()),
            started: AtomicUsize::new(0),
            ending: AtomicBool::new(false),
        }
    }

    pub(crate) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Lets the guard clear up, and waits for it. It does so more quickly after
    /// a story that came to its end.
    pub(crate) fn relieve_guard(&self, done: bool) -> io::Result<()> {
        let Some(mut guard) = held(&self.guard).take() else { return Ok(()) };
        if done {
            guard.done()?;
        }
        guard.relieve()
    }

    /// Gives a variable to every program from here on.
    pub(crate) fn export(&self, name: &str, word: &str) -> Result<(), Failure> {
        held(&self.exported).push((name.to_owned(), expand(word, &self.folder)?));
        Ok(())
    }

    /// Starts a program. It is the caller's to end.
    pub(crate) fn start(&self, line: &Line) -> Result<Running, Failure> {
        if self.ending.load(Ordering::Relaxed) {
            return Err(Failure::failed(INTERRUPTED));
        }
        let number = self.started.fetch_add(1, Ordering::Relaxed) + 1;
        let name = line.short().replace([' ', '/', '.'], "-");
        let log = self.folder.path().join(format!("logs/{number:02}-{name}"));
        let mut command = self.command(line)?;
        let file = File::create_new(&log)?;
        command.stderr(file.try_clone()?);
        match line.stdout() {
            // It may hold a token.
            Some(name) => command.stdout(private(&self.folder.path().join(name))?),
            None => command.stdout(file),
        };
        let child =
            command.stdin(Stdio::null()).process_group(self.group).spawn().map_err(|e| {
                Failure::from(e).context(format!("`{}` cannot be started", line.program()))
            })?;
        Ok(Running { line: line.clone(), child, log, heard: 0 })
    }

    fn command(&self, line: &Line) -> Result<Command, Failure> {
        let program =
            if line.is_ledger() { self.program.as_path() } else { line.program().as_ref() };
        let mut command = Command::new(program);
        self.folder.prepare(&mut command);
        let mut exported = held(&self.exported).clone();
        exported.retain(|(name, _)| !line.is_without(name));
        command.arg0(line.program()).args(line.expanded_args(&self.folder)?);
        command.envs(exported).envs(line.expanded_env(&self.folder)?);
        Ok(command)
    }

    /// Follows a program to its end and hands on every line that it says.
    pub(crate) fn finish(
        &self,
        mut running: Running,
        mut take: impl FnMut(&str) -> io::Result<()>,
    ) -> Result<Ended, Failure> {
        let mut last = None;
        let heard = self.listen(&mut running, |line| {
            last = Some(line.to_owned());
            take(line).map(|()| None::<Infallible>)
        });
        if heard.is_err() {
            running.end()?;
        }
        match heard? {
            Heard::End(status) => Ok(Ended { status, last, running }),
            Heard::Word(never) => match never {},
        }
    }

    /// Lets a program that stays join the others, once it said what is awaited.
    pub(crate) fn join<T>(
        &self,
        name: &'static str,
        mut running: Running,
        look: impl FnMut(&str) -> io::Result<Option<T>>,
    ) -> Result<T, Failure> {
        let heard = self.listen(&mut running, look);
        let failed = match heard {
            Ok(Heard::Word(word)) => {
                held(&self.cast).push((name, running));
                return Ok(word);
            }
            Ok(Heard::End(status)) => running.failed(&how(status)),
            Err(failure) => failure,
        };
        running.end()?;
        Err(failed)
    }

    /// Listens until what is said is what is awaited, or nothing more comes.
    fn listen<T>(
        &self,
        running: &mut Running,
        mut look: impl FnMut(&str) -> io::Result<Option<T>>,
    ) -> Result<Heard<T>, Failure> {
        let began = Instant::now();
        loop {
            let (lines, status) = running.unheard()?;
            for line in &lines {
                running.heard += 1;
                if let Some(word) = look(line)? {
                    return Ok(Heard::Word(word));
                }
            }
            if let Some(status) = status {
                return Ok(Heard::End(status));
            }
            if self.ending.load(Ordering::Relaxed) {
                return Err(Failure::failed(INTERRUPTED));
            }
            if began.elapsed() > DEADLINE {
                return Err(running.failed(&format!("took longer than {} s", DEADLINE.as_secs())));
            }
            std::thread::sleep(POLL);
        }
    }

    /// Takes a program off that stayed; it runs on.
    pub(crate) fn take(&self, name: &str) -> Option<Running> {
        let mut cast = held(&self.cast);
        let at = cast.iter().position(|(other, _)| *other == name)?;
        Some(cast.remove(at).1)
    }

    /// Ends a program that stayed.
    pub(crate) fn dismiss(&self, mut running: Running) -> Result<(), Failure> {
        Ok(running.end()?)
    }

    /// Makes everything that is under way stop, now and from here on.
    pub(crate) fn interrupt(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    /// Ends everything that stayed, the last to come first.
    pub(crate) fn clear(&self) -> Result<(), Failure> {
        loop {
            let last = held(&self.cast).pop();
            let Some((_, running)) = last else { return Ok(()) };
            self.dismiss(running)?;
        }
    }
}

/// What came of listening.
enum Heard<T> {
    Word(T),
    End(ExitStatus),
}

/// A program that ended.
#[derive(Debug)]
pub(crate) struct Ended {
    status: ExitStatus,
    last: Option<String>,
    running: Running,
}

impl Ended {
    pub(crate) fn is_success(&self) -> bool {
        self.status.success()
    }

    /// Returns its last line if it ended well.
    pub(crate) fn well(self) -> Result<Option<String>, Failure> {
        if self.is_success() { Ok(self.last) } else { Err(self.running.failed(&how(self.status))) }
    }
}

/// Says how a program ended that should not have.
fn how(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("ended with exit status {code}"),
        None => "was ended by a signal".to_owned(),
    }
}

fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// No holder leaves anything half done: each does one thing.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
