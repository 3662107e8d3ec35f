//! The real program, as a process.

use crate::server::{PATIENCE, Server, name};
use std::path::Path;
use std::process::Stdio;
use tokio::process::{Child, Command};

/// A token of the right form; the server of these tests asks for no more.
pub const TOKEN: &str = "ldg_agent_0123456789012345678901234567890123456789012";

/// Makes the agent's command line.
pub fn agent(server: &Server, state: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ledger-agent"));
    command
        .arg(name().as_str())
        .arg("--state")
        .arg(state)
        .args(more)
        .env("LEDGER_URL", format!("http://{}", server.address))
        .env("LEDGER_TOKEN", TOKEN)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Starts the agent.
pub fn start(server: &Server, state: &Path, more: &[&str]) -> Child {
    agent(server, state, more).spawn().expect("the agent starts")
}

/// Waits for a process to end, and returns its exit code.
pub async fn exit_code(child: &mut Child) -> Option<i32> {
    let status = tokio::time::timeout(PATIENCE, child.wait()).await.expect("it ends in time");
    status.expect("a status").code()
}

/// Asks a process to end.
pub fn terminate(child: &Child) {
    signal(child, rustix::process::Signal::TERM);
}

/// Ends a process as a power cut would.
pub fn kill(child: &Child) {
    signal(child, rustix::process::Signal::KILL);
}

fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = i32::try_from(child.id().expect("it runs")).expect("a pid");
    let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
    rustix::process::kill_process(pid, signal).expect("it is signalled");
}
