//! A real process with a deadline, whose output lands in files.

use super::{DEADLINE, wait_for, wait_for_within};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A process that is killed when it is dropped.
pub(crate) struct Process {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
    ended: Option<ExitStatus>,
}

/// What an ended process left.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A command that inherits nothing of the machine but where programs are.
pub(crate) fn command(program: impl AsRef<OsStr>, home: &Path) -> Command {
    let mut command = Command::new(program);
    let path = std::env::var("PATH").unwrap_or_default();
    command
        .env_clear()
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .env("HOME", home)
        .env("USER", "root")
        .env("TMPDIR", std::env::temp_dir())
        .env("LC_ALL", "C.UTF-8")
        // No public cache is asked, and what a cache said is not kept from test to test.
        .env("NIX_CONFIG", "substituters =\n")
        .env("RUST_BACKTRACE", "1")
        .stdin(Stdio::null());
    command
}

impl Process {
    /// Starts the command with its output in files of the folder.
    pub(crate) fn start(name: &str, mut command: Command, folder: &Path) -> Self {
        static STARTED: AtomicU64 = AtomicU64::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let file = |what: &str| folder.join(format!("{number}-{name}.{what}").replace('/', "-"));
        let (stdout, stderr) = (file("stdout"), file("stderr"));
        command.stdout(File::create(&stdout).expect("the file can be made"));
        command.stderr(File::create(&stderr).expect("the file can be made"));
        let child = command.spawn().unwrap_or_else(|e| {
            let program = command.get_program().to_string_lossy();
            panic!("{program} cannot be started ({e}); ./dev setup installs what the tests need")
        });
        Self { name: name.to_owned(), child, stdout, stderr, ended: None }
    }

    /// Runs the command to its end.
    pub(crate) fn run(name: &str, command: Command, folder: &Path) -> Output {
        Self::start(name, command, folder).output()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stderr).unwrap_or_default()).into_owned()
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stdout).unwrap_or_default()).into_owned()
    }

    /// Waits until a line of its standard error passes, and returns what it passed with.
    pub(crate) fn wait_for_line<T>(
        &mut self,
        what: &str,
        mut look: impl FnMut(&str) -> Option<T>,
    ) -> T {
        wait_for(&format!("{what} from {}", self.name), || {
            let text = self.stderr();
            if let Some(found) = text.lines().find_map(&mut look) {
                return Some(found);
            }
            if let Some(status) = self.has_ended() {
                panic!("{} ended ({status}) before {what}:\n{text}", self.name);
            }
            None
        })
    }

    /// Returns how it ended, if it has.
    pub(crate) fn has_ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("a child can be waited for");
        }
        self.ended
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.wait_within(DEADLINE)
    }

    /// The same, for what has more to do than others.
    pub(crate) fn wait_within(&mut self, deadline: Duration) -> ExitStatus {
        let what = format!("the end of {}; so far it said:\n{}", self.name, self.stderr());
        wait_for_within(deadline, &what, || self.has_ended())
    }

    /// Waits until it ends by itself, and takes what it left.
    pub(crate) fn output(mut self) -> Output {
        let status = self.wait();
        Output { status, stdout: self.stdout(), stderr: self.stderr() }
    }

    /// SIGKILL: no chance to say or write anything.
    pub(crate) fn kill(&mut self) {
        if self.has_ended().is_none() {
            self.child.kill().expect("a child can be killed");
            self.ended = Some(self.child.wait().expect("a child can be waited for"));
        }
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        self.wait()
    }

    /// Sends a signal, unless it has ended.
    pub(crate) fn signal(&mut self, signal: rustix::process::Signal) {
        if self.has_ended().is_none() {
            let pid = rustix::process::Pid::from_child(&self.child);
            rustix::process::kill_process(pid, signal).expect("a child can be signalled");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- {} said:\n{}\n---", self.name, self.stderr());
        }
    }
}

impl Output {
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Returns standard output if the process ended well, and panics if not.
    pub(crate) fn expect_success(self) -> String {
        self.output_of_success().stdout
    }

    /// Returns all output if the process ended well, and panics if not.
    pub(crate) fn output_of_success(self) -> Self {
        assert!(self.status.success(), "it failed ({}):\n{}", self.status, self.stderr);
        self
    }
}

/// Fails early and clearly where the machine lacks what the tests need.
pub(crate) fn require_root(what: &str) {
    assert!(
        rustix::process::geteuid().is_root(),
        "{what} needs root; run ./dev test, which uses sudo for these tests (deadline {DEADLINE:?})"
    );
}
