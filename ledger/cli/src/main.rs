//! The binary `ledger`: every verb, and the composition root of the server.

mod activation;
mod ci;
mod cli;
mod config;
mod connection;
mod daemon;
mod database;
mod doctor;
mod failure;
mod hint;
mod log_line;
mod prompt;
mod screen;
mod servers;
mod suggest;
mod terminal;
mod verbs;

use failure::{Exit, Failure};
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    // An agent starts this program again as the supervisor of an activation,
    // which must come before anything else.
    if let Some(code) = agent::supervisor::run_if_asked() {
        return code;
    }
    let cli = match config::parse() {
        Ok(cli) => cli,
        Err(failure) => return report(&failure),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(&Failure::from(error).context("the program cannot start")),
    };
    let stays = cli.stays();
    let outcome = runtime.block_on(cli.run());
    if !stays {
        // Nobody waits for a name to be looked up whose answer is of no use any more.
        runtime.shutdown_background();
    }
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) => report(&failure),
    }
}

fn report(failure: &Failure) -> ExitCode {
    if failure.is_broken_pipe() {
        return Exit::Done.into();
    }
    // That nobody listens on stderr is no reason for another failure.
    let _ = write!(std::io::stderr(), "{}", failure.report());
    failure.exit().into()
}
