//! Asks on the terminal for what nobody may read over the shoulder.

use crate::failure::{Exit, Failure};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use std::fs::File;

/// Asks, and returns the line that was typed without being shown.
///
/// Who breaks it off finds the terminal as it was: an interrupt would end this
/// program before it shows again what is typed.
pub(crate) async fn hidden(question: &str) -> Result<String, Failure> {
    let failed = |e| Failure::from(e).context("the terminal cannot be asked").exit_as(Exit::Usage);
    let terminal = File::open("/dev/tty").map_err(failed)?;
    let before = tcgetattr(&terminal).ok();
    let question = question.to_owned();
    let (tell, asked) = tokio::sync::oneshot::channel();
    // A thread of its own: the runtime would wait for one of its own to end.
    std::thread::spawn(move || tell.send(rpassword::prompt_password(question)));
    tokio::select! {
        answer = asked => answer?.map_err(failed),
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            restore(&terminal, before.as_ref());
            Err(Failure::failed("no token was given"))
        }
    }
}

fn restore(terminal: &File, before: Option<&Termios>) {
    if let Some(before) = before {
        // A terminal that is gone needs no care.
        let _ = tcsetattr(terminal, OptionalActions::Now, before);
    }
    crate::terminal::note("");
}
