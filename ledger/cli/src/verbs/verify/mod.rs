//! `ledger verify`

mod server;

use super::which::{Place, Which};
use crate::connection::read_token;
use crate::daemon::StopSignals;
use crate::failure::{Exit, Failure, Outcome};
use crate::screen::{doing, watched};
use crate::terminal::print;
use clap::Args;
use ledger_core::checkpoint::{Note, NoteKey};
use ledger_core::verify::{Trust, Verified};
use ledger_store::{Progress, VerifyError, Watch, verify_archive, verify_postgres, verify_sqlite};
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const EXAMPLES: &str = "\
Examples:
  ledger verify --data /srv/ledger
  ledger verify --database postgres://ledger@db.example.org/ledger
  ledger verify --archive ledger.archive
  ledger verify --key signing-key.pub --checkpoint kept-last-month
  ledger verify --server https://ledger.example.com --key signing-key.pub

It recomputes everything: every digest, the tree, every checkpoint and its signature, the output of every deployment, the indexes. A server may use the log meanwhile; nothing is written. Without a log named, LEDGER_DATABASE, LEDGER_DATA and then the data folder of `ledger serve` are taken.

Exit code 3 and one line say what is wrong first. What was recorded after the newest checkpoint is not signed yet: keep checkpoints elsewhere, and hold the log to them with --checkpoint. This alone finds a history that was rewritten by somebody who has the database and the key.";

/// Recompute a log, and name the first thing that is wrong
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Verify {
    #[command(flatten)]
    which: Which,
    /// This archive, as `ledger export` writes them
    #[arg(long, value_name = "FILE", conflicts_with_all = ["data", "database", "server"])]
    archive: Option<PathBuf>,
    /// The log of this server, seen from outside: its hashes, held to a checkpoint that --key signed
    #[arg(long, value_name = "URL", conflicts_with = "Which", requires = "key")]
    server: Option<String>,
    /// With --server: read the events' envelopes, too, with this token for the whole ledger
    #[arg(long, value_name = "FILE", requires = "server", help_heading = "Proofs")]
    token_file: Option<PathBuf>,
    /// Accept only checkpoints signed by the keys in this file, one a line, as signing-key.pub has one
    /// [default: the keys that the log itself names]
    #[arg(long, value_name = "FILE", help_heading = "Proofs")]
    key: Option<PathBuf>,
    /// Hold the log to a checkpoint that was kept elsewhere; may be given several times
    #[arg(long, value_name = "FILE", help_heading = "Proofs")]
    checkpoint: Vec<PathBuf>,
}

impl Verify {
    pub(crate) async fn run(self) -> Outcome {
        let trust = trust(self.key.as_deref(), &self.checkpoint)?;
        if let Some(server) = &self.server {
            let secret = self.token_file.as_deref().map(read_token).transpose()?;
            let told = watched("verifying", server::verify(server, secret, &trust)).await?;
            return print_all(told);
        }
        let (what, verified) = match self.archive {
            Some(archive) => {
                let what = archive.display().to_string();
                let work = move |watch: Watch<'_>| verify_archive(&archive, &trust, watch);
                (what, at_work("verifying", Stopping::AtOnce, work).await?)
            }
            None => {
                let place = self.which.place()?;
                let what = place.to_string();
                let work = move |watch: Watch<'_>| match &place {
                    Place::Folder(folder) => verify_sqlite(folder, &trust, watch),
                    Place::Database(url) => verify_postgres(url.reveal(), &trust, watch),
                };
                (what, at_work("verifying", Stopping::AtOnce, work).await?)
            }
        };
        let verified =
            verified.map_err(|error| failure(error, &format!("{what} was not verified")))?;
        print_all(told(&verified))
    }
}

fn print_all(lines: Vec<String>) -> Outcome {
    for line in lines {
        print(line)?;
    }
    Ok(Exit::Done)
}

/// What a signal to stop does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopping {
    /// Nothing is written, so nothing has to be cleared away.
    AtOnce,
    /// What was written is taken back first.
    InGoodOrder,
}

