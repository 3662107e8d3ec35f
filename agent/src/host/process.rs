//! Programs that the agent runs: in a group of their own, so that all of it can
//! be ended, without the agent's token, with what they say in the output.

use crate::limits::{ANSWER_LINE_BYTES_MAX, CHILD_POLL, KILL_GRACE, OUTPUT_GRACE, QUERY_TIMEOUT};
use crate::output::OutputFile;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};
use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

/// What no child inherits.
const SECRETS: &[&str] = &["LEDGER_TOKEN"];
/// Where Nix and a NixOS system keep programs when `PATH` does not say so, as
/// under many service managers.
const MORE_PATH: &str = "/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:/run/wrappers/bin:/usr/local/bin:/usr/bin:/bin";
/// Bytes read from a program at once.
const READ_BYTES: usize = 16 * 1024;

/// A command line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invocation {
    /// The program: a path, or a name to look for.
    pub program: String,
    /// Its arguments.
    pub args: Vec<String>,
}

impl Invocation {
    /// Makes a command line.
    pub fn new<S: Into<String>>(
        program: impl Into<String>,
        args: impl IntoIterator<Item = S>,
    ) -> Self {
        let args = args.into_iter().map(Into::into).collect();
        Self { program: program.into(), args }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        let path = std::env::var("PATH").unwrap_or_default();
        command.args(&self.args).env("PATH", format!("{path}:{MORE_PATH}"));
        without_secrets(&mut command);
        command.stdin(Stdio::null()).current_dir("/").process_group(0);
        command
    }
}

impl std::fmt::Display for Invocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.program)?;
        self.args.iter().try_for_each(|arg| {
            let plain = !arg.is_empty() && !arg.contains(|c: char| c.is_whitespace() || c == '\'');
            if plain { write!(f, " {arg}") } else { write!(f, " '{}'", arg.replace('\'', "'\\''")) }
        })
    }
}

/// Takes from a command what it must not inherit.
pub fn without_secrets(command: &mut Command) {
    for name in SECRETS {
        command.env_remove(name);
    }
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself.
    Status(i32),
    /// By a signal.
    Signal(i32),
    /// It took too long and was ended.
    TimedOut,
    /// The agent stops and ended it.
    Cancelled,
}

impl Exit {
    /// Returns whether all is well.
    pub const fn is_success(&self) -> bool {
        matches!(self, Self::Status(0))
    }

    /// Returns the status, where there is one.
    pub const fn status(&self) -> Option<i32> {
        match self {
            Self::Status(status) => Some(*status),
            Self::Signal(_) | Self::TimedOut | Self::Cancelled => None,
        }
    }

    fn of(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Status(code),
            (None, signal) => Self::Signal(signal.unwrap_or_default()),
        }
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(status) => write!(f, "ended with exit status {status}"),
            Self::Signal(signal) => write!(f, "was ended by signal {signal}"),
            Self::TimedOut => f.write_str("took too long and was ended"),
            Self::Cancelled => f.write_str("was ended because the agent stops"),
        }
    }
}

/// A wish that running programs end.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Wishes it.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Returns whether it was wished.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Runs a program to its end, with all that it says in the output.
///
/// The command line goes first, as `$ program args`.
pub fn run(
    invocation: &Invocation,
    output: &mut OutputFile,
    timeout: Duration,
    cancel: &Cancel,
) -> io::Result<Exit> {
    output.line(&format!("$ {invocation}"))?;
    let (said, pipe) = io::pipe()?;
    let mut command = invocation.command();
    command.stdout(pipe.try_clone()?).stderr(pipe);
    follow(command, said, timeout, cancel, |bytes| output.write(bytes))
}

/// Runs a program to its end and hands on every line that it prints; its errors
/// go to the output.
pub fn ask(
    invocation: &Invocation,
    output: &mut OutputFile,
    cancel: &Cancel,
    mut take: impl FnMut(&str) -> io::Result<()>,
) -> io::Result<Exit> {
    let (said, pipe) = io::pipe()?;
    let mut command = invocation.command();
    command.stdout(pipe).stderr(output.handle()?);
    let mut rest = Vec::new();
    let exit = follow(command, said, QUERY_TIMEOUT, cancel, |bytes| {
        rest.extend_from_slice(bytes);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            take(&String::from_utf8_lossy(&line))?;
        }
        if rest.len() > ANSWER_LINE_BYTES_MAX {
            return Err(io::Error::other("it printed a line without end"));
        }
        Ok(())
    })?;
    output.refresh()?;
    Ok(exit)
}

/// Starts a program and hands on what comes out of it until it ended.
fn follow(
    mut command: Command,
    said: io::PipeReader,
    timeout: Duration,
    cancel: &Cancel,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<Exit> {
    let mut child = command.spawn()?;
    // The command holds the pipe's writing ends: without this, no end would come.
    drop(command);
    let started = Instant::now();
    let lines = read_aside(said);
    let mut ended: Option<(Exit, Instant)> = None;
    loop {
        let silent = match lines.recv_timeout(CHILD_POLL) {
            Ok(bytes) => {
                if let Err(error) = take(&bytes) {
                    end_group(&mut child)?;
                    return Err(error);
                }
                false
            }
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => true,
        };
        if ended.is_none() {
            ended = child.try_wait()?.map(|status| (Exit::of(status), Instant::now()));
        }
        match &ended {
            Some((exit, at)) if silent || at.elapsed() >= OUTPUT_GRACE => return Ok(exit.clone()),
            Some(_) => {}
            None if cancel.is_cancelled() => {
                end_group(&mut child)?;
                return Ok(Exit::Cancelled);
            }
            None if started.elapsed() >= timeout => {
                end_group(&mut child)?;
                return Ok(Exit::TimedOut);
            }
            // It closed its output and goes on, or is about to end.
            None if silent => std::thread::sleep(Duration::from_millis(1)),
            None => {}
        }
    }
}

/// Reads on a thread of its own, which ends with the pipe or with its listener.
fn read_aside(mut said: io::PipeReader) -> Receiver<Vec<u8>> {
    let (lines, listener) = sync_channel(4);
    std::thread::spawn(move || {
        let mut buffer = vec![0; READ_BYTES];
        while let Ok(read @ 1..) = said.read(&mut buffer) {
            let bytes = buffer.get(..read).unwrap_or_default().to_vec();
            if lines.send(bytes).is_err() {
                break;
            }
        }
    });
    listener
}

/// Asks the program's whole group to end, then ends it.
fn end_group(child: &mut Child) -> io::Result<()> {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let Some(group) = group else { return child.kill() };
    // A group that is gone already is as it should be.
    let _ = kill_process_group(group, Signal::TERM);
    let asked = Instant::now();
    while child.try_wait()?.is_none() && asked.elapsed() < KILL_GRACE {
        std::thread::sleep(CHILD_POLL);
    }
    let _ = kill_process_group(group, Signal::KILL);
    child.wait().map(drop)
}
