//! `ledger agent`: the agent itself is a crate of its own.

use crate::daemon::{StopSignals, log_to_stderr};
use crate::failure::{Exit, Failure, Outcome};
use agent::command::{self, AgentError};
use tokio_util::sync::CancellationToken;

pub(crate) use agent::command::Args as Agent;

pub(crate) async fn run(args: Agent) -> Outcome {
    log_to_stderr();
    let shutdown = CancellationToken::new();
    let mut signals = StopSignals::new()?;
    let asked = shutdown.clone();
    tokio::spawn(async move {
        signals.next().await;
        asked.cancel();
    });
    command::run(args, shutdown).await.map_err(|error| {
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
