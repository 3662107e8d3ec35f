//! `ledger-agent`: the agent alone, for machines that need no other verb.

use agent::command::{self, Args};
use agent::supervisor;
use clap::Parser;
use std::io;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Run a Ledger agent on this machine
#[derive(Debug, Parser)]
#[command(name = "ledger-agent", version)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

fn main() -> ExitCode {
    if let Some(code) = supervisor::run_if_asked() {
        return code;
    }
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_env("LEDGER_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_target(false)
        .finish()
        // Below this, libraries print whole requests, with the token in them.
        .with(LevelFilter::DEBUG);
    subscriber.init();
    let code = match start(cli.args) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("Error: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("Caused by: {cause}");
            }
            error.downcast_ref::<command::AgentError>().map_or(1, command::AgentError::exit_code)
        }
    };
    ExitCode::from(code)
}

#[tokio::main]
async fn start(args: Args) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let asked = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        asked.cancel();
    });
    Ok(command::run(args, shutdown).await?)
}
