//! `ledger demo`: the main job, for real, in a folder of its own.
//!
//! [`story`] tells it, on a thread of its own: it starts the programs that a
//! user would start, by the [`mod@line`]s that it shows, on a [`stage`]. A [`guard`]
//! sees to it that nothing is left, however the demo ends.

mod ending;
mod folder;
mod guard;
mod line;
mod look;
mod nix;
mod screen;
mod stage;
mod story;
mod timeline;

use crate::daemon::StopSignals;
use crate::failure::{Exit, Failure, Outcome};
use crate::terminal::note;
use clap::Args;
use folder::Folder;
use guard::Guard;
use look::Look;
use screen::Screen;
use stage::Stage;
use std::ffi::OsString;
use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use story::{Story, Told};
use tokio::sync::oneshot;

const EXAMPLES: &str = "\
Examples:
  ledger demo
  ledger demo --pause
  ledger demo --keep

It needs Nix, and neither root nor a network. Each machine has a store of its own in that folder; this machine's store and your home are left alone.";

/// How long the story may take to notice that it is to end.
const NOTICE: Duration = Duration::from_secs(1);

/// See it all work on this machine, and leave nothing behind
///
/// A server, a signed cache, two machines with an agent each, and three versions of a small
/// profile, all real and in one folder for temporary files. Each command line is shown before
/// what it says, and at the end the timeline that the log recorded.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Demo {
    /// Leave the folder, and say how to go on in it
    #[arg(long)]
    keep: bool,
    /// Wait for Enter after each step
    #[arg(long)]
    pause: bool,
    /// What the demo starts itself with, to see that nothing is left of it.
    #[arg(long, value_name = "DIR", hide = true)]
    guard: Option<PathBuf>,
    /// What the guard starts itself with.
    #[arg(long, hide = true)]
    anchor: bool,
}

impl Demo {
    pub(crate) async fn run(self) -> Outcome {
        match &self.guard {
            Some(folder) => guard::stand(&agent::supervisor::own_program(), folder),
            None if self.anchor => guard::anchor(),
            None => self.show().await,
        }
    }

    async fn show(self) -> Outcome {
        let began = Instant::now();
        nix::find()?;
        let mut signals = StopSignals::new()?;
        let folder = Folder::planned()?;
        let program = agent::supervisor::own_program();
        // It makes the folder itself, so that there is no moment without a guard.
        let mut guard = Guard::post(&program, folder.path())?;
        if self.keep {
            guard.keep()?;
        }
        leave_no_locks(&mut guard)?;
        let stage = Arc::new(Stage::new(folder.clone(), &program, guard));
        let mut story = begin(Arc::clone(&stage), self.pause);
        let told = tokio::select! {
            told = &mut story => Some(told.unwrap_or_else(|_| Err(broke_off()))),
            () = signals.next() => None,
        };
        stage.interrupt();
        if told.is_none() {
            // One that waits for a key notices nothing, and starts nothing either.
            let _ = tokio::time::timeout(NOTICE, story).await;
        }
        let cleared = clear(&stage, self.keep, matches!(told, Some(Ok(_))));
        match told {
            Some(Ok(told)) => {
                cleared?;
                self.tell_how_to_go_on(&folder, &told, began.elapsed())
            }
            failed => {
                // The first failure is the one to tell; of another it is enough to know.
                if let Err(another) = &cleared {
                    note(another.report().trim_end());
                }
                let failure = failed.and_then(Result::err).unwrap_or_else(interrupted);
                Err(self.with_what_is_left(failure, &folder, cleared.is_ok()))
            }
        }
    }

    /// Adds to a failure where everything lies, or that nothing does.
    fn with_what_is_left(&self, failure: Failure, folder: &Folder, cleared: bool) -> Failure {
        let shown = folder.shown();
        if self.keep {
            failure
                .hint(format!("everything lies in {shown}; what the programs said is in its logs"))
        } else if cleared {
            failure.hint("nothing of it is left; with --keep it all stays, to be looked at")
        } else {
            failure
        }
    }

    fn tell_how_to_go_on(&self, folder: &Folder, told: &Told, took: Duration) -> Outcome {
        let program = own_name();
        let parts = if self.keep {
            ending::kept(folder, told, &program)?
        } else {
            ending::removed(&folder.shown(), &program)
        };
        ending::show(&mut Screen::resumed(Look::of_stdout(), folder.shown()), &parts, took)?;
        Ok(Exit::Done)
    }
}

/// Tells the story on a thread of its own, which nobody waits for.
fn begin(stage: Arc<Stage>, pause: bool) -> oneshot::Receiver<Result<Told, Failure>> {
    let (tell, told) = oneshot::channel();
    std::thread::spawn(move || {
        let screen = Screen::new(Look::of_stdout(), stage.folder().shown());
        // Nobody listens after an interruption.
        let _ = tell.send(Story::new(stage, screen, pause).tell());
    });
    told
}

/// Ends what runs, and lets the guard do the rest.
fn clear(stage: &Stage, keep: bool, done: bool) -> Result<(), Failure> {
    stage.clear()?;
    stage.relieve_guard(done)?;
    let folder = stage.folder();
    if !keep && folder.path().exists() {
        let shown = folder.shown();
        return Err(Failure::failed(format!("the folder {shown} could not be removed"))
            .hint(format!("`chmod -R u+w {shown} && rm -r {shown}` removes it")));
    }
    Ok(())
}

/// Agents of root keep locks outside of every folder of theirs, and leave the
/// place for them behind.
fn leave_no_locks(guard: &mut Guard) -> Result<(), Failure> {
    let Some(locks) = agent::lock::folder().filter(|_| rustix::process::geteuid().is_root()) else {
        return Ok(());
    };
    for folder in [Some(locks.as_path()), locks.parent()].into_iter().flatten() {
        if !folder.exists() {
            guard.remove_empty(folder)?;
        }
    }
    Ok(())
}

/// Returns what to type for this program.
fn own_name() -> String {
    let own = std::env::current_exe().and_then(fs::canonicalize).unwrap_or_default();
    let path: OsString = std::env::var_os("PATH").unwrap_or_default();
    let found = nix::which("ledger", &path).and_then(|found| fs::canonicalize(found).ok());
    match found {
        Some(found) if found == own => "ledger".to_owned(),
        _ if own == Path::new("") => "ledger".to_owned(),
        _ => own.display().to_string(),
    }
}

fn interrupted() -> Failure {
    if io::stderr().is_terminal() {
        // Away from what the terminal shows of the key.
        note("");
    }
    Failure::failed("the demo was interrupted")
}

fn broke_off() -> Failure {
    Failure::failed("the demo made a mistake, which it told above")
}
