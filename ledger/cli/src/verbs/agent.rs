//! `ledger agent`: the agent itself is a crate of its own.

use crate::daemon::{Daemon, StopSignals};
use crate::failure::{Exit, Failure, Outcome};
use agent::command::{self, AgentError};
use clap::Args;
use tokio_util::sync::CancellationToken;

const EXAMPLES: &str = "\
Examples:
  ledger agent web-1 --url https://ledger.example.com --token-file agent-token

Options with a variable may stand in ledger.toml under [agent], by their long name with _ for -.";

/// Run an agent on this machine
///
/// It connects to the server, waits for deployments, and activates them. The
/// token is read from LEDGER_TOKEN or --token-file, never from the command line.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Agent {
    #[command(flatten)]
    args: command::Args,
    #[command(flatten)]
    daemon: Daemon,
}

pub(crate) async fn run(agent: Agent) -> Outcome {
    agent.daemon.log_to_stderr();
    let shutdown = CancellationToken::new();
    let mut signals = StopSignals::new()?;
    let asked = shutdown.clone();
    tokio::spawn(async move {
        signals.next().await;
        asked.cancel();
    });
    command::run(agent.args, shutdown).await.map_err(|error| {
        let exit = exit_of(&error);
        Failure::from(error).exit_as(exit)
    })?;
    Ok(Exit::Done)
}

fn exit_of(error: &AgentError) -> Exit {
    match error.exit_code() {
        2 => Exit::Usage,
        3 => Exit::Fault,
        4 => Exit::Refused,
        _ => Exit::Failed,
    }
}
