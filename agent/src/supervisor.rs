//! The activation's supervisor: a small process of its own, which outlives the
//! agent, also where the activation replaces or stops the agent itself.
//!
//! An activation is begun at most once, and how it ended is found again:
//!
//! 1. The agent locks the lock file and writes the job.
//! 2. It starts its own program again with the locked file as standard input, so
//!    that the lock is held from before the supervisor lives until it is gone,
//!    whatever happens to the agent.
//! 3. The supervisor syncs a mark that it begins, runs the job's commands, and
//!    syncs a status.
//!
//! Whoever gets the lock knows that no supervisor lives and that none is about
//! to. Then a status says how it ended; a mark without a status, that it was
//! begun and nobody knows the end; neither, that it was never begun.

use crate::host::process::{self, Cancel, Exit, Invocation, without_secrets};
use crate::limits::ACTIVATION_TIMEOUT;
use crate::output::{OutputFile, last_lines, read_small};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};

/// The argument that makes a program of ours a supervisor.
const ASKED: &str = "--supervise-activation";

/// What a supervisor is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// One after the other, until one fails.
    pub commands: Vec<Invocation>,
    /// Where everything goes that they say.
    pub output: PathBuf,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The command that failed; none when all went well.
    pub failed: Option<Failed>,
}

/// A command of a job that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// Which, from 0.
    pub command: usize,
    /// Whether it began at all.
    pub began: bool,
    /// Its exit status, where it has one.
    pub exit_status: Option<i32>,
    /// What it said last, and how it ended.
    pub error: String,
}

/// What is known of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It ended.
    Ended(Status),
    /// It was begun, does not run, and left no status.
    Interrupted,
}

/// Runs a job under a supervisor, or finds the one that was begun, and waits for its end.
///
/// `program` is what to start as the supervisor.
pub fn see_to(folder: &Path, job: &Job, program: &Path) -> io::Result<Found> {
    fs::create_dir_all(folder)?;
    let path = folder.join("lock");
    let lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    lock.lock()?;
    if let Some(found) = find(folder)? {
        return Ok(found);
    }
    let exit = begin(folder, job, program, lock)?;
    find(folder)?.ok_or_else(|| io::Error::other(format!("the supervisor did not begin ({exit})")))
}

/// Says what a supervisor that is gone left. None if it never began.
fn find(folder: &Path) -> io::Result<Option<Found>> {
    match read_small(&folder.join("status")) {
        Ok(text) => {
            serde_json::from_str(&text).map(|s| Some(Found::Ended(s))).map_err(io::Error::other)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Ok(was_begun(folder).then_some(Found::Interrupted))
        }
        Err(error) => Err(error),
    }
}

/// Returns whether a job was begun.
pub fn was_begun(folder: &Path) -> bool {
    folder.join("begun").exists()
}

/// Starts a supervisor and waits until it is gone.
fn begin(folder: &Path, job: &Job, program: &Path, lock: File) -> io::Result<ExitStatus> {
    // Unsynced: after a power cut nobody reads it before it is written again.
    fs::write(folder.join("job"), serde_json::to_string(job).map_err(io::Error::other)?)?;
    let mut command = Command::new(program);
    without_secrets(&mut command);
    command.arg(ASKED).arg(folder).current_dir("/");
    command.stdin(lock).stdout(Stdio::null()).stderr(Stdio::null());
    let spawned = command.spawn();
    // The command holds our end of the lock: it must go, or the lock stays.
    drop(command);
    spawned?.wait()
}

/// Returns the program to start as a supervisor: this one.
pub fn own_program() -> PathBuf {
    // Also there when the file was replaced or removed, as in an upgrade.
    #[cfg(target_os = "linux")]
    return PathBuf::from("/proc/self/exe");
    #[cfg(not(target_os = "linux"))]
    return std::env::current_exe().unwrap_or_default();
}

/// Supervises an activation if this process was started for that.
///
/// The first thing in `main` of every program that runs an agent.
pub fn run_if_asked() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    if args.next()? != ASKED {
        return None;
    }
    let folder = PathBuf::from(args.next()?);
    Some(match supervise(&folder) {
        Ok(()) => ExitCode::SUCCESS,
        // Nobody listens; the missing status says that something went wrong.
        Err(_) => ExitCode::FAILURE,
    })
}

fn supervise(folder: &Path) -> io::Result<()> {
    // Away from the agent's terminal and group. Fails only for a group's leader.
    let _ = rustix::process::setsid();
    let job = read_small(&folder.join("job"))?;
    let job: Job = serde_json::from_str(&job).map_err(io::Error::other)?;
    let mut output = OutputFile::open(&job.output)?;
    write_synced(folder, "begun", "")?;
    if let Some(parent) = folder.parent() {
        sync_folder(parent)?;
    }
    let status = Status { failed: run_all(&job, &mut output)? };
    output.handle()?.sync_data()?;
    write_synced(folder, "status", &serde_json::to_string(&status).map_err(io::Error::other)?)
}

fn run_all(job: &Job, output: &mut OutputFile) -> io::Result<Option<Failed>> {
    for (command, invocation) in job.commands.iter().enumerate() {
        let from = output.len();
        let failed = match process::run(invocation, output, ACTIVATION_TIMEOUT, &Cancel::default())
        {
            Ok(exit) if exit.is_success() => continue,
            Ok(exit) => Failed {
                command,
                began: true,
                exit_status: exit.status(),
                error: words(invocation, &exit, &job.output, from),
            },
            Err(source) => {
                let error = format!("could not run {}: {source}", invocation.program);
                output.line(&error)?;
                Failed { command, began: false, exit_status: None, error }
            }
        };
        return Ok(Some(failed));
    }
    Ok(None)
}

/// Returns what a failed program said last, without the announcing line.
fn words(invocation: &Invocation, exit: &Exit, output: &Path, from: u64) -> String {
    let announced = format!("$ {invocation}\n").len() as u64;
    let said = last_lines(output, from.saturating_add(announced)).unwrap_or_default();
    let ended = format!("{} {exit}", invocation.program);
    if said.is_empty() { ended } else { format!("{said}\n{ended}") }
}

/// Writes a file that is there whole or not at all, also after a power cut.
pub(crate) fn write_synced(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    let new = folder.join(format!("{name}.new"));
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, folder.join(name))?;
    sync_folder(folder)
}

pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
