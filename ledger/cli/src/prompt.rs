//! Asks on the terminal for what nobody may read over the shoulder.

use crate::daemon::StopSignals;
use crate::failure::{Exit, Failure};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};

/// Asks, and returns the line that was typed without being shown.
///
/// Who breaks it off finds the terminal as it was: an interrupt would end this
/// program before it shows again what is typed.
pub(crate) async fn hidden(question: &str) -> Result<String, Failure> {
    let failed = |e| Failure::from(e).context("the terminal cannot be asked").exit_as(Exit::Usage);
    // First of all: from here on a signal does not end us with a silent terminal.
    let mut signals = StopSignals::new()?;
    let mut terminal =
        OpenOptions::new().read(true).write(true).open("/dev/tty").map_err(failed)?;
    // Before the question, for the answer may be there as soon as it is read.
    let silence = Silence::on(terminal.try_clone().map_err(failed)?).map_err(failed)?;
    write!(terminal, "{question}").and_then(|()| terminal.flush()).map_err(failed)?;
    let (tell, asked) = tokio::sync::oneshot::channel();
    // A thread of its own: the runtime would wait for one of its own to end.
    std::thread::spawn(move || tell.send(rpassword::read_password()));
    let answer = tokio::select! {
        answer = asked => Some(answer?),
        () = signals.next() => None,
    };
    drop(silence);
    match answer {
        Some(Err(error)) if error.kind() != io::ErrorKind::Interrupted => Err(failed(error)),
        Some(Ok(answer)) => Ok(answer),
        // The signal may break off the reading before it is heard of here.
        Some(Err(_)) | None => {
            // What is left of the line is the question's.
            let _ = writeln!(terminal);
            Err(Failure::failed("no token was given"))
        }
    }
}

/// A terminal that does not show what is typed, as long as this lives.
struct Silence {
    terminal: File,
    before: Termios,
}

impl Silence {
    fn on(terminal: File) -> io::Result<Self> {
        let before = tcgetattr(&terminal)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&terminal, OptionalActions::Now, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // A terminal that is gone needs no care.
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}