/// Does work that blocks, and shows on a terminal how far it is.
pub(crate) async fn at_work<T: Send + 'static>(
    what: &'static str,
    stopping: Stopping,
    work: impl FnOnce(Watch<'_>) -> T + Send + 'static,
) -> Result<T, Failure> {
    let signals = match stopping {
        Stopping::AtOnce => None,
        Stopping::InGoodOrder => Some(StopSignals::new()?),
    };
    let stopped = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stopped);
    let mut blocking = tokio::task::spawn_blocking(move || {
        work(&mut |Progress { position, last }| {
            doing(format!("{what}: {position} of {last} events"));
            !asked.load(Ordering::Relaxed)
        })
    });
    let done = watched(what, async {
        if let Some(mut signals) = signals {
            tokio::select! {
                done = &mut blocking => return done,
                () = signals.next() => stopped.store(true, Ordering::Relaxed),
            }
        }
        blocking.await
    });
    Ok(done.await?)
}

/// Says why something was not done with a log. A fault is one line.
pub(crate) fn failure(error: VerifyError, what: &str) -> Failure {
    match error {
        VerifyError::Fault(fault) => Failure::failed(fault.to_string()).exit_as(Exit::Fault),
        error => Failure::from(error).context(what.to_owned()),
    }
}

/// Reads what is known from outside.
pub(crate) fn trust(key: Option<&Path>, checkpoints: &[PathBuf]) -> Result<Trust, Failure> {
    let keys = match key {
        None => Vec::new(),
        Some(file) => {
            let text = read(file)?;
            let lines = text.lines().filter(|line| !line.trim().is_empty());
            let keys: Result<Vec<NoteKey>, _> = lines.map(|line| parse(file, line)).collect();
            let keys = keys?;
            if keys.is_empty() {
                return Err(Failure::usage(format!("{} has no key in it", file.display())));
            }
            keys
        }
    };
    let notes = checkpoints.iter().map(|file| parse::<Note>(file, &read(file)?));
    Ok(Trust { keys, checkpoints: notes.collect::<Result<_, _>>()? })
}

fn read(file: &Path) -> Result<String, Failure> {
    fs::read_to_string(file).map_err(|error| {
        Failure::from(error)
            .context(format!("{} cannot be read", file.display()))
            .exit_as(Exit::Usage)
    })
}

fn parse<T>(file: &Path, text: &str) -> Result<T, Failure>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    text.parse().map_err(|error| {
        Failure::from(error).context(file.display().to_string()).exit_as(Exit::Usage)
    })
}

/// Says what a log is in which nothing is wrong.
pub(crate) fn told(verified: &Verified) -> Vec<String> {
    let Verified { first, size, root, newest, .. } = verified;
    let from = if first.0 > 1 { format!("from position {first} on, ") } else { String::new() };
    let mut lines = vec![format!("{from}{size} events, root {root}: nothing is wrong")];
    lines.push(match newest {
        None => "no checkpoint signs it: that nobody rewrote all of it is not shown".to_owned(),
        Some(signed) => {
            let behind = match size - signed.size {
                0 => String::new(),
                1 => "; the event behind it is not signed yet".to_owned(),
                n => format!("; the {n} events behind it are not signed yet"),
            };
            let key = &signed.key;
            let (name, id) = (&key.name, key.id());
            let n = verified.checkpoints;
            format!(
                "checkpoints that hold: {n}, the newest over {} by {name}+{id}{behind}",
                signed.size
            )
        }
    });
    lines.push(format!("annexes: {} whole, {} erased", verified.annexes, verified.erased));
    lines
        .push(format!("output: {} deployments, as the events that end them say", verified.outputs));
    if let Some(unknown) = &verified.unknown {
        lines.push(format!(
            "types that only a newer Ledger knows: {} events, the first a {} at position {}; their hashes are right",
            unknown.events,
            crate::terminal::clean(&unknown.type_name),
            unknown.first
        ));
    }
    lines
}
